"""Retrain models: snapshot, stages, record, gate, promote. It can be killed anywhere and run again."""

import json
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from .. import ROOT, Refused, Unavailable, first_line
from ..registry import provenance
from ..registry.database import local_champion
from ..registry.provenance import Provenance
from ..registry.settings import DATABASE, server
from ..training.contract import load_model
from ..training.params import model_blocks
from ..training.workspace import Workspace, training_lock
from . import stages
from .limits import limits
from .snapshots import take_snapshots, track_snapshots
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
        Refused: If a source cannot be read, or rows break their schema.
        Unavailable: If a source does not answer or another training is at work; unattended, if the registry is away.
    """
    outcomes = []
    with training_lock(), stages.repository() as repo:
        blocks = model_blocks(names)
        changed = take_snapshots()
        stale = stages.outdated(repo)
        if changed:
            UNPUSHED.touch()
        if "data/raw.dvc" in stale or not stages.DATA.exists():
            track_snapshots(repo)
        for name, block in blocks.items():
            start = time.perf_counter()
            own = {stage for stage in STAGES if f"{stage}@{name}" in stale}
            version = None if own else unchanged_version(name, block)
            if version:
                serves = "" if _serving(name) else ", and nothing serves: promote one, or bring new rows"
                outcome = Outcome(name, "unchanged", version, f"nothing new, version {version} is settled{serves}")
            else:
                outcome = _retrain_model(name, block, own, repo, reason, unattended)
            print(f"{name}: {outcome.message} ({time.perf_counter() - start:.1f} s)", flush=True)
            outcomes.append(outcome)
        if UNPUSHED.exists():
            stages.push(repo)
    return outcomes


def settle(model: "Model", made_of: Provenance, reason: str, unattended: bool) -> Outcome:
    """Record, judge and, if it is good, promote what the stages made: each only if it has not been done yet."""
    from ..registry import deployments, refits, versions
    from ..training.evaluate import read_scores
    from . import gate, profiles

    problem = mend_champion(model)
    if done := versions.judged_version(model):
        if problem:
            raise Refused(f"{problem}: uv run just rollback {model.name}, or promote {done} {model.name}")
        return Outcome(model.name, "unchanged", done, f"nothing new, version {done} is settled")
    version, fresh = versions.record_version(model, read_scores(model), made_of)
    profiles.keep_profile(model, version)
    if fresh:
        count = json.loads(model.files.table_facts.read_text(encoding="utf-8")).get("set_aside", 0)
        versions.set_tags(model.name, version, {"why": reason} | ({"set_aside": f"{count:,}"} if count else {}))
    if done := _serving_already(model, version, reason):
        return done
    verdict = gate.judge(model, version, unattended=unattended)
    _publish(model, version, verdict)
    refitted = refits.add_refit(model, version) if verdict.promote else ""
    if verdict.promote:
        versions.set_tags(model.name, version, {"anchor": verdict.anchor})
        deployments.promote(model.name, version, f"{reason}; {verdict.reason}")
    if verdict.final:
        versions.mark_judged(model, version)
    if verdict.promote:
        words = f"version {version} serves{refitted and ', '}{refitted}: {verdict.reason}"
        return Outcome(model.name, "promoted", version, words)
    state, again = ("kept", "") if verdict.final else ("waiting", "; it is judged again next time")
    return Outcome(model.name, state, version, f"version {version} is not promoted: {verdict.reason}{again}")


def _serving_already(model: "Model", version: str, reason: str) -> Outcome | None:
    """Return the outcome for a version that serves, or from which the one that serves went on learning; else None."""
    from ..registry import deployments, learned, versions
    from . import gate

    serving = versions.champion(model.name)
    if serving is None or version not in (serving, learned.base_of(model.name, serving).number):
        return None
    words = f"version {serving} goes on learning from the log since version {version}"
    if serving == version:  # promoted by a retrain that was then killed, or by hand
        words = f"version {version} serves already"
        deployments.promote(model.name, version, reason)
        if "verdict" not in versions.get_version(model.name, version).tags:  # recorded by `train`
            _publish(model, version, gate.judge(model, version, alone=True))
    versions.mark_judged(model, version)
    return Outcome(model.name, "unchanged", version, words)


def mend_champion(model: "Model") -> str:
    """Put the champion's model file back from the workspace if it was damaged; return why it cannot, if so."""
    from ..registry import refits, versions
    from ..training import artifact

    number = versions.champion(model.name)
    try:
        if number:
            versions.version_folder(model.name, number)
    except Refused as refusal:
        if not artifact.holds(model.files.model, versions.get_version(model.name, number).tags["sha256"]):
            return str(refusal)
        versions.add_files(model.name, number, list(model.files.model.iterdir()), "model")
        print(f"{model.name}: the model file of version {number} was damaged: put back from artifacts/", flush=True)
    if number and (words := refits.mend_refit(model, number)):
        print(f"{model.name}: {words}", flush=True)
    return ""


