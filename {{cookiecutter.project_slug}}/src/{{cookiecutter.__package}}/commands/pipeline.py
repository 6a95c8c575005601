"""Retrain through the gate; see, restore and clean up what it made."""

import signal
import time
from pathlib import Path

import click

from .. import Refused, now
from .model import model_names

SHOWN = 10  # differences shown after a restore


@click.command()
@model_names()
def retrain(models: list[str]) -> None:
    """Take new data, recompute what changed, record, judge and promote, for MODELS or all of them."""
    from ..retraining.retrain import retrain

    outcomes = retrain(models, reason="by hand")
    if failed := [outcome.model for outcome in outcomes if outcome.state == "failed"]:
        raise Refused(f"{', '.join(failed)} not retrained; what served before still serves")


@click.command()
@model_names()
def learn(models: list[str]) -> None:
    """Let MODELS, or all whose modules have `learn`, learn from logged rows once their labels are there."""
    from ..monitoring.learning import learn

    outcomes = learn(models, now())
    if failed := [outcome.model for outcome in outcomes if outcome.state == "failed"]:
        raise Refused(f"{', '.join(failed)} learned nothing; what served before still serves")


@click.command()
@click.argument("name", type=click.Choice(["split", "fit", "score", "all"]))
@model_names()
def stage(name: str, models: list[str]) -> None:
    """Run one stage of MODELS, or all stages, as dvc.yaml does; records nothing."""
    from ..retraining.stages import STAGES, run_stage
    from ..training.contract import load_models

    for model in load_models(models):
        for each in STAGES if name == "all" else [name]:
            run_stage(each, model)


@click.command()
@click.argument("port", type=click.IntRange(1, 65535), default=8000)
def up(port: int) -> None:
    """Run Prefect's server, the nightly retrain and the service on PORT, until stopped."""
    from .. import flows

    flows.up(port)


@click.command()
@model_names()
@click.option(
    "--retrain", "act", is_flag=True, help="Retrain what has new data, drifts, does worse than promised, or is old."
)
def watch(models: list[str], act: bool) -> None:
    """Tell whether what was promised of MODELS, or all, still holds; status 1 if anything alarms."""
    from ..monitoring import page, retrains
    from ..monitoring.watch import watch
    from ..serving.log_store import open_log

    if act:
        retrains.ask_for_new_data(open_log(), models)
    found = watch(models, now(), act=act)
    click.echo("\n".join(page.publish(found)))
    if alarming := [f"{each.model} ({', '.join(each.kinds)})" for each in found if each.alarms]:
        raise Refused(f"{'; '.join(alarming)}: see the lines above, and docs/operations.md")


@click.command()
@click.argument("days", type=click.IntRange(8, 365), default=90)
@model_names()
@click.option("--rows", type=click.IntRange(20, 2_000), default=60, show_default=True, help="Asked each day.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the rows and of the faults.")
@click.option("--no-control", is_flag=True, help="Leave out the run in which nothing goes wrong.")
def simulate(days: int, models: list[str], rows: int, seed: int, no_control: bool) -> None:
    """Play DAYS of the whole loop in temporary copies of the project, with faults, and show what came of them."""
    from ..simulation import report
    from ..simulation.simulate import simulate
    from ..training.contract import load_model
    from ..training.params import model_blocks, single_name

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as after Ctrl-C, nothing is left behind
    model = load_model(single_name(models or list(model_blocks([]))[:1]))
    runs = simulate(model, days, rows, seed, control=not no_control)
    click.echo("\n".join([*report.publish(runs), "report: reports/simulation.html"]))


@click.command()
@click.argument("version", default="")
@model_names()
def lineage(version: str, models: list[str]) -> None:
    """Show what VERSION, or the champion, was made of."""
    from ..retraining.lineage import describe_version, newest
    from ..training.params import model_blocks

    if version and not version.isdigit():
        version, models = "", [version, *models]
    for model in model_blocks(models):
        click.echo("\n".join(describe_version(model, version or newest(model))))


@click.command()
@model_names()
def history(models: list[str]) -> None:
    """Show every version with its verdict, and every deployment with its reason."""
    from ..retraining.lineage import history
    from ..training.params import model_blocks

    for model in model_blocks(models):
        click.echo("\n".join(history(model)))


@click.command()
@click.argument("version")
@model_names()
@click.option("--to", default="", help="An empty folder; by default one below restored/.")
def restore(version: str, models: list[str], to: str) -> None:
    """Make VERSION again beside the project and prove it identical, or show what differs."""
    from ..retraining.restore import restore
    from ..training.params import single_name

    start, model = time.perf_counter(), single_name(models)
    folder, changed = restore(model, version, Path(to) if to else None)
    click.echo(f"{model} version {version} is restored in {folder} ({time.perf_counter() - start:.1f} s)")
    click.echo(f"  when done with it: git worktree remove --force {folder}")
    if changed:
        shown = "\n".join(f"  {line}" for line in changed[:SHOWN])
        raise Refused(f"{model} version {version}, made again, is not the same:\n{shown}")
    click.echo("  identical: model file, predictions and every metric")


@click.command()
def clean() -> None:
    """Mend DVC's cache, and free what no version and no file here needs."""
    from ..retraining.cleanup import clean

    done = clean()
    click.echo(f"DVC's cache: {done.broken} broken files mended or dropped, {done.freed} freed that no version needs")
    if done.unknown:
        click.echo(f"  nothing is freed while the content of {done.unknown} folders is unknown here: uv run dvc fetch")
    click.echo(f"MLflow: {done.runs} runs deleted that made no version; code of versions: {done.code} folders freed")


COMMANDS = [retrain, learn, stage, up, watch, simulate, lineage, history, restore, clean]
