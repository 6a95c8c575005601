"""Train, promote, predict and serve."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import Refused

if TYPE_CHECKING:
    from ..datasets.table import Table


def model_names() -> Callable:
    """Return a click argument of model names; several in one text are split, since names hold no blanks."""

    def split(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[str]:
        return [name for each in value for name in each.split()]

    return click.argument("models", nargs=-1, callback=split)


@click.command()
@model_names()
def train(models: list[str]) -> None:
    """Fit, score and record MODELS, or all of them; promotes nothing."""
    from ..registry import provenance, versions
    from ..training import evaluate, report, workspace
    from ..training import train as stages
    from ..training.contract import load_model
    from ..training.params import model_blocks

    for wanted in model_blocks(models):
        start = time.perf_counter()
        with workspace.training_lock():
            model = load_model(wanted)
            made_of = provenance.current(wanted, model.preparation)
            for name, stage in (("split", stages.split), ("fit", stages.fit), ("score", evaluate.score)):
                click.echo(f"{model.name}: {name}")
                stage(model)
            scores = evaluate.read_scores(model)
            number, fresh = versions.record_version(model, scores, made_of)
            report.write_report(model)
            if fresh or not versions.has_file(model.name, number, model.files.card.name):
                versions.add_files(model.name, number, [model.files.card, model.files.report])
        novelty = "is new" if fresh else "already holds exactly this model"
        seconds = time.perf_counter() - start
        click.echo(f"{model.name}: version {number} {novelty}; {evaluate.summary(scores)}; {seconds:.1f} s")
        click.echo(f"  report: reports/{model.name}.html; to serve it: uv run just promote {number} {model.name}")


@click.command()
@model_names()
def evaluate(models: list[str]) -> None:
    """Score MODELS, or all, as last trained and write their reports again."""
    from ..training import evaluate, report, workspace
    from ..training.contract import load_models

    for model in load_models(models):
        with workspace.training_lock():
            evaluate.score(model)
            report.write_report(model)
        scores = evaluate.summary(evaluate.read_scores(model))
        click.echo(f"{model.name}: {scores}; report: reports/{model.name}.html")


@click.command()
@click.argument("version")
@model_names()
def promote(version: str, models: list[str]) -> None:
    """Let VERSION of a model serve, whatever the gate said."""
    from ..registry import deployments, refits
    from ..training.contract import load_model
    from ..training.params import single_name

    model = load_model(single_name(models))
    refitted = refits.add_refit(model, version)
    before = deployments.promote(model.name, version, reason="by hand")
    refitted = refits.update_champion(model) or refitted
    click.echo(f"{model.name}: version {version} serves" + (f", {refitted}" if refitted else ""))
    if before:
        click.echo(f"  version {before} can be rolled back to")


@click.command()
@model_names()
@click.option("--all", "every", is_flag=True, help="Roll back every model that serves.")
def rollback(models: list[str], every: bool) -> None:
    """Let the version that served before serve again, of the MODELS named or of the only one that serves."""
    from ..registry import deployments

    if models and every:
        raise click.UsageError("name models or give --all, not both")
    serving = deployments.serving_models()
    if not serving:
        raise Refused("no model has a champion yet, so there is nothing to roll back")
    if not models and not every and len(serving) > 1:
        raise Refused(f"say which model, or --all: {', '.join(serving)}")
    refusals = []
    for model in models or serving:
        try:
            version = deployments.rollback(model, reason="by hand")
            click.echo(f"{model}: version {version} serves again")
        except Refused as refusal:  # the others are rolled back all the same
            refusals.append(str(refusal))
    if refusals:
        raise Refused("; ".join(refusals))


@click.command()
@model_names()
def withdraw(models: list[str]) -> None:
    """Take a model's champion out of service for good; the version before it, if there is one, serves again."""
    from ..registry import deployments
    from ..training.params import single_name

    model = single_name(models)
    version = deployments.withdraw(model, reason="by hand")
    served = (
        f"version {version} serves again" if version else "nothing serves until one is promoted: retrain, or promote"
    )
    click.echo(f"{model}: the champion is withdrawn; {served}")


