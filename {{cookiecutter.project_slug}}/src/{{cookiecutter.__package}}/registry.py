"""Runs, versions and what serves, in MLflow: the only module that knows it."""

import getpass
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a dead server is told in seconds, not minutes

from filelock import FileLock
from mlflow import MlflowClient, artifacts
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from . import ROOT, Refused, artifact, first_line, run, state

if TYPE_CHECKING:  # a rollback waits for none of these
    import numpy as np
    import pandas as pd

    from .models import Model
    from .state import State

logging.getLogger("mlflow").setLevel(logging.WARNING)

PROJECT = __package__
DATABASE = ROOT / "mlflow.db"
CHAMPION, PREVIOUS = "champion", "previous"
YOUNG = 3600  # seconds in which a run without a version may still get one
ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}  # how MLflow says that there is no such thing


@dataclass(frozen=True)
class Version:
    """A version of a model: its number, the run that made it, where its files are, and what is said of it."""

    number: str
    run: str
    source: str
    tags: dict[str, str]
    made: datetime


@dataclass(frozen=True)
class Deployment:
    """A line of the deployment log: which version took over from which, why, by whom and when."""

    number: int
    model: str
    version: str
    before: str
    reason: str
    by: str
    when: datetime
    state: str  # FINISHED, or where it was killed: RUNNING until the next one closes it, KILLED if it came to nothing


def main(arguments: list[str]) -> None:
    """`promote VERSION [MODEL]` or `rollback [MODEL ...]`, as asked by hand."""
    if arguments[0] == "promote":
        promote_by_hand(arguments[1:])
    else:
        rollback_by_hand(arguments[1:])


def promote_by_hand(arguments: list[str]) -> None:
    """The version named serves from now on."""
    from .models import one

    version, model = arguments[0], one(arguments[1:])
    before = promote(model.name, version, reason="by hand")
    print(f"{model.name}: version {version} serves" + (f"; version {before} can be rolled back to" if before else ""))


def rollback_by_hand(arguments: list[str]) -> None:
    """Every model named, or all that serve, serves the version that served before."""
    if not (names := arguments or serving()):
        raise Refused("no model has a champion yet, so there is nothing to roll back")
    for model in names:
        version = rollback(model, reason="by hand")
        print(f"{model}: version {version} serves again")


def server() -> str:
    """Where MLflow is, if not in the project's folder."""
    return os.environ.get("MLFLOW_TRACKING_URI", "")


def client() -> MlflowClient:
    """MLflow, at MLFLOW_TRACKING_URI or in the project's own database, which is made on first use."""
    if uri := server():
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    if not DATABASE.exists():
        _make_database()
    return _local(DATABASE)


def record(model: "Model", made_of: "State | None" = None) -> tuple[str, bool]:
    """The version that holds what stands in the model's folder, and whether it is new: equal models make one version.

    A run is logged with parameters, metrics, the state of code and data that the model was made of (unless given,
    as it is now), and the files that restore it. Killed before the version is made, it leaves a run that nothing
    points to.
    """
    from . import evaluate

    mlflow, name = client(), _name(model.name)
    found = evaluate.metrics(model)
    mark = fingerprint(model)
    if same := versions(model.name, mark):
        return same[0].number, False
    made_of = made_of or state.now()
    tags = made_of.tags | {"fingerprint": mark, "prediction_hash": found["prediction_hash"], "model": model.name}
    tags |= {"parent": champion(model.name) or "", "score": f"{found['primary']} {found['value']:.4g}"}
    tags |= {"sha256": artifact.signature(model.folder / "model").sha256}
    with _answering():
        made = _logged(mlflow, model, found, tags, made_of)
        _register(mlflow, name)
        source = f"{made.info.artifact_uri}/model"
        version = mlflow.create_model_version(name, source=source, run_id=made.info.run_id, tags=tags)
    return _version(version).number, True