def unchanged_version(name: str, block: dict) -> str | None:
    """Return the version that the last retrain here was done with, if nothing it depends on changed since."""
    try:
        mark = json.loads(Workspace(name).settled.read_text(encoding="utf-8"))
        same = mark["state"] == _state_hash(name, block) and mark["files"] == _file_facts(mark["files"])
        return mark["version"] if same else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def mark_unchanged(name: str, block: dict, version: str | None) -> None:
    """Write down that a retrain with nothing new need not look further while this is so, and the champion is there."""
    from ..registry import versions

    champion = versions.champion(name)
    folders = {versions.version_folder(name, champion), versions.served_folder(name, champion)} if champion else ()
    files = sorted(str(file.relative_to(ROOT)) for folder in folders for file in folder.iterdir())
    mark = {"version": version, "state": _state_hash(name, block), "files": _file_facts(files)}
    Workspace(name).settled.write_text(json.dumps(mark), encoding="utf-8")


def _file_facts(paths: Iterable[str]) -> dict[str, list[int]]:
    """Return size and time of files, by their paths below the project."""
    facts = {path: (ROOT / path).stat() for path in paths}
    return {path: [fact.st_size, fact.st_mtime_ns] for path, fact in facts.items()}


def _retrain_model(name: str, block: dict, stale: set[str], repo: Repo, reason: str, unattended: bool) -> Outcome:
    """Return one model's outcome; what goes wrong with it is reported and touches no other model."""
    try:
        model = load_model(name)
        made_of = provenance.current(name, model.preparation)
        limits(model)  # refused before anything is trained
        if stale:
            from .sift import sift

            stale = stale | {"split"} if sift(model) else stale
        stages.recompute(model, stale, repo)
        outcome = _updated(model, settle(model, made_of, reason, unattended))
        if outcome.state != "waiting":
            mark_unchanged(name, block, outcome.version)
        return outcome
    except Refused as refusal:
        if unattended and isinstance(refusal, Unavailable):
            raise  # what asked for the retrain tries again
        return Outcome(name, "failed", None, f"failed: {refusal}")
    except Exception as error:  # a model is somebody's code and may raise anything
        traceback.print_exc(file=sys.stderr)
        return Outcome(name, "failed", None, f"failed: {type(error).__name__}: {first_line(error)}")


def _updated(model: "Model", outcome: Outcome) -> Outcome:
    """Bring a champion that stays up to date with the newest rows, and return the outcome with what came of it."""
    from ..registry import refits

    words = refits.update_champion(model) if outcome.state != "promoted" else ""
    return replace(outcome, message=f"{outcome.message}; {words}") if words else outcome


def _publish(model: "Model", version: str, verdict: "Verdict") -> None:
    """Write the verdict and the report that shows it, and keep both with the version."""
    from ..registry import versions
    from ..training import artifact
    from ..training.report import write_report

    files = model.files
    files.verdict.write_text(verdict.json(artifact.signature(files.model).sha256), encoding="utf-8")
    write_report(model)
    word = "promote" if verdict.promote else "keep"
    gain = {"gain": verdict.gain} if verdict.gain else {}
    versions.set_tags(model.name, version, {"verdict": word, "reason": verdict.reason} | gain)
    versions.add_files(model.name, version, [files.verdict, files.card, files.report])


def _serving(name: str) -> str | None:
    """Return which version serves, without the time that it takes to import MLflow where no server is used."""
    if not server():
        return local_champion(name)
    from ..registry.versions import champion

    return champion(name)


def _state_hash(name: str, block: dict) -> str:
    """Return a hash of what dvc.lock records of the model, its block in params.yaml, its registry, and what serves."""
    recorded = stages.locked_stages()
    own = [recorded.get(f"{stage}@{name}") for stage in STAGES]
    registry = [server() or (DATABASE.stat().st_ino if DATABASE.exists() else None), _serving(name)]
    return sha256(json.dumps([own, block, registry], default=str).encode()).hexdigest()
