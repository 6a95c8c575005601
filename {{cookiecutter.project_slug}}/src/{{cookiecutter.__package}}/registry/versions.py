"""Versions of a model: recorded once, found by number or by what they are, with all that restores them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient, artifacts
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from .. import ROOT, Refused
from ..training import artifact
from ..training.workspace import Workspace
from .client import (
    ABSENT,
    changes,
    connect,
    experiment,
    experiments,
    mlflow_errors,
    recording,
    registered_name,
    registry_exists,
)
from .settings import RUNS, server

if TYPE_CHECKING:  # a rollback waits for neither
    from ..training.contract import Model
    from .provenance import Provenance

CHAMPION, PREVIOUS = "champion", "previous"  # aliases: the version that serves, and the one before
REFIT, FITTED = "refit", "fitted"  # tags: the SHA-256 of what a version serves with, and of that before any update
YOUNG = 3600  # seconds in which a run without a version may still get one


@dataclass(frozen=True)
class Version:
    """A version of a model.

    Attributes:
        number: Its number in the registry.
        run: The id of the run that recorded it.
        source: The address of its files.
        tags: What it was made of, its score and the gate's verdict.
        made: When it was recorded.
    """

    number: str
    run: str
    source: str
    tags: dict[str, str]
    made: datetime

    @property
    def out_of_service(self) -> dict[str, str]:
        """Why a person took it out of service, by what was done."""
        done = {"rolled back": "rolled_back", "withdrawn": "withdrawn"}
        return {word: self.tags[tag] for word, tag in done.items() if tag in self.tags}

    @property
    def module(self) -> str:
        """The module in models/ that made it; versions of 0.3 and before recorded none, it had the model's name."""
        return self.tags.get("module") or self.tags["model"]

    @property
    def preparation(self) -> str:
        """The function that prepares its requests, as in "preparation:flights"; or empty."""
        return self.tags.get("preparation", "")


def record_version(model: "Model", scores: dict[str, Any], made_of: "Provenance") -> tuple[str, bool]:
    """Record what is in the model's workspace as a version; equal models make one version.

    A run is logged with parameters, metrics, provenance and the files that restore it. If the process is killed before
    the version is made, a run is left that nothing refers to.

    Returns:
        The version's number, and whether it is new.
    """
    name, mark = registered_name(model.name), fingerprint(model)
    if same := versions(model.name, mark):
        return same[0].number, False
    tags = made_of.tags | {"fingerprint": mark, "prediction_hash": scores["prediction_hash"], "model": model.name}
    best = scores["best_baseline"]
    score = f"{scores['primary']} {scores['value']:.4g}, best baseline {best} {scores['baselines'][best]['value']:.4g}"
    tags |= {"parent": champion(model.name) or "", "score": score}
    tags |= {"holdout": scores["holdout_hash"]} if "holdout_hash" in scores else {}
    tags |= {"sha256": artifact.signature(model.files.model).sha256}
    with recording() as mlflow:
        run = _log_run(mlflow, model, scores, tags, made_of)
        _register(mlflow, name)
        source = f"{run.info.artifact_uri}/model"
        version = mlflow.create_model_version(name, source=source, run_id=run.info.run_id, tags=tags)
    return _version(version).number, True


def fingerprint(model: "Model") -> str:
    """Return a hash of all that makes a version: its rows, parameters, model file, predictions and nullable columns."""
    rows = json.loads(model.files.table_facts.read_text(encoding="utf-8"))["sha256"]
    predictions = json.loads(model.files.metrics.read_text(encoding="utf-8"))["prediction_hash"]
    signature = artifact.signature(model.files.model)
    nullable = [column.name for column in signature.inputs if column.nullable and not column.optional]
    parts = [rows, str(model.params), signature.sha256, predictions, *nullable, *_asked(signature)]
    return sha256("\n".join(parts).encode()).hexdigest()


def _asked(signature: artifact.Signature) -> list[str]:
    """Return what else decides an answer: checks of a request, and its preparation; nothing where there is none."""
    checks = {column.name: column.checks for column in signature.inputs if column.checks}
    asked = [checks and [signature.out_of_range, checks], signature.preparation, signature.lookups]
    return [json.dumps(asked)] if any(asked) else []


