"""Retrain models: snapshot, stages, record, gate, promote. It can be killed anywhere and run again."""

import json
import sys
import time
import traceback
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from .. import Refused, data, first_line
from ..datasets import catalog
from ..registry import provenance
from ..registry.provenance import Provenance
from ..registry.settings import DATABASE, server
from ..training.contract import load_model, table_of
from ..training.params import model_blocks
from ..training.workspace import Workspace, training_lock
from . import stages
from .limits import limits
from .stages import STAGES, UNPUSHED, Repo

if TYPE_CHECKING:
    from ..training.contract import Model
    from .gate import Verdict


@dataclass(frozen=True)
class Outcome:
    """The result of a retrain for one model.

    Attributes:
        model: Its name.
        state: unchanged, promoted, kept (the champion stays), waiting (kept, and judged again next time) or failed.
        version: The version it is about, if there is one.
        message: The result in words.
    """

    model: str
    state: str
    version: str | None
    message: str


def retrain(names: list[str], reason: str, *, unattended: bool = False) -> list[Outcome]:
    """Bring the models named, or all, up to date with the data, and print each outcome.

    Args:
        names: Of models in params.yaml; empty for all.
        reason: Why, for the deployment log.
        unattended: Whether nobody watches: then only committed code is promoted.

    Raises:
        Refused: If a source cannot be read, rows break their schema, or another training is at work.
    """
    outcomes = []
    with training_lock(), stages.repository() as repo:
        blocks = model_blocks(names)
        changed = take_snapshots({table_of(name, block).name for name, block in blocks.items()})
        stale = stages.outdated(repo)
        if changed:
            UNPUSHED.touch()
        if "data/raw.dvc" in stale or not stages.DATA.exists():
            stages.track(repo)
        for name, block in blocks.items():
            start = time.perf_counter()
            own = {stage for stage in STAGES if f"{stage}@{name}" in stale}
            version = None if own else unchanged_version(name, block)
            if version:
                outcome = Outcome(name, "unchanged", version, f"nothing new, version {version} is settled")
            else:
                outcome = _retrain_model(name, block, own, repo, reason, unattended)
            print(f"{name}: {outcome.message} ({time.perf_counter() - start:.1f} s)", flush=True)
            outcomes.append(outcome)
        if UNPUSHED.exists():
            stages.push(repo)
    return outcomes


def take_snapshots(tables: set[str]) -> list[str]:
    """Read the sources and, if one changed, check the tables; return the names of those that changed."""
    with catalog.fetched() as changed:
        if changed:
            for table in data.TABLES:
                if table.name in tables:
                    table.rows()
    print(f"snapshot: {', '.join(changed) if changed else 'nothing new'}", flush=True)
    return changed


def settle(model: "Model", made_of: Provenance, reason: str, unattended: bool) -> Outcome:
    """Record, judge and, if it is good, promote what the stages made: each only if it has not been done yet."""
    from ..registry import deployments, versions
    from ..training.evaluate import read_scores
    from . import gate

    if done := versions.judged_version(model):
        return Outcome(model.name, "unchanged", done, f"nothing new, version {done} is settled")
    version, _ = versions.record_version(model, read_scores(model), made_of)
    if versions.champion(model.name) == version:  # promoted by a retrain that was then killed, or by hand
        deployments.promote(model.name, version, reason)
        versions.mark_judged(model, version)
        return Outcome(model.name, "unchanged", version, f"version {version} serves already")
    verdict = gate.judge(model, version, unattended=unattended)
    _publish(model, version, verdict)
    if verdict.promote:
        deployments.promote(model.name, version, f"{reason}; {verdict.reason}")
    if verdict.final:
        versions.mark_judged(model, version)
    if verdict.promote:
        return Outcome(model.name, "promoted", version, f"version {version} serves: {verdict.reason}")
    state, again = ("kept", "") if verdict.final else ("waiting", "; it is judged again next time")
    return Outcome(model.name, state, version, f"version {version} is not promoted: {verdict.reason}{again}")


def unchanged_version(name: str, block: dict) -> str | None:
    """Return the version that the last retrain here was done with, if nothing it depends on changed since."""
    try:
        mark = json.loads(Workspace(name).settled.read_text(encoding="utf-8"))
        return mark["version"] if mark["state"] == _state_hash(name, block) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def mark_unchanged(name: str, block: dict, version: str | None) -> None:
    """Write down that a retrain with nothing new need not look further."""
    mark = {"version": version, "state": _state_hash(name, block)}
    Workspace(name).settled.write_text(json.dumps(mark), encoding="utf-8")


def _retrain_model(name: str, block: dict, stale: set[str], repo: Repo, reason: str, unattended: bool) -> Outcome:
    """Return one model's outcome; what goes wrong with it is reported and touches no other model."""
    try:
        model, made_of = load_model(name), provenance.current(name)
        limits(model)  # refused before anything is trained
        stages.recompute(model, stale, repo)
        outcome = settle(model, made_of, reason, unattended)
        if outcome.state != "waiting":
            mark_unchanged(name, block, outcome.version)
        return outcome
    except Refused as refusal:
        return Outcome(name, "failed", None, f"failed: {refusal}")
    except Exception as error:  # a model is somebody's code and may raise anything
        traceback.print_exc(file=sys.stderr)
        return Outcome(name, "failed", None, f"failed: {type(error).__name__}: {first_line(error)}")


def _publish(model: "Model", version: str, verdict: "Verdict") -> None:
    """Write the verdict and the report that shows it, and keep both with the version."""
    from ..registry import versions
    from ..training import artifact
    from ..training.report import write_report

    files = model.files
    files.verdict.write_text(verdict.json(artifact.signature(files.model).sha256), encoding="utf-8")
    write_report(model)
    word = "promote" if verdict.promote else "keep"
    versions.set_tags(model.name, version, {"verdict": word, "reason": verdict.reason})
    versions.add_files(model.name, version, [files.verdict, files.card, files.report])


def _state_hash(name: str, block: dict) -> str:
    """Return a hash of what dvc.lock records of the model, its block in params.yaml, and where its versions are."""
    recorded = stages.locked_stages()
    own = [recorded.get(f"{stage}@{name}") for stage in STAGES]
    registry = server() or (DATABASE.stat().st_ino if DATABASE.exists() else None)
    return sha256(json.dumps([own, block, registry], default=str).encode()).hexdigest()