@click.command()
@click.argument("rows", type=click.Path(path_type=Path))
@click.argument("predictions", type=click.Path(path_type=Path))
@model_names()
def predict(rows: Path, predictions: Path, models: list[str]) -> None:
    """Write PREDICTIONS, by the champion, for each row of ROWS (.csv, .jsonl, .parquet, or a folder)."""
    from ..serving import batch
    from ..training.params import single_name

    name = single_name(models)
    number, total = batch.predict_file(rows, predictions, name, _row_names(name))
    click.echo(f"{name} version {number}: {total} predictions in {predictions}")


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--periods", type=click.IntRange(min=1), help="How many; by default the horizon.")
@model_names()
def forecast(predictions: Path, periods: int | None, models: list[str]) -> None:
    """Write PREDICTIONS, by the champion, for the next periods of every series."""
    from ..serving import batch
    from ..training.params import single_name

    name = single_name(models)
    number, total = batch.forecast_file(predictions, name, _row_names(name), periods)
    click.echo(f"{name} version {number}: {total} forecasts in {predictions}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@model_names()
def labels(file: Path, models: list[str]) -> None:
    """Store the labels in FILE (.csv, .parquet): the prediction_id or the key of each row, and what turned out true."""
    from ..serving.labels import add_labels, read_labels
    from ..serving.log_store import open_log
    from ..training.contract import load_model
    from ..training.modules import forecasts
    from ..training.params import single_name

    model = load_model(name := single_name(models))
    found = read_labels(file, model.table.keys, model.table.target)
    stored, unknown = add_labels(open_log(), name, found, every=forecasts(model.module))
    click.echo(f"{name}: {stored} labels stored")
    if unknown:
        raise Refused(f"{len(unknown)} labels are of no logged prediction of {name}, such as {unknown[0]!r}")


@click.command()
@click.argument("key")
@model_names()
def forget(key: str, models: list[str]) -> None:
    """Delete all logged predictions about the row with this KEY, and their labels, of one model or of all."""
    from ..datasets.table import key_text
    from ..serving.log_store import delete_key, open_log
    from ..training.params import model_blocks

    for name in model_blocks(models):
        count = delete_key(open_log(), name, key_text([key]))
        click.echo(f"{name}: {count} logged predictions deleted")


@click.command()
@click.argument("port", type=click.IntRange(1, 65535), default=8000)
def serve(port: int) -> None:
    """Serve the champions over HTTP on PORT, until stopped; set SERVE_HOST to be reached from outside."""
    from ..serving import app

    app.serve(port)


@click.command()
@click.argument("copy", default="")
def recover(copy: str) -> None:
    """Put a COPY of the registry's database back, or the newest: one is kept of each of the last changes."""
    from ..registry import database
    from ..registry.settings import server
    from ..training.workspace import training_lock

    if server():
        raise Refused("MLFLOW_TRACKING_URI names a server: bring its database back where it runs")
    with training_lock():
        number, lost = database.put_back(copy)
    click.echo(f"copy {number} of {database.DATABASE.name} is back; {len(lost) or 'nothing'} newer is lost")
    for line in lost:
        click.echo(f"  {line}")


def _row_names(model: str) -> list[str]:
    """Return the columns that tell what a prediction is for: the table's key, group and time."""
    table = _table(model)
    return list(dict.fromkeys(name for name in [*table.keys, table.group, table.time] if name))


def _table(model: str) -> "Table":
    from ..training.contract import table_of
    from ..training.params import model_blocks

    return table_of(model, model_blocks([model])[model])


COMMANDS = [train, evaluate, promote, rollback, withdraw, predict, forecast, labels, forget, serve, recover]
