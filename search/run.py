"""``python -m search.run``: from train.csv to a tuned, recorded study."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from search.options import PRESETS, StudyOptions, make_options, option_fields, option_kinds, option_name
from textclf.errors import TextclfError

if TYPE_CHECKING:
    from search.launch import StudyOutcome
    from search.machine import Machine
    from search.prepare import PreparedStudy
    from search.progress import Silence

INPUT_ERROR, INTERRUPTED = 2, 130
EPILOG = "Exit codes: 0 done, 2 wrong input or a run that cannot go on, 130 interrupted: the same command continues."

_groups: list[Any] = [
    {
        "name": group,
        "options": [option_name(field.name) for field in option_fields() if field.metadata["group"] == group],
    }
    for group in ("Data", "Folds", "Search", "Running", "Output")
]
_groups.append({"name": "Files of options", "options": ["--preset", "--config", "--dry-run"]})
_groups.append({"name": "Speech", "options": ["--quiet", "--verbose", "--json", "--help"]})
click.rich_click.OPTION_GROUPS = {"*": _groups}


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option per field of StudyOptions; what is left out stays None."""
    for field in reversed(option_fields()):
        kind, repeated = option_kinds()[field.name]
        choices = field.metadata.get("choices")
        more: dict[str, Any] = {"metavar": field.metadata.get("metavar")}
        if kind is bool:
            more = {"is_flag": True}
        elif choices:
            more = {"type": click.Choice(choices)}
        else:
            more["type"] = click.Path(path_type=Path) if kind is Path else kind
        shown = None if field.default in (None, (), False, "{}") else str(field.default)
        help_text = field.metadata["help"] + (f"  [default: {shown}]" if shown else "")
        command = click.option(
            option_name(field.name), field.name, default=None, multiple=repeated, help=help_text, **more
        )(command)
    return command


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=EPILOG)
@study_options
@click.option("--preset", metavar="NAME", help=f"Options and ranges by name: {', '.join(PRESETS)}.")
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="TOML", help="File with any of these options; flags win."
)
@click.option("--dry-run", is_flag=True, help="Check the data, show the plan, time one epoch; run nothing.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--verbose", is_flag=True, help="Lines instead of a page, with every epoch.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def main(
    *, preset: str | None, config: Path | None, dry_run: bool, quiet: bool, verbose: bool, as_json: bool, **flags: Any
) -> None:
    """Search the best text classifiers for a table of labelled texts, and record every trial.

    The same command continues a study that was stopped, or raises its number of trials. Then
    python -m ensemble.export blends the best trials into a submission.
    """
    display = make_display(quiet=quiet, verbose=verbose, as_json=as_json)
    try:
        options, space = read_options(preset, config, flags)
        outcome = run_study_command(options, space, display, dry_run=dry_run)
    except TextclfError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(INPUT_ERROR)
    except KeyboardInterrupt:
        say_how_to_continue()
        sys.exit(INTERRUPTED)
    finally:
        display.close()
    if outcome is not None:
        finish(outcome, quiet=quiet, as_json=as_json)


def read_options(
    preset: str | None, config: Path | None, flags: dict[str, Any]
) -> tuple[StudyOptions, dict[str, dict[str, Any]]]:
    """Options from preset, file and flags, a later one winning, and the preset's changes of the space."""
    from search.options import read_config_file, read_preset

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    from_file = {} if config is None else read_config_file(config)
    preset = preset or from_file.pop("preset", None)
    from_preset, space = ({}, {}) if preset is None else read_preset(preset)
    layers = [(f"--preset {preset}", from_preset), (str(config), from_file), ("command line", given)]
    options = make_options(*layers)
    if options.demo:
        from search.demo import write_demo
        from search.launch import make_folder

        make_folder(options.output)
        demo = write_demo(options.output / "data")
        options = make_options(("--demo", demo), *layers)
    return options, space


def run_study_command(
    options: StudyOptions, space: dict[str, dict[str, Any]], display: "Silence", *, dry_run: bool
) -> "StudyOutcome | None":
    """Check and run a study; only check it in a dry run."""
    from search.launch import check_study, run_prepared

    prepared, machine = check_study(options, space)
    if dry_run:
        show_dry_run(prepared, machine)
        return None
    return run_prepared(prepared, machine, display)


def make_display(*, quiet: bool, verbose: bool, as_json: bool) -> "Silence":
    """A page on a terminal, lines elsewhere, or what was asked for."""
    from search.progress import JsonLines, Lines, Silence

    if as_json:
        return JsonLines(click.echo)
    if quiet:
        return Silence()
    if verbose or not sys.stdout.isatty():
        return Lines(click.echo, verbose=verbose)
    from rich.console import Console

    from search.livepage import LivePage

    return LivePage(Console())


def show_dry_run(prepared: "PreparedStudy", machine: "Machine") -> None:
    """Print the data report, the plan, the folds and an estimate of the time."""
    from search.dryrun import describe_study

    for line in describe_study(prepared, n_jobs=machine.n_jobs):
        click.echo(line)


def finish(outcome: "StudyOutcome", *, quiet: bool, as_json: bool) -> None:
    """Print the summary and leave with the right code."""
    from search.summary import print_summary, summary_json

    if as_json:
        click.echo(summary_json(outcome))
    elif not quiet:
        print_summary(outcome)
    if outcome.interrupted:
        say_how_to_continue()
        sys.exit(INTERRUPTED)


def say_how_to_continue() -> None:
    """Print the command that continues the study, which is the one that began it."""
    import shlex

    command = " ".join(shlex.quote(part) for part in sys.argv[1:])
    click.echo(f"stopped; to continue: python -m search.run {command}", err=True)


if __name__ == "__main__":
    main()
