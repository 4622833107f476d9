"""``python -m ensemble.export``: blend a study's trials, say what the blend is worth, write the submission."""

import contextlib
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from ensemble.blend import BLENDS
from ensemble.calibration import CALIBRATIONS
from textclf.errors import ConfigError, RunError, TextclfError

if TYPE_CHECKING:
    from rich.status import Status

    from ensemble.package import ModelReport
    from ensemble.study import BlendResult

ARTIFACTS_FOLDER, SUBMISSION_FILE = "artifacts", "submission.csv"
FAILED = 2

click.rich_click.OPTION_GROUPS = {
    "*": [
        {"name": "The study", "options": ["--output", "--storage", "--study-name", "--exclude"]},
        {"name": "The blend", "options": ["--method", "--top", "--redundant", "--calibrate", "--metric", "--seed"]},
        {"name": "The submission", "options": ["--sample-submission", "--submission", "--values"]},
        {"name": "The model", "options": ["--model", "--model-tolerance"]},
        {"name": "The record", "options": ["--holdout", "--tracking-uri", "--no-mlflow", "--json", "--help"]},
    ]
}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="The study's folder; holds study.db.")
@click.option("--storage", metavar="URL", help="The study's database, where it is elsewhere.")
@click.option(
    "--study-name", multiple=True, metavar="NAME", help="Which study; repeat it to blend studies on the same rows."
)
@click.option("--exclude", type=int, multiple=True, metavar="N", help="Trial to leave out; may be repeated.")
@click.option("--method", default="greedy", metavar="NAME", help=f"How to blend: {', '.join(BLENDS)}.")
@click.option("--top", type=int, default=10, metavar="K", help="Members considered, the best ones.")
@click.option(
    "--redundant",
    type=float,
    default=0.999,
    metavar="R",
    help="Pass over a member that correlates more than this with a better one.",
)
@click.option(
    "--calibrate", default="none", metavar="NAME", help=f"Calibrate the blend: {', '.join(['none', *CALIBRATIONS])}."
)
@click.option("--metric", metavar="NAME", help="Blend for another metric than the study's.")
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of bagging, CMA-ES and resampling.")
@click.option(
    "--sample-submission", type=click.Path(path_type=Path), metavar="CSV", help="File whose form the submission takes."
)
@click.option(
    "--submission",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help=f"Where to write it.  [default: {SUBMISSION_FILE} in the study's folder]",
)
@click.option("--values", default="auto", metavar="KIND", help="What its cells hold: auto, labels or probabilities.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also ship the blend: fit its members again and write them here as an MLflow model.",
)
@click.option(
    "--model-tolerance", type=float, metavar="LOSS", help="Ship the fewest members within this loss of score."
)
@click.option("--holdout", is_flag=True, help="Score the blend, once, on the rows the study set apart.")
@click.option("--tracking-uri", metavar="URI", help="MLflow's store.  [default: mlflow.db in the study's folder]")
@click.option("--no-mlflow", is_flag=True, help="Keep no MLflow record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(**options: Any) -> None:
    """Blend the finished trials of a study into one submission.

    Prints the best single member, the plain mean and the blend, each with its honest (cross-fitted) score, and writes
    the submission with a JSON file beside it that says how it was made.
    """
    try:
        export(**options)
    except TextclfError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)


def export(
    *,
    tracking_uri: str | None,
    no_mlflow: bool,
    as_json: bool,
    submission: Path | None,
    model: Path | None,
    model_tolerance: float | None,
    **options: Any,
) -> None:
    """Blend, write, record and print; whatever can be refused is refused before anything is written."""
    from ensemble.files import check_writable
    from ensemble.study import blend_study, write_result
    from textclf.place import find_storage

    output: Path | None = options["output"]
    find_storage(output, storage=options["storage"])
    target = submission or (output or Path()) / SUBMISSION_FILE
    check_writable(target)
    uri = None if no_mlflow else tracking_uri or default_tracking_uri(output)
    client = None if uri is None else open_client(uri)
    ship = plan_model(model, model_tolerance, options)
    with waiting():
        blended = blend_study(**options, command=command_line())
    shipped = ship(blended)
    result = write_result(blended, target)
    run_id = None if client is None else record(client, result, output)
    place = f"python -m search.ui --output {shlex.quote(str(output))}"
    if tracking_uri is not None:
        place = f"mlflow ui --backend-store-uri {shlex.quote(tracking_uri)}"
    show(result, run=None if run_id is None else (run_id, place), shipped=shipped, as_json=as_json)


def waiting() -> "Status":
    """A sign of life on a terminal while members are blended and judged."""
    from rich.console import Console

    return Console(stderr=True).status("blending, and judging the blend fold by fold ...")


def plan_model(
    model: Path | None, tolerance: float | None, options: dict[str, Any]
) -> "Callable[[BlendResult], ModelReport | None]":
    """What ships the blend, where that is asked; refuses at once what can be refused."""
    if model is None:
        if tolerance is not None:
            raise ConfigError("--model-tolerance: says how few members a model may have; name its folder with --model")
        return lambda _: None
    from ensemble.package import check_target, ship

    check_target(model)
    return partial(
        ship,
        target=model,
        output=options["output"],
        storage=options["storage"],
        tolerance=tolerance,
        tell=partial(click.echo, err=True),
    )


def default_tracking_uri(output: Path | None) -> str | None:
    """The MLflow database that the search left in the study's folder, None where it left none."""
    from textclf.place import TRACKING_FILE

    if output is None or not (output / TRACKING_FILE).is_file():
        return None
    return f"sqlite:///{output / TRACKING_FILE}"


def open_client(uri: str) -> Any:
    """Connect to MLflow."""
    from ensemble.tracking import connect

    return connect(uri)


def record(client: Any, result: "BlendResult", output: Path | None) -> str:
    """Log the blend to MLflow; returns the run's id."""
    from ensemble.tracking import log_blend

    try:
        return log_blend(client, result, artifacts=None if output is None else output / ARTIFACTS_FOLDER)
    except Exception as error:  # MLflow raises whatever its store raises
        line = (str(error).splitlines() or [repr(error)])[0]
        raise RunError(f"{result.submission} is written, but MLflow does not record it ({line})") from error


def show(result: "BlendResult", *, run: tuple[str, str] | None, shipped: "ModelReport | None", as_json: bool) -> None:
    """Print the result as tables, or as JSON and nothing else; run: its MLflow run and the command that shows it."""
    import json

    from rich.console import Console

    from ensemble.provenance import provenance_path
    from ensemble.report import print_report

    assert result.submission is not None
    if as_json:
        described = json.loads(provenance_path(result.submission).read_text(encoding="utf-8"))
        model = None if shipped is None else shipped.describe()
        click.echo(json.dumps(described | {"mlflow_run": None if run is None else run[0], "model": model}, indent=2))
        return
    console = Console(highlight=False)
    print_report(console, result)
    if shipped is not None:
        console.print(f"\n{shipped}", soft_wrap=True, markup=False)
    if run is not None:
        console.print(f"MLflow run {run[0]}; look at it with: {run[1]}", soft_wrap=True)


def command_line() -> str:
    """The command as typed, with a database's password hidden."""
    import sqlalchemy as sa

    words = []
    for word in sys.argv[1:]:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if "://" in value:
            with contextlib.suppress(sa.exc.ArgumentError, ValueError):  # not every address is a database's
                value = sa.engine.make_url(value).render_as_string(hide_password=True)
        words.append(f"{option}{equals}{value}")
    return shlex.join(["python", "-m", "ensemble.export", *words])


if __name__ == "__main__":
    main()
