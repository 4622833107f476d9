"""The search space: good defaults, a user's changes, and clear words for what cannot be."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from search.ranges import Choices, Numbers
from search.space import (
    DEFAULT_FAMILIES,
    DEFAULT_RANGES,
    Space,
    check_enqueued,
    known_good,
    make_space,
    read_space_file,
)
from textclf.errors import ConfigError
from textclf.families import config_dict, parse_config

CHECKPOINT = {"encoder": {"checkpoint": "folder"}}


def draw(space: Space, n_trials: int) -> list[dict[str, Any]]:
    """Random draws, as trials of one study make them."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(n_trials)]


def refused(changes: dict[str, Any], families: tuple[str, ...] = ("bilstm_bigru", "dan")) -> str:
    """What the error says."""
    with pytest.raises(ConfigError) as error:
        make_space(families, changes, source="space.toml")
    return str(error.value)


def test_every_draw_is_a_configuration() -> None:
    """Whatever is suggested, for any family, is accepted by the family itself."""
    draws = draw(make_space(tuple(DEFAULT_RANGES), CHECKPOINT, source="test"), 300)

    assert {params["family"] for params in draws} == set(DEFAULT_RANGES)
    for params in draws:
        parse_config(params, source="draw")


def test_a_study_tunes_what_it_should() -> None:
    """Hidden size, dropouts, both learning-rate bounds, dense size, batch size and epochs vary."""
    draws = draw(make_space(("bilstm_bigru",), {}, source="test"), 40)

    for name in (
        "hidden_size",
        "dropout",
        "spatial_dropout",
        "lr_min",
        "lr_max",
        "dense_size",
        "batch_size",
        "n_epochs",
    ):
        assert len({params[name] for params in draws}) > 1, name


def test_the_known_good_settings_lie_in_the_space() -> None:
    """One per family, the network of record first, and no value outside its range."""
    space = make_space(DEFAULT_FAMILIES, {}, source="test")
    settings = known_good(space, n_rows=5000)

    assert [params["family"] for params in settings] == list(DEFAULT_FAMILIES)
    assert settings[0]["family"] == "bilstm_bigru"
    assert check_enqueued(settings, space, source="test") == settings


def test_known_good_settings_follow_a_narrower_space() -> None:
    """A range that leaves the default out gets the nearest value that is in it."""
    changes: dict[str, dict[str, Any]] = {
        "common": {"n_epochs": {"low": 7, "high": 9}},
        "dan": {"batch_size": {"choices": [16, 64]}},
    }
    first, second = known_good(make_space(("bilstm_bigru", "dan"), changes, source="test"), n_rows=5000)

    assert first["n_epochs"] == 7
    assert second["batch_size"] == 16


@pytest.mark.parametrize(("n_rows", "batch_size"), [(1, 32), (5_452, 32), (15_000, 64), (40_000, 128), (10**7, 128)])
def test_small_data_gets_small_batches(n_rows: int, batch_size: int) -> None:
    """A few hundred rows would otherwise mean a handful of updates."""
    (setting,) = known_good(make_space(("bilstm_bigru",), {}, source="test"), n_rows=n_rows)

    assert setting["batch_size"] == batch_size


@pytest.mark.parametrize("name", ["n_epochs", "n_layers"])
def test_optuna_tells_families_apart_where_they_differ(name: str) -> None:
    """Families share a parameter in Optuna when they search the same range, and have one each when they do not."""
    space = make_space(("bilstm_bigru", "textcnn", "dan"), {}, source="test")

    assert space.optuna_name("bilstm_bigru", "dropout") == space.optuna_name("dan", "dropout") == "dropout"
    assert space.optuna_name("bilstm_bigru", "n_epochs") == "bilstm_bigru.n_epochs"
    assert space.optuna_name("dan", "n_epochs") == "dan.n_epochs"