def champion(model: str, alias: str = CHAMPION) -> str | None:
    """Return the number of the version that serves, or of the one with another alias; None if there is none."""
    found = champion_version(model, alias)
    return found.number if found else None


def champion_version(model: str, alias: str = CHAMPION) -> Version | None:
    """Return the version that serves, or the one with another alias; None if there is none."""
    if not registry_exists():
        return None
    with mlflow_errors():
        try:
            return _version(connect().get_model_version_by_alias(registered_name(model), alias))
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise


def versions(model: str, fingerprint: str | None = None) -> list[Version]:
    """Return the model's versions by number, newest first; only those with a fingerprint if one is given."""
    if not registry_exists():
        return []
    query = f"name = '{registered_name(model)}'"
    query += f" and tags.fingerprint = '{fingerprint}'" if fingerprint else ""
    with mlflow_errors():
        found = [_version(each) for each in connect().search_model_versions(query)]
    return sorted(found, key=lambda version: -int(version.number))


def get_version(model: str, number: str) -> Version:
    """Return the model's version of this number; raise Refused if there is none."""
    with mlflow_errors():
        try:
            if registry_exists():
                return _version(connect().get_model_version(registered_name(model), number))
        except MlflowException as error:
            if error.error_code not in ABSENT:
                raise
    known = ", ".join(each.number for each in versions(model)) or "none yet"
    raise Refused(f"{model} has no version {number} (it has: {known})")


def registered_models(alias: str = "") -> list[str]:
    """Return the names of all models that have versions, or one with an alias; params.yaml need not have them."""
    if not registry_exists():
        return []
    with mlflow_errors():
        found = connect().search_registered_models(f"name LIKE '{registered_name('%')}'")
        return [each.name.removeprefix(registered_name("")) for each in found if not alias or alias in each.aliases]


def set_tags(model: str, number: str, tags: dict[str, str]) -> None:
    """Write tags of a version."""
    with changes() as mlflow:
        for key, value in tags.items():
            mlflow.set_model_version_tag(registered_name(model), number, key, value[:4000])


def judged_version(model: "Model") -> str | None:
    """Return the version of what is in the model's workspace, if it was judged by these limits and this champion."""
    known = versions(model.name, fingerprint(model))
    return known[0].number if known and known[0].tags.get("settled") == _judged_by(model) else None


def mark_judged(model: "Model", number: str) -> None:
    """Record that a retrain is done with the version: it has been judged and, if good, promoted."""
    set_tags(model.name, number, {"settled": _judged_by(model)})


def add_files(model: str, number: str, files: list[Path], folder: str = "") -> None:
    """Add files to the run of a version, or to a folder of it, or replace those of the same names."""
    with recording() as mlflow:
        run = get_version(model, number).run
        for file in files:
            mlflow.log_artifact(run, str(file), folder or None)


def has_file(model: str, number: str, name: str) -> bool:
    """Return whether the run of a version keeps a file of this name."""
    with mlflow_errors():
        mlflow = connect()
        return any(each.path == name for each in mlflow.list_artifacts(get_version(model, number).run))


def version_folder(model: str, number: str) -> Path:
    """Return a local folder with the version's signature and model file, verified to be those recorded."""
    found = get_version(model, number)
    return _model_folder(model, found, "model", found.tags["sha256"])


def served_folder(model: str, number: str, tag: str = REFIT) -> Path:
    """Return the same of what the version serves with, or served with first: its refit, or itself if it has none."""
    digest = (found := get_version(model, number)).tags.get(tag)
    return _model_folder(model, found, refit_name(digest), digest) if digest else version_folder(model, number)


def refit_name(digest: str) -> str:
    """Return the folder, in a version's run, of the refit whose file has this SHA-256."""
    return f"refit/{digest[:12]}"


def _model_folder(model: str, found: Version, part: str, digest: str) -> Path:
    """Return a local folder with what a folder of the version's run holds: a model file of this SHA-256."""
    if not server():
        folder = RUNS / found.run / "artifacts" / part
    else:
        folder = Workspace(model).downloaded(found.number) / digest[:12]
        if not artifact.holds(folder, digest):
            folder.mkdir(parents=True, exist_ok=True)
            with mlflow_errors(), TemporaryDirectory(dir=folder.parent) as scratch:
                source = f"{found.source.removesuffix('model')}{part}"
                fetched = Path(artifacts.download_artifacts(source, dst_path=scratch))
                for file in fetched.iterdir():
                    file.replace(folder / file.name)
    if not artifact.holds(folder, digest):
        raise Refused(
            f"{model} version {found.number}: its model file is missing or not the one recorded; serve another"
        )
    return folder


