"""The command line and the Python API, from CSV files to a recorded study."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import search
from search.options import PRESETS, StudyOptions, make_options, option_fields, option_name, read_preset
from search.run import main
from search.space import DEFAULT_FAMILIES, make_space
from search.tracking import Tracking
from tests.builders import make_labels, make_table
from textclf.arrays import array_digest
from textclf.errors import ConfigError
from textclf.store import PredictionStore

SPACE = """
[common]
cleaning = "none"
char_ngrams = 0
word_ngrams = 1
dense_size = 8
batch_size = 32
n_epochs = 1
"""
FAMILIES = ("--family", "dan", "--family", "nbsvm", "--family", "tfidf_logreg")


def write_csv(path: Path, header: list[str], rows: list[list[Any]]) -> Path:
    """A CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.csv with 90 rows, test.csv with 20, and a space in which every trial takes a moment."""
    folder = tmp_path_factory.mktemp("files")
    labels = make_labels("binary", 90, seed=1)
    table, test = make_table(labels, seed=2), make_table(make_labels("binary", 20, seed=3), seed=4, first_id=90)
    rows = [[row_id, text, label] for row_id, text, label in zip(table.row_ids, table.texts, labels, strict=True)]
    write_csv(folder / "train.csv", ["id", "text", "label"], rows)
    write_csv(folder / "test.csv", ["id", "text"], [list(row) for row in zip(test.row_ids, test.texts, strict=True)])
    (folder / "space.toml").write_text(SPACE, encoding="utf-8")
    return folder


def arguments(files: Path, output: Path, *more: str, n_trials: int = 4) -> list[str]:
    """A small study."""
    data = ["--train", str(files / "train.csv"), "--test", str(files / "test.csv"), "--target", "label", "--id", "id"]
    small = ["--space", str(files / "space.toml"), "--n-folds", "3", "--n-trials", str(n_trials), "--threads", "1"]
    return [*data, *small, *FAMILIES, "--output", str(output), *more]


def run(*told: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(main, told)


def new_output(folder: Path, empty_mlflow: Path) -> Path:
    """An output folder in which MLflow has its tables already, which saves seconds."""
    folder.mkdir(exist_ok=True)
    (folder / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    return folder


@pytest.fixture(autouse=True)
def no_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take seconds and are tested with the MLflow record."""
    monkeypatch.setattr(Tracking, "_log_figures", lambda *_: None)