def test_changes_win_by_nearness() -> None:
    """[common] changes every family, and a family's own section wins over it."""
    changes: dict[str, dict[str, Any]] = {
        "common": {"dropout": 0.3, "clip_norm": {"low": 0.5, "high": 2}},
        "dan": {"dropout": {"choices": [0.1, 0.4]}},
    }
    draws = draw(make_space(("bilstm_bigru", "dan", "nbsvm"), changes, source="test"), 80)

    assert {params["dropout"] for params in draws if params["family"] == "bilstm_bigru"} == {0.3}
    assert {params["dropout"] for params in draws if params["family"] == "dan"} == {0.1, 0.4}
    assert all(0.5 <= params["clip_norm"] <= 2 for params in draws if params["family"] != "nbsvm")
    assert all("dropout" not in params for params in draws if params["family"] == "nbsvm")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"comon": {"dropout": 0.1}}, ("space.toml", "[comon]", "did you mean common?")),
        ({"common": {"dropuot": 0.1}}, ("space.toml", "'dropuot'", "did you mean dropout?")),
        ({"dan": {"hidden_size": 3}}, ("[dan]", "'hidden_size'", "known: ")),
        ({"dan": {"dropout": {"low": 0.1}}}, ("[dan] dropout", "needs low and high")),
        ({"dan": {"dropout": {"low": 0.4, "high": 0.1}}}, ("[dan] dropout", "low 0.4 is above high 0.1")),
        ({"dan": {"dropout": {"low": 0.1, "hihg": 0.4}}}, ("'hihg'", "did you mean high?")),
        ({"dan": {"dropout": {"low": 0.1, "high": 1.5}}}, ("dropout: 1.5 is outside [0, 1)",)),
        ({"dan": {"dropout": {"low": "a", "high": 1}}}, ("low = 'a' is not a number",)),
        ({"dan": {"lr_max": {"low": 0, "high": 1, "log": True}}}, ("logarithmic scale", "above 0")),
        ({"dan": {"n_epochs": {"low": 1.5, "high": 2}}}, ("n_epochs", "is not a int")),
        ({"dan": {"batch_size": {"choices": []}}}, ("choices is a list with at least one value",)),
        ({"dan": {"batch_size": {"choices": [32, 0]}}}, ("batch_size: 0 is not a whole number of 1 or more",)),
        ({"dan": {"lr_min": {"low": 1e-4, "high": 5e-3}}}, ("lr_min: 0.005 is above lr_max 0.001",)),
        ({"dan": {"oov": [1]}}, ("[dan] oov = [1]", "{choices = [...]}")),
    ],
)
def test_a_wrong_change_is_named(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    """The error names file, section and key, says what is wrong, and what would be right."""
    text = refused(changes)

    assert "\n" not in text
    for word in words:
        assert word in text


def test_what_is_said_of_other_families_says_nothing() -> None:
    """One file of ranges serves studies of different families: their sections, and what they alone have in common."""
    space = make_space(("nbsvm",), {"dan": {"whatever": 3}, "common": {"n_seeds": 2, "min_df": 3}}, source="test")

    assert {(params["family"], params["min_df"], "n_seeds" in params) for params in draw(space, 5)} == {
        ("nbsvm", 3, False)
    }


def test_an_unknown_family_is_named() -> None:
    """With the one that was probably meant."""
    with pytest.raises(ConfigError, match=r"--family: 'textcn' is not known; did you mean textcnn\?"):
        make_space(("textcn",), {}, source="test")


def test_a_space_file_is_read_or_refused(tmp_path: Path) -> None:
    """TOML sections come back as mappings; a key outside a section is named."""
    good, bad, broken = tmp_path / "good.toml", tmp_path / "bad.toml", tmp_path / "broken.toml"
    good.write_text("[dan]\ndropout = {low = 0.1, high = 0.2}\n")
    bad.write_text("dropout = 0.3\n")
    broken.write_text("[dan\n")

    assert read_space_file(good) == {"dan": {"dropout": {"low": 0.1, "high": 0.2}}}
    for path, words in (
        (bad, "'dropout' stands outside a section"),
        (broken, "is not TOML"),
        (tmp_path / "no", "check"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_space_file(path)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"family": "dam"}, "entry 1: family 'dam' is not in this study .*did you mean dan"),
        ({"family": "dan", "droput": 0.1}, "entry 1: unknown key 'droput' .*did you mean dropout"),
        ({"family": "dan", "dropout": 0.9}, r"entry 1: dropout = 0.9 is outside the study's range \(0.0 to 0.5\)"),
        ({"family": "dan", "dropout": "a"}, "entry 1: dropout = 'a' is not a float"),
        (3, "entry 1: 3 is not a mapping"),
    ],
)
def test_a_wrong_first_trial_is_named(entry: Any, words: str) -> None:
    """The error names the file, the entry and the key."""
    with pytest.raises(ConfigError, match=words):
        check_enqueued([entry], make_space(("bilstm_bigru", "dan"), {}, source="test"), source="first.json")


def test_a_first_trial_fixes_what_it_names() -> None:
    """Named values are taken over, searched or not; the sampler is asked for the rest."""
    space = make_space(("bilstm_bigru", "dan"), {}, source="test")
    entry = {"family": "dan", "dropout": 0.25, "clip_norm": 2.0}

    assert check_enqueued([entry], space, source="first.json") == [entry]
    assert space.to_optuna(entry) == {"family": "dan", "dropout": 0.25}


def test_ranges_go_into_the_record_as_plain_values() -> None:
    """JSON of a space holds what decides it, zeros included."""
    space = Space({"dan": {"dropout": Numbers(low=0.0, high=0.5), "batch_size": Choices(choices=(8, 16))}})

    assert space.to_json() == {"dan": {"dropout": {"low": 0.0, "high": 0.5}, "batch_size": {"choices": [8, 16]}}}


def test_defaults_of_the_configuration_are_untouched() -> None:
    """Making a space changes no family's defaults."""
    before = config_dict(parse_config({"family": "dan"}, source="test"))
    make_space(("dan",), {"dan": {"dropout": 0.4}}, source="test")

    assert config_dict(parse_config({"family": "dan"}, source="test")) == before
