"""MLflow record of a blend: one run beside the study's trials. The only import of mlflow in this package."""

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensemble.figures import draw_diversity, draw_scores
from ensemble.provenance import finite, provenance_path
from textclf.errors import RunError

if TYPE_CHECKING:
    from ensemble.study import BlendResult

STAGE, STUDY = "stage", "study"  # tags that the search sets on its runs as well
LONGEST_TAG = 5000


def connect(uri: str) -> Any:
    """A client of a tracking store that answers; raises RunError for one that does not."""
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)  # a line per migration of a new database
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # MLflow raises whatever its store raises
        line = (str(error).splitlines() or [repr(error)])[0]
        raise RunError(
            f"--tracking-uri: {uri} cannot be used ({line}); check it, or leave the record out with --no-mlflow"
        ) from error
    return client


def find_place(client: Any, study: str, *, artifacts: Path | None) -> tuple[str, str | None]:
    """The id of the study's experiment, made where it is missing, and of the study's run, None where it has none.

    artifacts: folder for artifacts of a new experiment, None where a server decides
    """
    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        place = None if artifacts is None else artifacts.resolve().as_uri()
        return client.create_experiment(study, artifact_location=place), None
    found = client.search_runs(
        [experiment.experiment_id], f"tags.{STAGE} = 'study' AND tags.{STUDY} = '{study}'", max_results=1
    )
    return experiment.experiment_id, found[0].info.run_id if found else None


def log_blend(client: Any, result: "BlendResult", *, artifacts: Path | None) -> str:
    """Record weights, scores, figures, submission and provenance as one finished run; returns its id."""
    study = result.pool.study.name
    experiment_id, parent_id = find_place(client, study, artifacts=artifacts)
    tags = {STAGE: "blend", STUDY: study, "mlflow.note.content": note(result)[:LONGEST_TAG]}
    if parent_id is not None:
        tags["mlflow.parentRunId"] = parent_id
    method = result.evaluation.blend.recipe.method
    run = client.create_run(experiment_id, tags=tags, run_name=f"blend {method}")
    run_id: str = run.info.run_id
    try:
        log_numbers(client, run, result)
        client.log_figure(run_id, draw_diversity(result.diversity), "diversity.png")
        client.log_figure(run_id, draw_scores(result.evaluation, result.metric.name), "scores.png")
        log_tables(client, run_id, result)
        if result.submission is not None:
            for path in (result.submission, provenance_path(result.submission)):
                client.log_artifact(run_id, str(path))
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)
    return run_id


def log_numbers(client: Any, run: Any, result: "BlendResult") -> None:
    """Log the recipe as parameters, the evaluation as metrics, the digests as tags."""
    from mlflow.entities import Metric, Param, RunTag

    recipe = result.evaluation.blend.recipe
    params = {
        **dataclasses.asdict(recipe),
        "way": result.evaluation.blend.resolved.method,
        "metric": result.metric.name,
        "seed": result.seed,
    }
    client.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, run.info.start_time, 0) for name, value in blend_metrics(result).items()],
        params=[Param(key, str(value)) for key, value in params.items()],
        tags=[RunTag(f"data_digest.{name}", digest) for name, digest in result.pool.data_digests.items()],
    )


def log_tables(client: Any, run_id: str, result: "BlendResult") -> None:
    """Put the members and their correlations beside the run as CSV files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in (("members", result.members), ("correlation", result.correlation)):
            path = Path(folder) / f"{name}.csv"
            table.to_csv(path)
            client.log_artifact(run_id, str(path))


def blend_metrics(result: "BlendResult") -> dict[str, float]:
    """Every defined number of the evaluation, by a name that MLflow accepts."""
    evaluation = result.evaluation
    values = {"selection_bias": evaluation.selection_bias}
    for judged, prefix in zip(evaluation.judged, ("best_single/", "plain_mean/", ""), strict=True):
        for name in ("cross_fitted", "low", "high", "fitted", "optimism", "gain"):
            values[f"{prefix}{name}"] = getattr(judged, name)
    for member, weight in zip(result.pool.members, result.weights, strict=True):
        if weight > 0:
            values[f"weight/{member.name}"] = float(weight)
    if result.holdout is not None:
        values["holdout_score"] = result.holdout.score
    return {name: value for name, value in values.items() if finite(value) is not None}


def note(result: "BlendResult") -> str:
    """The run's description in Markdown: scores and weights."""
    lines = [
        f"Blend of {int((result.weights > 0).sum())} members by `{result.metric.name}` (higher is better).",
        "",
        "| | cross-fitted | 95% interval | fitted |",
        "|:--|--:|:--|--:|",
    ]
    lines += [
        f"| {judged.name} | {judged.cross_fitted:.5f} | {judged.low:.5f} to {judged.high:.5f} | {judged.fitted:.5f} |"
        for judged in result.evaluation.judged
    ]
    lines += ["", "| member | weight | OOF score |", "|:--|--:|--:|"]
    lines += [
        f"| {result.pool.members[place].name} | {result.weights[place]:.3f} | {result.pool.members[place].score:.5f} |"
        for place in result.chosen
        if result.weights[place] > 0
    ]
    return "\n".join(lines)