@pytest.fixture(scope="module")
def study(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished study of four trials, and what it said; from nothing, with its figures."""
    output = tmp_path_factory.mktemp("study") / "runs"
    return output, run(*arguments(files, output))


def stored(output: Path) -> list[tuple[Any, ...]]:
    """What a study's store holds."""
    store = PredictionStore(f"sqlite:///{output}/study.db")
    trials = [store.read_trial("study", trial.number) for trial in store.trials("study")]
    store.close()
    return [(one.number, one.outcome, one.params, one.score, array_digest(one.oof)) for one in trials]


def test_one_command_runs_a_study(study: tuple[Path, Result]) -> None:
    """It reads, runs a known-good trial of every family and then others, records, and says what is next."""
    output, result = study
    trials = stored(output)

    assert result.exit_code == 0, result.output
    assert [trial[2]["family"] for trial in trials[:3]] == ["dan", "nbsvm", "tfidf_logreg"]
    assert len(trials) == 4
    assert "90 rows" in result.output
    assert "study study: 4 complete" in result.output
    assert f"python -m search.ui --output {output}" in result.output
    assert f"python -m ensemble.export --output {output} --study-name study" in result.output


def test_precision_is_that_of_the_recurrent_networks(files: Path, tmp_path: Path, empty_mlflow: Path) -> None:
    """Of all their trials; nothing else has the choice."""
    new_output(tmp_path, empty_mlflow)
    told = arguments(files, tmp_path, "--family", "bilstm_attention", "--precision", "bf16", n_trials=4)

    assert run(*told).exit_code == 0
    precision_of = {params["family"]: params.get("precision") for _, _, params, _, _ in stored(tmp_path)}
    assert precision_of == {"dan": "fp32", "nbsvm": None, "tfidf_logreg": None, "bilstm_attention": "bf16"}


def test_the_same_command_runs_nothing_again(files: Path, study: tuple[Path, Result]) -> None:
    """The study is there: it says so, and has four trials still."""
    output, _ = study
    before = stored(output)
    result = run(*arguments(files, output))

    assert result.exit_code == 0
    assert "continuing the study: 4 trials are there" in result.output
    assert stored(output) == before


def test_a_study_in_pieces_with_two_workers_is_the_same(
    files: Path, study: tuple[Path, Result], tmp_path: Path, empty_mlflow: Path
) -> None:
    """Real objective, real processes, threads taken over from the record: equal to the bit."""
    new_output(tmp_path, empty_mlflow)
    run(*arguments(files, tmp_path, n_trials=1))
    told = arguments(files, tmp_path, "--n-jobs", "2")
    result = run(*[part for part in told if part not in ("--threads", "1")], "--json")

    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0, result.output
    assert stored(tmp_path) == stored(study[0])
    assert {event["event"] for event in events} == {"study", "note", "started", "finished", "end"}
    assert events[-1]["counts"] == {"complete": 4, "pruned": 0, "failed": 0}


def test_a_dry_run_writes_nothing(files: Path, tmp_path: Path) -> None:
    """It shows the data, the folds, the space, the first trials, and how long it all would take."""
    result = run(*arguments(files, tmp_path / "runs", "--dry-run", n_trials=50))

    assert result.exit_code == 0, result.output
    for words in (
        "90 rows",
        "folds: 30, 30, 30 rows",
        "space of dan: ",
        "trial 0 will be dan",
        "the study takes about",
    ):
        assert words in result.output
    assert not (tmp_path / "runs").exists()


def test_other_data_is_refused(files: Path, study: tuple[Path, Result], tmp_path: Path) -> None:
    """A study goes on with the files it began with; both digests are named."""
    output, _ = study
    changed = tmp_path / "train.csv"
    changed.write_text((files / "train.csv").read_text().replace(" w1 ", " w2 "))
    told = arguments(files, output)
    told[1] = str(changed)

    other = run(*told)
    assert other.exit_code == 2
    assert "error: --train, --test, --embeddings: what study 'study' began with has changed (digest " in other.output


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--seed", "4"), "--seed: study 'study' has 0 and this run asks for 4; give --seed 0 to go on"),
        (("--n-folds", "4"), "--n-folds: study 'study' has 3 and this run asks for 4; give --n-folds 3 to go on"),
        (("--n-repeats", "2"), "--n-repeats: study 'study' has 1 and this run asks for 2"),
        (("--lag", "2"), "--lag: study 'study' has 4 and this run asks for 2; give --lag 4 to go on"),
        (("--threads", "2"), "--threads: study 'study' has 1 and this run asks for 2; leave --threads away to go on"),
        (("--metric", "f1"), "--metric: study 'study' has roc_auc and this run asks for f1; give --metric roc_auc"),
        (
            ("--family", "textcnn"),
            "has dan, nbsvm, tfidf_logreg and this run asks for dan, nbsvm, tfidf_logreg, textcnn; give --family dan -",
        ),
        (("--sampler", "random"), "--sampler: study 'study' has tpe and this run asks for random; give --sampler tpe"),
        (("--pruner-kwargs", '{"alpha": 0.5}'), "--pruner-kwargs: study 'study' has "),
        (
            ("--n-epochs", "2"),
            "--space: study 'study' has n_epochs = 1 for dan and this run asks for 2; give the --preset",
        ),
        (
            ("--holdout", "0.2"),
            "--train, --holdout: study 'study' has 90 training rows and this run 72; give the same to go on",
        ),
        (("--positive", "0"), "--positive, --train: study 'study' has the classes 0, 1 and this run 1, 0;"),
        (
            ("--duplicates", "ignore", "--group", "id"),
            "--group: study 'study' has none and this run asks for id; leave",
        ),
        (("--enqueue", "first.json"), "--enqueue: study 'study' began with other settings (trial 0: {'"),
    ],
)
def test_another_setting_is_refused(
    more: tuple[str, ...], words: str, files: Path, study: tuple[Path, Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its option, with what the study has, what was asked for, and how to go on; nothing is written."""
    output, _ = study
    monkeypatch.chdir(files)
    (files / "first.json").write_text('[{"family": "nbsvm", "c": 2.0}]')
    before = contents(output)
    result = run(*arguments(files, output, *more))

    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert line.startswith("error: --")
    assert words in line
    assert line.endswith("to go on, or begin another study with --study-name or --output")
    assert contents(output) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--train": "trian.csv"}, ("trian.csv", "there is no such file")),
        ({"--target": "lable"}, ("train.csv: line 1: there is no column 'lable'", "did you mean label?")),
        ({"--text": "txt"}, ("there is no column 'txt'", "did you mean text?")),
        ({"--metric": "roc_acu"}, ("--metric: 'roc_acu'", "did you mean roc_auc?")),
        ({"--family": "textcn"}, ("--family: 'textcn'", "did you mean textcnn?")),
        ({"--n-folds": "1"}, ("--n-folds: 1 is below 2",)),
        ({"--n-folds": "80"}, ("train.csv: class", "too few for 80 folds", "lower --n-folds")),
        ({"--sampler": "tpee"}, ("--sampler: 'tpee'", "did you mean tpe?")),
        ({"--sampler": "grid"}, ("grid cannot keep a study exact",)),
        ({"--sampler-kwargs": '{"seed": 1}'}, ("seed is set for every trial",)),
        ({"--sampler-kwargs": "{"}, ("--sampler-kwargs: '{' is not JSON",)),
        ({"--sampler-kwargs": '{"n_startup": 1}'}, ("n_startup",)),
        ({"--pruner": "pared"}, ("--pruner: 'pared'", "did you mean paired?")),
        ({"--enqueue": "no.json"}, ("--enqueue: no.json cannot be read",)),
        ({"--space": "no.toml"}, ("--space: no.toml cannot be read",)),
        ({"--config": "no.toml"}, ("--config: no.toml cannot be read",)),
        ({"--preset": "quik"}, ("--preset: 'quik'", "did you mean quick?")),
        ({"--device": "tpu"}, ("--device: 'tpu' is not auto, cpu, cuda or cuda:N",)),
        ({"--study-name": "a b"}, ("--study-name: 'a b'", "at most 100 letters")),
        ({"--output": "why?/runs"}, ("--output: why?/runs holds '?'", "choose a folder without it")),
        ({"--output": "100%20"}, ("--output: 100%20 holds '%'",)),
        ({"--embeddings": "glove.txt"}, ("there is no such embedding file",)),
        ({"--executor": "dask"}, ("--executor dask needs --dask-address",)),
        ({"--storage": "sqlite:///s.db?timeout=5"}, ("--storage: 'sqlite:///s.db?timeout=5' holds '?'",)),
        ({"--storage": "sqlite:///file:s.db?uri=true"}, ("names no file; write sqlite:///FILE",)),
        ({"--storage": "sqlite://"}, ("--storage: 'sqlite://' names no file",)),
        ({"--storage": "sqlite+pysqlite:///s.db"}, ("names no file; write sqlite:///FILE",)),
        ({"--storage": "sqlite:////no/such/folder/s.db"}, ("--storage: there is no folder /no/such/folder",)),
        ({"--tracking-uri": "sqlite:///m.db?x=1"}, ("--tracking-uri: 'sqlite:///m.db?x=1' holds '?'",)),
        ({"--storage": "mongo://x"}, ("--storage: 'mongo://x' cannot be opened",)),
        ({"--checkpoint": "no"}, ("--checkpoint: no is no folder",)),
        ({"--folds-file": "no.csv"}, ("no.csv: there is no such file",)),
    ],
)
def test_wrong_input_is_named_and_nothing_written(
    changes: dict[str, str], words: tuple[str, ...], files: Path, tmp_path: Path
) -> None:
    """One line that says where, what and how to mend it; exit code 2; the output folder does not come to be."""
    told = arguments(files, tmp_path / "runs")
    for option, value in changes.items():
        told += [option, value]
    result = run(*told)

    assert result.exit_code == 2, result.output
    error = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    for word in words:
        assert word in error[0]
    assert not (tmp_path / "runs").exists()


def test_an_output_that_cannot_be_written_is_named(files: Path, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "runs").touch()
    result = run(*arguments(files, tmp_path / "runs"))

    assert result.exit_code == 2
    assert "error: --output: " in result.output


def test_a_mistyped_option_gets_a_suggestion() -> None:
    """As every command line should."""
    result = run("--n-trial", "3")

    assert result.exit_code == 2
    assert "--n-trials" in result.output


def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path: Path) -> None:
    """Layers of options, each with its name in errors."""
    layers = [("preset", {"n_trials": 6, "n_folds": 3}), ("a.toml", {"n_trials": 7, "lag": 2}), ("flags", {"lag": 8})]
    options = make_options(*layers)

    assert (options.n_trials, options.n_folds, options.lag) == (7, 3, 8)
    with pytest.raises(ConfigError, match=r"a.toml: unknown key 'n_trails'; did you mean n_trials\?"):
        make_options(("a.toml", {"n_trails": 3}))
    with pytest.raises(ConfigError, match=r"a.toml: n_trials = '3' is not a whole number"):
        make_options(("a.toml", {"n_trials": "3"}))


def test_a_config_file_runs_a_study(
    files: Path, study: tuple[Path, Result], tmp_path: Path, empty_mlflow: Path
) -> None:
    """Every option may stand in a TOML file, with hyphens or underscores; the study is the same."""
    new_output(tmp_path / "runs", empty_mlflow)
    config = tmp_path / "study.toml"
    config.write_text(
        f'train = "{files}/train.csv"\ntest = "{files}/test.csv"\ntarget = "label"\nid = "id"\nn-folds = 3\n'
        f'n_trials = 9\nspace = "{files}/space.toml"\nfamily = ["dan", "nbsvm", "tfidf_logreg"]\nthreads = 1\n'
        f'output = "{tmp_path}/runs"\nsampler-kwargs = {{n_startup_trials = 10}}\n'
    )
    result = run("--config", str(config), "--n-trials", "2", "--quiet")

    assert result.exit_code == 0, result.output
    assert result.output == ""
    assert stored(tmp_path / "runs") == stored(study[0])[:2]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_sound(preset: str) -> None:
    """Their options are options, and their ranges make a space."""
    values, changes = read_preset(preset)
    options = make_options((preset, values))

    assert make_space(options.family or DEFAULT_FAMILIES, changes, source=preset).families


def test_the_api_is_the_command(files: Path, study: tuple[Path, Result], tmp_path: Path, empty_mlflow: Path) -> None:
    """The same study from Python, with frames of trials and predictions."""
    new_output(tmp_path, empty_mlflow)
    result = search.run_study(
        train=files / "train.csv",
        test=files / "test.csv",
        target="label",
        id="id",
        n_folds=3,
        n_trials=4,
        threads=1,
        family=["dan", "nbsvm", "tfidf_logreg"],
        space={
            "common": {
                "cleaning": "none",
                "char_ngrams": 0,
                "word_ngrams": 1,
                "dense_size": 8,
                "batch_size": 32,
                "n_epochs": 1,
            }
        },
        output=tmp_path,
        show=False,
    )
    best = result.best.number

    assert stored(tmp_path) == stored(study[0])
    assert result.trials.loc[best, "score"] == result.trials["score"].max()
    assert list(result.oof(best).columns) == ["0", "1"]
    assert result.test(best).index[0] == "row90"
    assert np.array_equal(result.test(best).to_numpy(), result.best.test_proba)
    again = search.load_study(tmp_path)
    assert again.trials.equals(result.trials)
    with pytest.raises(ConfigError, match="did you mean n_trials"):
        search.run_study(n_trails=3)


def test_first_trials_can_be_named(files: Path, tmp_path: Path, empty_mlflow: Path) -> None:
    """--enqueue gives the first trials; a value that is not searched is used, one that is left out is suggested."""
    new_output(tmp_path / "runs", empty_mlflow)
    first = tmp_path / "first.json"
    first.write_text(json.dumps([{"family": "dan", "dropout": 0.25, "clip_norm": 3.0}, {"family": "nbsvm", "c": 2.5}]))
    result = run(*arguments(files, tmp_path / "runs", "--enqueue", str(first), "--quiet", n_trials=2))
    (_, _, dan, *_), (_, _, nbsvm, *_) = stored(tmp_path / "runs")

    assert result.exit_code == 0, result.output
    assert (dan["family"], dan["dropout"], dan["clip_norm"]) == ("dan", 0.25, 3.0)
    assert (nbsvm["family"], nbsvm["c"]) == ("nbsvm", 2.5)


def test_help_is_quick_and_complete() -> None:
    """No heavy library is imported for it, and every option has a word of help."""
    code = (
        "import sys, search.run\n"
        "heavy = {'torch', 'mlflow', 'optuna', 'pandas', 'sklearn', 'sqlalchemy', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "search.run.main(['--help'])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    for field in option_fields():
        assert option_name(field.name) in shown
        assert len(field.metadata["help"]) > 5
    assert StudyOptions().n_trials == 20