def fingerprint(model: "Model") -> str:
    """One hash for what a version is: its rows, its parameters, its file and its predictions."""
    from . import evaluate

    rows = json.loads((model.folder / "rows" / "table.json").read_text(encoding="utf-8"))["sha256"]
    file = artifact.signature(model.folder / "model").sha256
    parts = [rows, str(model.params), file, evaluate.metrics(model)["prediction_hash"]]
    return sha256("\n".join(parts).encode()).hexdigest()


def champion(model: str, alias: str = CHAMPION) -> str | None:
    """The version that serves, or had served before, if there is one."""
    with _answering():
        try:
            return str(client().get_model_version_by_alias(_name(model), alias).version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise


def serving() -> list[str]:
    """The models that have a champion."""
    with _answering():
        found = client().search_registered_models(f"name LIKE '{_name('%')}'")
        return [each.name.removeprefix(_name("")) for each in found if CHAMPION in each.aliases]


def versions(model: str, fingerprint: str | None = None) -> list[Version]:
    """The model's versions, newest first by number, whatever the clock said; only those of a fingerprint if given."""
    query = f"name = '{_name(model)}'" + (f" and tags.fingerprint = '{fingerprint}'" if fingerprint else "")
    with _answering():
        found = [_version(each) for each in client().search_model_versions(query)]
    return sorted(found, key=lambda version: -int(version.number))


def version(model: str, number: str) -> Version:
    """The model's version of this number."""
    with _answering():
        try:
            return _version(client().get_model_version(_name(model), number))
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
            known = ", ".join(each.number for each in versions(model)) or "none yet"
            raise Refused(f"{model} has no version {number} (it has: {known})") from error


def settled(model: "Model") -> str | None:
    """The version of what stands in the model's folder, if a retrain has judged it under the limits as they are."""
    known = versions(model.name, fingerprint(model))
    return known[0].number if known and known[0].tags.get("settled") == str(model.gate) else None


def mark_settled(model: "Model", version: str) -> None:
    """A retrain is done with the version: it has been judged and, if good, promoted."""
    with _answering():
        client().set_model_version_tag(_name(model.name), version, "settled", str(model.gate))


def keep_verdict(model: "Model", number: str, promote: bool, reason: str) -> None:
    """The version says what the gate said; its run keeps every number, and the report with them."""
    mlflow, name = client(), _name(model.name)
    _follow_move()
    with _answering():
        mlflow.set_model_version_tag(name, number, "verdict", "promote" if promote else "keep")
        mlflow.set_model_version_tag(name, number, "reason", reason[:4000])
        run = version(model.name, number).run
        for file in (model.folder / "verdict.json", model.folder / "card.md", ROOT / "reports" / f"{model.name}.html"):
            mlflow.log_artifact(run, str(file))


def learned_from(model: "Model", number: str, rows: "pd.DataFrame") -> "np.ndarray":
    """Which of the rows the version has learned from, by their keys."""
    import numpy as np

    from . import table

    with kept(model.name, number, "train_keys.npy") as file:
        return np.isin(table.key_hashes(model.table, rows), np.load(file, allow_pickle=False))


def promote(model: str, version: str, reason: str) -> str | None:
    """The version serves from now on; returns the one that did before. What is promoted can be loaded."""
    from .models import named

    artifact.load(folder(model, version), named(model).module.TRUSTED)
    return _deploy(model, version, reason)


def rollback(model: str, reason: str) -> str:
    """The version that the champion had replaced serves again; returns it. Its file is the one that served."""
    now = champion(model)
    former = version(model, now).tags.get("replaced") if now else None
    if not former:
        raise Refused(f"{model} has no earlier champion to roll back to")
    folder(model, former)
    with _answering():
        client().set_model_version_tag(_name(model), now, "rolled_back", reason)
    _deploy(model, former, f"rollback, {reason}", back=True)
    return former


def deployments(model: str) -> list[Deployment]:
    """The model's deployment log, oldest first. It only grows."""
    with _answering():
        mlflow = client()
        found = mlflow.search_runs([_log(mlflow)], f"tags.model = '{model}'", max_results=50_000)
        return sorted((_deployment(each) for each in found), key=lambda each: each.number)


def folder(model: str, number: str) -> Path:
    """A folder on this machine with the version's signature and model file, proven to be the one that was recorded."""
    found = version(model, number)
    if not server():
        place = ROOT / "mlruns" / found.run / "artifacts" / "model"
    else:
        place = ROOT / "artifacts" / model / "versions" / number
        if not artifact.holds(place, found.tags["sha256"]):
            with _answering(), TemporaryDirectory(dir=_made(place.parent)) as scratch:
                fetched = Path(artifacts.download_artifacts(found.source, dst_path=scratch))
                for file in fetched.iterdir():
                    file.replace(_made(place) / file.name)
    if not artifact.holds(place, found.tags["sha256"]):
        raise Refused(f"{model} version {number}: its model file is missing or not the one recorded; serve another")
    return place


@contextmanager
def kept(model: str, number: str, path: str = "") -> Iterator[Path]:
    """A file, or all files, that the run of this version keeps; gone again after the block if it had to be fetched."""
    found = version(model, number)
    if not server():
        place = ROOT / "mlruns" / found.run / "artifacts" / path
        if not place.exists():
            raise Refused(f"{model} version {number}: {path or 'its run'} is missing from mlruns/")
        yield place
        return
    with TemporaryDirectory() as scratch:
        with _answering():
            fetched = client().download_artifacts(found.run, path, scratch)
        yield Path(fetched)


def scores(version: Version) -> dict[str, float]:
    """What the version scored on the rows held out when it was made."""
    with _answering():
        return client().get_run(version.run).data.metrics


def parameters(version: Version) -> dict[str, str]:
    """What params.yaml said of the model when the version was made."""
    with _answering():
        return client().get_run(version.run).data.params


def orphans() -> list[str]:
    """Runs that are no version's: of a retrain that was killed before it made one, and not just under way."""
    with _answering():
        mlflow = client()
        runs = mlflow.search_runs([_experiment(mlflow)], max_results=50_000)
        used = {each.run_id for each in mlflow.search_model_versions(f"name LIKE '{_name('%')}'")}
        old = (time() - YOUNG) * 1000
        return [each.info.run_id for each in runs if each.info.run_id not in used and each.info.start_time < old]


def forget(run: str) -> None:
    """The run is deleted as MLflow deletes: `mlflow gc` removes what is left of it."""
    with _answering():
        client().delete_run(run)


def _deploy(model: str, number: str, reason: str, *, back: bool = False) -> str | None:
    """The alias moves, in one step, between two halves of a line in the log; returns which version served before."""
    mlflow, name = client(), _name(model)
    with _answering():
        before = champion(model)
        _close_log(mlflow, model, before)
        if before == number:
            return version(model, number).tags.get("replaced")
        if before and not back:
            mlflow.set_model_version_tag(name, number, "replaced", before)
        facts = {"model": model, "version": number, "before": before or "", "reason": reason, "by": _person()}
        facts["number"] = str(len(deployments(model)) + 1)
        tags = {key: value[:4000] for key, value in facts.items()}
        line = mlflow.create_run(_log(mlflow), run_name=f"{model} {number}", tags=tags).info.run_id
        mlflow.set_registered_model_alias(name, CHAMPION, number)
        if former := version(model, number).tags.get("replaced"):
            mlflow.set_registered_model_alias(name, PREVIOUS, former)
        elif champion(model, PREVIOUS):
            mlflow.delete_registered_model_alias(name, PREVIOUS)
        mlflow.set_terminated(line)
    return before


def _close_log(mlflow: MlflowClient, model: str, champion: str | None) -> None:
    """Lines that a kill left open are closed: as done if their version serves."""
    query = f"tags.model = '{model}' and attributes.status = 'RUNNING'"
    for line in mlflow.search_runs([_log(mlflow)], query):
        done = line.data.tags["version"] == champion
        mlflow.set_terminated(line.info.run_id, "FINISHED" if done else "KILLED")


def _log(mlflow: MlflowClient) -> str:
    return _experiment(mlflow, "deployments")


def _deployment(line: Run) -> Deployment:
    facts = {name: line.data.tags[name] for name in ("model", "version", "before", "reason", "by")}
    when = datetime.fromtimestamp(line.info.start_time / 1000, UTC)
    return Deployment(number=int(line.data.tags["number"]), when=when, state=line.info.status, **facts)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


@contextmanager
def _answering() -> Iterator[None]:
    """What MLflow, or where it keeps its files, could not do is told in one line."""
    try:
        yield
    except (MlflowException, OSError, ImportError) as error:
        raise Refused(f"the registry does not answer: {first_line(error)}") from error


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _version(found: ModelVersion) -> Version:
    made = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Version(str(found.version), found.run_id, found.source, dict(found.tags), made)


def _name(model: str) -> str:
    return f"{PROJECT}.{model}"


def _local(database: Path) -> MlflowClient:
    uri = f"sqlite:///{database.as_posix()}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_database() -> None:
    """The project's database exists, made by one process while others wait, and whole even after a crash."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with FileLock(ROOT / "mlflow.db.lock"):
        if DATABASE.exists():
            return
        with TemporaryDirectory(dir=ROOT) as scratch:
            made = Path(scratch) / DATABASE.name
            store = SqlAlchemyStore(f"sqlite:///{made.as_posix()}", (ROOT / "mlruns").as_uri())
            store.create_experiment(PROJECT, artifact_location=(ROOT / "mlruns").as_uri())
            store.engine.dispose()
            made.replace(DATABASE)


def _follow_move() -> None:
    """Where the project's folder was moved, its database names the new place to write to; readers need no such name."""
    if server():
        return
    place = (ROOT / "mlruns").as_uri()
    with sqlite3.connect(DATABASE) as database:
        [before] = database.execute("select artifact_location from experiments where name = ?", (PROJECT,)).fetchone()
        if before == place:
            return
        columns = [
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ]
        for table, column in columns:
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (before, place))  # noqa: S608


