"""Real data sets from CSV to submission, one command each for search and blend.

    python -m benchmarks.datasets --data ../shared/data [--name trec ...] [--n-trials 6] [--n-folds 3]

Per data set: the linear baseline (TF-IDF of 1- and 2-grams with logistic regression, scikit-learn alone, same folds),
the best single trial, the plain mean and the greedy blend, each cross-fitted, and the wall time of both commands.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tables import describe_machine, write_table


@dataclass(frozen=True, kw_only=True)
class Job:
    """A data set as the commands are told of it."""

    train: str
    test: str
    metric: str
    options: tuple[str, ...]
    sample: str | None = None


JOBS: dict[str, Job] = {
    "quora": Job(
        train="quora/train.csv",
        test="quora/test.csv",
        metric="f1",
        options=("--text", "question_text", "--target", "target", "--id", "qid"),
        sample="quora/sample_submission.csv",
    ),
    "jigsaw": Job(
        train="jigsaw/train.csv",
        test="jigsaw/test.csv",
        metric="roc_auc",
        options=(
            *("--text", "comment_text", "--id", "id"),
            *("--target", "toxic", "--target", "severe_toxic", "--target", "obscene"),
            *("--target", "threat", "--target", "insult", "--target", "identity_hate"),
        ),
        sample="jigsaw/sample_submission.csv",
    ),
    "spooky": Job(
        train="spooky/train.csv",
        test="spooky/test.csv",
        metric="log_loss",
        options=("--text", "text", "--target", "author", "--id", "id"),
        sample="spooky/sample_submission.csv",
    ),
    "airline": Job(
        train="airline/train.csv",
        test="airline/test.csv",
        metric="accuracy",
        options=(
            *("--text", "text", "--target", "airline_sentiment", "--id", "tweet_id", "--duplicate-ids", "number"),
            *("--features", "retweet_count", "--categorical", "airline", "--categorical", "user_timezone"),
        ),
        sample="airline/sample_submission.csv",
    ),
    "sst2": Job(
        train="sst2/train.csv", test="sst2/test.csv", metric="accuracy", options=("--text", "text", "--target", "label")
    ),
    "trec": Job(
        train="trec/train.csv", test="trec/test.csv", metric="accuracy", options=("--text", "text", "--target", "label")
    ),
    "ag_news": Job(
        train="ag_news/train10k.csv",
        test="ag_news/test.csv",
        metric="accuracy",
        options=("--text", "text", "--target", "label_name"),
    ),
    "sms_spam": Job(
        train="sms_spam/sms_spam.csv",
        test="sms_spam/sms_spam.csv",
        metric="f1",
        options=("--text", "text", "--target", "label"),
    ),
}
NOTE = """`python -m benchmarks.datasets --data DATA --n-trials {options.n_trials} --n-folds {options.n_folds}`: one
known-good setting of each of six families, GloVe 100d, one thread. All scores are out of fold, cross-fitted, higher is
better; the interval is a 95% bootstrap interval. Seconds are wall time, on a machine that had other work to do."""
EMBEDDINGS = "glove.6B.100d.top100k.txt.gz"


def run_job(name: str, *, data: Path, output: Path, n_trials: int, n_folds: int) -> dict[str, Any]:
    """Run both commands on a data set; returns the row of the table."""
    job = JOBS[name]
    began = time.monotonic()
    search = [
        *("search.run", "--train", data / job.train, "--test", data / job.test, *job.options),
        *("--embeddings", data / EMBEDDINGS, "--metric", job.metric, "--output", output, "--study-name", name),
        *("--n-trials", n_trials, "--n-folds", n_folds, "--n-jobs", 1, "--threads", 1, "--quiet"),
    ]
    _python(search)
    sample = ["--sample-submission", data / job.sample] if job.sample else []
    export = ["ensemble.export", "--output", output, "--study-name", name, *sample, "--json"]
    record = json.loads(_python(export))
    seconds = time.monotonic() - began
    scores = {who.split(" (")[0]: values for who, values in record["scores"].items()}
    return {
        "name": name,
        "metric": job.metric,
        "rows": record["study"]["n_rows"],
        "baseline": linear_baseline(output, name),
        "single": scores["best single"]["cross_fitted"],
        "mean": scores["plain mean"]["cross_fitted"],
        "blend": scores["blend"]["cross_fitted"],
        "low": scores["blend"]["low"],
        "high": scores["blend"]["high"],
        "seconds": seconds,
    }


def linear_baseline(output: Path, name: str) -> float:
    """The study's metric of scikit-learn's TF-IDF (1-2 grams) and logistic regression on the study's folds."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    from textclf.inputs import load_inputs
    from textclf.metrics import get_metric, score_oof
    from textclf.store import open_store

    with open_store(f"sqlite:///{output}/study.db") as store:
        study = store.read_study(name)
    inputs = load_inputs(output / "inputs" / str(study.settings["inputs"]))
    texts, labels = np.array(inputs.train.texts, dtype=object), np.asarray(inputs.labels)
    oof = np.zeros((len(texts), inputs.task.n_outputs))
    for fold in range(inputs.folds.n_folds):
        held_out = inputs.folds.fold_of_row[0] == fold
        model: Any = LogisticRegression(C=4.0, max_iter=1000)
        if labels.ndim == 2:
            model = OneVsRestClassifier(model)
        pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), model)
        oof[held_out] = pipeline.fit(texts[~held_out], labels[~held_out]).predict_proba(texts[held_out])
    return score_oof(get_metric(study.metric, inputs.task), labels, oof, inputs.folds.fold_of_row).score


def _python(arguments: list[Any]) -> str:
    done = subprocess.run([sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Run the data sets asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", choices=JOBS, action="append")
    parser.add_argument("--n-trials", type=int, default=6)
    parser.add_argument("--n-folds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    for name in options.name or JOBS:
        with tempfile.TemporaryDirectory() as folder:
            row = run_job(
                name, data=options.data, output=Path(folder), n_trials=options.n_trials, n_folds=options.n_folds
            )
        rows.append(row)
        print(json.dumps(row), flush=True)
        write_table(
            "datasets",
            title="Real data sets, from CSV to submission",
            notes=[NOTE.format(options=options), describe_machine("torch", "scikit-learn", "numpy")],
            header=("data", "metric", "rows", "linear baseline", "best single", "plain mean", "blend", "interval", "s"),
            rows=[
                (
                    *(row["name"], row["metric"], f"{row['rows']:,}"),
                    *(f"{row[key]:.4f}" for key in ("baseline", "single", "mean", "blend")),
                    f"{row['low']:.4f} to {row['high']:.4f}",
                    f"{row['seconds']:.0f}",
                )
                for row in rows
            ],
        )


if __name__ == "__main__":
    main()
