"""Which version serves: promotion, rollback, withdrawal, and a log of all that only grows.

The log leads. A line is written first, open; then the alias that the service follows moves, in one step; then what
follows from it; then the line is closed. Whoever deploys or reads the log next finishes a line whose version serves,
and closes one that was killed earlier as without effect.
"""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run

from .. import ROOT, Refused, now
from .client import changes, connect, experiment, experiments, mlflow_errors, registered_name, registry_exists
from .loading import load_version, package_of
from .versions import CHAMPION, PREVIOUS, champion, get_version, registered_models, version_folder

ROLLBACK = "rollback, "  # begins the reason of every rollback
WITHDRAWAL = "withdrawn, "  # begins the reason of every withdrawal
ROLLED_BACK = "rolled_back"  # tag of a version that a rollback took out of service, with the reason
LOG = "deployments"  # the part of MLflow's experiments that has the log
WITHDRAWN = "withdrawn"  # tag of a version that is out of service for good, with the reason
PATIENCE = 60  # seconds to wait for another deployment in this folder


@dataclass(frozen=True)
class Deployment:
    """A line of the deployment log: which version took over from which, why, by whom and when.

    Attributes:
        number: Its place in the model's log.
        model: The model.
        version: The version that serves from then on; empty if none does.
        before: The version that served until then; empty if none did.
        reason: Why.
        by: Who.
        when: When it was begun.
        state: FINISHED; RUNNING while it is under way; KILLED if it had no effect.
        mark: The tag that `before` gets, if it is not to come back by itself; empty for a promotion.
        line: The id of the run in MLflow that holds the line.
    """

    number: int
    model: str
    version: str
    before: str
    reason: str
    by: str
    when: datetime
    state: str
    mark: str
    line: str


def serving_models() -> list[str]:
    """Return the names of the models that have a champion."""
    return registered_models(CHAMPION)


def promote(model: str, number: str, reason: str) -> str | None:
    """Let a version serve, once it has been loaded and predicts its own examples; return the one before it, if any."""
    number = get_version(model, number).number  # as the registry writes it
    load_version(model, number).verify_examples()
    with _deploying(model) as mlflow:
        if champion(model) != number:
            return _deploy(mlflow, model, number, reason)
        return former_champion(model)


def rollback(model: str, reason: str) -> str:
    """Let the version that the champion replaced serve again; return its number."""
    with _deploying(model) as mlflow:
        former = former_champion(model)
        if not former:
            raise Refused(f"{model} has no earlier champion to roll back to")
        version_folder(model, former)  # its file is whole, and its code is here
        package_of(get_version(model, former), model)
        _deploy(mlflow, model, former, f"{ROLLBACK}{reason}", mark=ROLLED_BACK)
    return former


def withdraw(model: str, reason: str) -> str | None:
    """Take the champion out of service for good; return the version that served before it and does again, if any."""
    with _deploying(model) as mlflow:
        if not champion(model):
            raise Refused(f"{model} has no champion to withdraw")
        former = next((version for version in _former_champions(model) if _can_serve(model, version)), None)
        _deploy(mlflow, model, former or "", f"{WITHDRAWAL}{reason}", mark=WITHDRAWN)
    return former


def deployments(model: str) -> list[Deployment]:
    """Return the model's deployment log, oldest first, once what a killed deployment left is finished or undone."""
    log = _read_log(model)
    if any(line.state == "RUNNING" for line in log):
        with _deploying(model):  # waits for one that is still at work
            log = _read_log(model)
    return log


def former_champion(model: str) -> str | None:
    """Return the version that a rollback leads to; None if there is none."""
    return next(iter(_former_champions(model)), None)


def _former_champions(model: str) -> list[str]:
    """Return the versions that rollbacks lead to, one after the other."""
    served, now = _served(deployments(model)), champion(model)
    return [version for version in reversed(served) if version != now] if now else []


def _can_serve(model: str, version: str) -> bool:
    """Return whether a version's file is whole, and its code is here."""
    try:
        load_version(model, version).verify_examples()
    except Refused:
        return False
    return True