def _experiment(mlflow: MlflowClient, part: str = "") -> str:
    name = f"{PROJECT}-{part}" if part else PROJECT
    if found := mlflow.get_experiment_by_name(name):
        return found.experiment_id
    place = None if server() else (ROOT / "mlruns").as_uri()
    return mlflow.create_experiment(name, artifact_location=place)


def _register(mlflow: MlflowClient, name: str) -> None:
    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged(mlflow: MlflowClient, model: "Model", found: dict[str, Any], tags: dict[str, str], made_of: "State") -> Run:
    """A finished run with parameters, scores, tags and files; one that cannot be finished is marked as failed."""
    _follow_move()
    made = mlflow.create_run(_experiment(mlflow), run_name=model.name)
    identity, now = made.info.run_id, int(time() * 1000)
    scores = {found["primary"]: found["value"], **found["metrics"]}
    scores |= {f"gain_over_{other}": theirs["gain"] for other, theirs in found["baselines"].items()}
    try:
        mlflow.log_batch(
            identity,
            metrics=[Metric(key, value, now, 0) for key, value in scores.items()],
            params=[Param(key, str(value)) for key, value in asdict(model.params).items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        _log_files(mlflow, identity, model, made_of)
        mlflow.set_terminated(identity)
    except BaseException:
        with suppress(Exception):  # what went wrong before says more
            mlflow.set_terminated(identity, "FAILED")
        raise
    return made


def _log_files(mlflow: MlflowClient, run: str, model: "Model", made_of: "State") -> None:
    """The run keeps the model's folder but for its rows, the report, and what the model was made of."""
    mlflow.log_artifacts(run, str(model.folder / "model"), "model")
    names = ("metrics.json", "predictions.parquet", "card.md", "rows/table.json", "rows/train_keys.npy")
    files = [*(model.folder / name for name in names), ROOT / "dvc.lock", ROOT / "reports" / f"{model.name}.html"]
    with TemporaryDirectory() as scratch:
        for name, content in made_of.files.items():
            (Path(scratch) / name).write_bytes(content)
        for file in files:  # dvc.lock among them, which follows the stages
            if file.exists():
                shutil.copy(file, scratch)
        mlflow.log_artifacts(run, scratch)


if __name__ == "__main__":
    run(main)
