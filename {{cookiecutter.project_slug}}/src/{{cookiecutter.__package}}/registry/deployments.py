"""Which version serves: promotion, rollback, and a log of both that only grows."""

import getpass
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities import Run

from .. import Refused
from .client import connect, experiment, mlflow_errors, registered_name
from .loading import load_version, package_of
from .versions import CHAMPION, PREVIOUS, champion, get_version, registered_models, version_folder


@dataclass(frozen=True)
class Deployment:
    """A line of the deployment log: which version took over from which, why, by whom and when.

    Its state is FINISHED; for one that was killed RUNNING until the next one closes it, and KILLED if it had no effect.
    """

    number: int
    model: str
    version: str
    before: str
    reason: str
    by: str
    when: datetime
    state: str


def serving_models() -> list[str]:
    """Return the names of the models that have a champion."""
    return registered_models(CHAMPION)


def promote(model: str, number: str, reason: str) -> str | None:
    """Let a version serve, once it has been loaded and predicts its own examples; return the one that did before."""
    number = get_version(model, number).number  # as the registry writes it
    load_version(model, number).verify_examples()
    return _deploy(model, number, reason)


def rollback(model: str, reason: str) -> str:
    """Let the version that the champion replaced serve again; return its number."""
    now = champion(model)
    former = get_version(model, now).tags.get("replaced") if now else None
    if not former:
        raise Refused(f"{model} has no earlier champion to roll back to")
    version_folder(model, former)  # its file is whole, and its code is here
    package_of(get_version(model, former), model)
    with mlflow_errors():
        connect().set_model_version_tag(registered_name(model), now, "rolled_back", reason)
    _deploy(model, former, f"rollback, {reason}", back=True)
    return former


def deployments(model: str) -> list[Deployment]:
    """Return the model's deployment log, oldest first."""
    with mlflow_errors():
        mlflow = connect()
        found = mlflow.search_runs([_log(mlflow)], f"tags.model = '{model}'", max_results=50_000)
        return sorted((_deployment(each) for each in found), key=lambda each: each.number)


def _deploy(model: str, number: str, reason: str, *, back: bool = False) -> str | None:
    """Move the alias, in one step, between two halves of a line in the log; return which version served before."""
    mlflow, name = connect(), registered_name(model)
    with mlflow_errors():
        before = champion(model)
        _close_log(mlflow, model, before)
        if before == number:
            return get_version(model, number).tags.get("replaced")
        if before and not back:
            mlflow.set_model_version_tag(name, number, "replaced", before)
        facts = {"model": model, "version": number, "before": before or "", "reason": reason, "by": _person()}
        facts["number"] = str(len(deployments(model)) + 1)
        tags = {key: value[:4000] for key, value in facts.items()}
        line = mlflow.create_run(_log(mlflow), run_name=f"{model} {number}", tags=tags).info.run_id
        mlflow.set_registered_model_alias(name, CHAMPION, number)
        if former := get_version(model, number).tags.get("replaced"):
            mlflow.set_registered_model_alias(name, PREVIOUS, former)
        elif champion(model, PREVIOUS):
            mlflow.delete_registered_model_alias(name, PREVIOUS)
        mlflow.set_terminated(line)
    return before


def _close_log(mlflow: MlflowClient, model: str, champion: str | None) -> None:
    """Close the lines that a kill left open: as finished if their version serves."""
    query = f"tags.model = '{model}' and attributes.status = 'RUNNING'"
    for line in mlflow.search_runs([_log(mlflow)], query):
        done = line.data.tags["version"] == champion
        mlflow.set_terminated(line.info.run_id, "FINISHED" if done else "KILLED")


def _log(mlflow: MlflowClient) -> str:
    return experiment(mlflow, "deployments")


def _deployment(line: Run) -> Deployment:
    facts = {name: line.data.tags[name] for name in ("model", "version", "before", "reason", "by")}
    when = datetime.fromtimestamp(line.info.start_time / 1000, UTC)
    return Deployment(number=int(line.data.tags["number"]), when=when, state=line.info.status, **facts)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