@contextmanager
def _deploying(model: str) -> Iterator[MlflowClient]:
    """Hold the lock on deployments here, finish or undo what a killed one left, and yield a client."""
    try:
        with FileLock(ROOT / "deployments.lock", timeout=PATIENCE, is_singleton=True), changes() as mlflow:
            for line in _read_log(model):
                if line.state == "RUNNING":
                    _close(mlflow, line)
            yield mlflow
    except Timeout as error:
        raise Refused("another deployment has been at work in this folder for a minute: try again") from error


def _deploy(mlflow: MlflowClient, model: str, number: str, reason: str, mark: str = "") -> str | None:
    """Let a version serve, or none; return which did before.

    Args:
        mlflow: The client, while the lock is held.
        model: The model.
        number: The version; empty to let none serve.
        reason: Why, for the log.
        mark: The tag that the version before gets with the reason; it also ends what a rollback could lead back to
            above `number`.
    """
    before = champion(model)
    facts = {"model": model, "version": number, "before": before or "", "reason": reason, "by": _person()}
    facts |= {"mark": mark, "number": str(max((line.number for line in _read_log(model)), default=0) + 1)}
    tags = {key: value[:4000] for key, value in facts.items()}
    started = int(now().timestamp() * 1000)
    line = mlflow.create_run(experiment(mlflow, LOG), start_time=started, run_name=f"{model} {number}", tags=tags)
    _point(mlflow, model, CHAMPION, number)
    _close(mlflow, _deployment(line))
    return before


def _close(mlflow: MlflowClient, line: Deployment) -> None:
    """Close an open line: with all that follows from it if its version serves, else as killed; may be repeated."""
    if (champion(line.model) or "") != line.version:
        mlflow.set_terminated(line.line, "KILLED")
        return
    if line.mark and line.before:
        reason = line.reason.removeprefix(ROLLBACK).removeprefix(WITHDRAWAL)
        mlflow.set_model_version_tag(registered_name(line.model), line.before, line.mark, reason)
    finished = [each for each in _read_log(line.model) if each.state == "FINISHED"]
    _point(mlflow, line.model, PREVIOUS, "".join(_served([*finished, line])[:-1][-1:]))
    mlflow.set_terminated(line.line)


def _point(mlflow: MlflowClient, model: str, alias: str, number: str) -> None:
    """Let an alias name a version; delete it if the number is empty."""
    if number:
        mlflow.set_registered_model_alias(registered_name(model), alias, number)
    elif champion(model, alias):
        mlflow.delete_registered_model_alias(registered_name(model), alias)


def _served(log: list[Deployment]) -> list[str]:
    """Return the versions that rollbacks lead back through, the one that serves last; empty if none serves."""
    served: list[str] = []
    for line in log:
        if line.state == "KILLED":
            continue
        if line.before and served[-1:] != [line.before]:  # the alias was moved by other means
            served.append(line.before)
        if line.mark:
            while served and served[-1] != line.version:
                served.pop()
        if line.version and served[-1:] != [line.version]:
            served.append(line.version)
    withdrawn = {line.before for line in log if line.mark == WITHDRAWN and line.state != "KILLED"}
    return [version for version in served[:-1] if version not in withdrawn] + served[-1:]


def _read_log(model: str) -> list[Deployment]:
    if not registry_exists():
        return []
    with mlflow_errors():
        mlflow = connect()
        logs = experiments(mlflow, LOG)
        found = mlflow.search_runs(logs, f"tags.model = '{model}'", max_results=50_000) if logs else []
        return sorted((_deployment(each) for each in found), key=lambda each: each.number)


def _deployment(line: Run) -> Deployment:
    tags = line.data.tags
    facts = {name: tags[name] for name in ("model", "version", "before", "reason", "by")}
    when = datetime.fromtimestamp(line.info.start_time / 1000, UTC)
    mark = tags.get("mark", ROLLED_BACK if tags["reason"].startswith(ROLLBACK) else "")  # until 0.3 there was no tag
    number, state = int(tags["number"]), line.info.status
    return Deployment(number=number, when=when, state=state, mark=mark, line=line.info.run_id, **facts)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