@contextmanager
def run_artifacts(model: str, number: str, path: str = "") -> Iterator[Path]:
    """Yield a local path of a file, or of all files, that the version's run keeps; valid inside the block only."""
    found = get_version(model, number)
    if not server():
        local = RUNS / found.run / "artifacts" / path
        if not local.exists():
            raise Refused(f"{model} version {number}: {path or 'its run'} is missing from mlruns/")
        yield local
        return
    with TemporaryDirectory() as scratch:
        with mlflow_errors():
            fetched = connect().download_artifacts(found.run, path, scratch)
        yield Path(fetched)


def recorded_scores(version: Version) -> dict[str, float]:
    """Return what the version scored on the rows held out when it was made."""
    with mlflow_errors():
        return connect().get_run(version.run).data.metrics


def recorded_parameters(version: Version) -> dict[str, str]:
    """Return what params.yaml said of the model when the version was made."""
    with mlflow_errors():
        return connect().get_run(version.run).data.params


def unused_runs() -> list[str]:
    """Return the runs of no version that are older than an hour: their retrain was killed."""
    if not registry_exists():
        return []
    with mlflow_errors():
        mlflow = connect()
        runs = mlflow.search_runs(experiments(mlflow), max_results=50_000)
        used = {each.run_id for each in mlflow.search_model_versions(f"name LIKE '{registered_name('%')}'")}
        old = (time() - YOUNG) * 1000
        return [each.info.run_id for each in runs if each.info.run_id not in used and each.info.start_time < old]


def delete_run(run: str) -> None:
    """Delete a run as MLflow does: `mlflow gc` removes its files."""
    with changes() as mlflow:
        mlflow.delete_run(run)


def _version(found: ModelVersion) -> Version:
    made = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Version(str(found.version), found.run_id, found.source, dict(found.tags), made)


def _judged_by(model: "Model") -> str:
    """Return what a verdict depends on besides the version itself: the limits, and which version serves."""
    return f"{model.gate}, version {champion(model.name) or 'none'} serves"


def _register(mlflow: MlflowClient, name: str) -> None:
    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log_run(
    mlflow: MlflowClient, model: "Model", scores: dict[str, Any], tags: dict[str, str], made_of: "Provenance"
) -> Run:
    """Log a finished run with parameters, scores, tags and files; mark one that cannot be finished as failed."""
    run = mlflow.create_run(experiment(mlflow), run_name=model.name)
    identity, now = run.info.run_id, int(time() * 1000)
    values = {scores["primary"]: scores["value"], **scores["metrics"]}
    values |= {f"gain_over_{name}": theirs["gain"] for name, theirs in scores["baselines"].items()}
    try:
        mlflow.log_batch(
            identity,
            metrics=[Metric(key, value, now, 0) for key, value in values.items()],
            params=[Param(key, str(value)) for key, value in asdict(model.params).items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        _log_files(mlflow, identity, model.files, made_of)
        mlflow.set_terminated(identity)
    except BaseException:
        with suppress(Exception):  # the first error tells more
            mlflow.set_terminated(identity, "FAILED")
        raise
    return run


def _log_files(mlflow: MlflowClient, run: str, files: Workspace, made_of: "Provenance") -> None:
    """Copy to the run the model, what it was scored with, and the files that restore it."""
    mlflow.log_artifacts(run, str(files.model), "model")
    kept = [files.metrics, files.predictions, files.table_facts, files.train_keys, files.holdout_keys]
    kept += [files.set_aside, ROOT / "dvc.lock"]
    with TemporaryDirectory() as scratch:
        for name, content in made_of.files.items():
            (Path(scratch) / name).write_bytes(content)
        for file in kept:  # dvc.lock among them, which follows the stages
            if file.exists():
                shutil.copy(file, scratch)
        mlflow.log_artifacts(run, scratch)
