"""``python -m search.report``: a study as one HTML page, from the prediction store alone."""

import shlex
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from textclf.errors import ConfigError, TextclfError

FAILED = 2


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="The study's folder; holds study.db.")
@click.option("--storage", metavar="URL", help="The study's database, where it is elsewhere.")
@click.option("--study-name", metavar="NAME", help="Which study, where the database holds several.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write the page.  [default: report.html in the study's folder]",
)
@click.option(
    "--blend",
    type=click.Path(path_type=Path),
    metavar="JSON",
    help="Provenance file of the blend to show.  [default: the latest one in the study's folder]",
)
def main(*, html: Path | None, output: Path | None, **options: Any) -> None:
    """Write a study's report: one HTML file that needs no network, made for reading, printing and mailing.

    Leaderboard, history, blend, learning curves, the best trial's predictions and worst mistakes, parameter
    importances, pruning, time, data checks, and how to reproduce it all.
    """
    try:
        target = html or (output or Path()) / "report.html"
        written = write_report(target, output=output, **options)
    except TextclfError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    click.echo(f"{written} ({written.stat().st_size / 1e6:.1f} MB)")


def write_report(
    html: Path | str,
    *,
    output: Path | str | None = None,
    storage: str | None = None,
    study_name: str | None = None,
    blend: Path | str | None = None,
) -> Path:
    """Write a study's report and return its path.

    output: the study's folder; or storage: a SQLAlchemy URL
    study_name: may be left out where there is one study; blend: a provenance file of python -m ensemble.export
    Raises ConfigError, DataError or RunError for whatever is the user's to mend, before anything is written.
    """
    from textclf.place import find_storage

    html, folder = Path(html), None if output is None else Path(output)
    find_storage(folder, storage=storage)
    if html.is_dir() or not html.parent.is_dir():
        raise ConfigError(f"--html: {html} cannot be a file; name one in a folder that exists")
    page = make_page(folder, storage=storage, study_name=study_name, blend=None if blend is None else Path(blend))
    try:
        html.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--html: {html} cannot be written ({error.strerror}); choose another place") from None
    return html


def make_page(output: Path | None, *, storage: str | None, study_name: str | None, blend: Path | None) -> str:
    """The report as HTML."""
    from search.figures import PAGE, drawing
    from search.ranking import rank_trials
    from search.report_blend import find_blend, read_blend
    from search.report_sections import ReportData
    from textclf.place import only_study, open_study_store

    with open_study_store(output, storage=storage) as store:
        study = store.read_study(study_name or only_study(store))
        trials = store.trials(study.name)
        standings = rank_trials(trials)
        best = store.read_trial(study.name, standings[0].trial.number) if standings else None
    data = ReportData(
        study=study,
        trials=trials,
        best=best,
        texts=None if output is None else _find_texts(output, study.data_digest),
        where=_where(output, storage=storage, study_name=study_name),
    )
    blended = find_blend(output, study.name) if blend is None else read_blend(blend)
    with drawing(PAGE):
        return _compose(data, blended)


def _compose(data: Any, blend: dict[str, Any] | None) -> str:
    from search import report_facts as facts
    from search import report_sections as sections
    from search.ranking import count_fits
    from search.report_blend import blend_section
    from search.report_page import key_figures, render_page

    study = data.study
    found = [
        sections.leaderboard_section(data),
        None if blend is None else blend_section(blend),
        sections.best_trial_section(data),
        sections.curves_section(data),
        sections.parameters_section(data),
        sections.cost_section(data) if data.trials else None,
        facts.data_section(data),
        facts.reproduce_section(data),
    ]
    what = f"{study.task.kind}, {len(study.train_ids):,} rows, {count_fits(study)} folds"
    return render_page(
        title=study.name,
        subtitle=f"{what}, {study.metric} (higher is better)",
        keys=key_figures(sections.key_numbers(data, blend)),
        sections=[section for section in found if section is not None],
        footer="Written by python -m search.report. Scores are out of fold unless they are called fitted.",
    )


def _where(output: Path | None, *, storage: str | None, study_name: str | None) -> str:
    """The options that name the study, as one types them; a password is left out."""
    words = [] if output is None else ["--output", str(output)]
    if storage is not None:
        import sqlalchemy as sa

        words += ["--storage", sa.engine.make_url(storage).render_as_string(hide_password=True)]
    return shlex.join([*words, *(["--study-name", study_name] if study_name else [])])


def _find_texts(output: Path, data_digest: str) -> list[str] | None:
    """The training texts among the inputs that are kept in a study's folder."""
    from textclf.archive import read_archive
    from textclf.errors import DataError
    from textclf.place import INPUTS_FOLDER

    for folder in sorted((output / INPUTS_FOLDER).glob("*")):
        try:
            archive = read_archive(folder)
        except (DataError, OSError):
            continue
        if archive.record.get("data_digest") == data_digest:
            return list(archive.strings["train-texts"])
    return None


if __name__ == "__main__":
    main()
