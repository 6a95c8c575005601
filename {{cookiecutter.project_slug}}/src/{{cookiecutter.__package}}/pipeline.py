"""The retrain as plain functions: snapshot, stages, record, gate, promote. It can be killed anywhere and run again."""

import json
import logging
import os
import sys
import time
import traceback
from collections import OrderedDict
from contextlib import chdir
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.serialize import to_single_stage_lockfile

from . import ROOT, Refused, catalog, data, first_line, run, state
from .models import alone, blocks, chosen, named, table_of

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

    from .models import Model

STAGES = ("split", "fit", "score")
LOCKS = (ROOT / "dvc.lock", ROOT / "data" / "raw.dvc")  # what DVC writes
UNPUSHED = ROOT / ".dvc" / "unpushed"  # is there while the remote may lack something

logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what DVC cannot do is an exception, and said once


class Plain(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Writes YAML as DVC does."""


Plain.add_representer(OrderedDict, Plain.represent_dict)


@dataclass(frozen=True)
class Outcome:
    """What a retrain came to for one model."""

    model: str
    state: str  # unchanged, promoted, kept (the champion stays), waiting (kept, and asked again next time) or failed
    version: str | None
    words: str


def main(arguments: list[str]) -> None:
    """`retrain [MODEL ...]`; or `split MODEL`, `fit MODEL`, `score MODEL` as dvc.yaml calls them, or all, `stages`."""
    command, names = arguments[0], arguments[1:]
    if command != "retrain":
        for model in chosen(names):
            for name in STAGES if command == "stages" else [command]:
                stage(name, model)
        return
    outcomes = retrain(names, reason="by hand")
    if failed := [outcome.model for outcome in outcomes if outcome.state == "failed"]:
        raise Refused(f"{', '.join(failed)} not retrained; what served before still serves")


def retrain(names: list[str], reason: str, *, unattended: bool = False) -> list[Outcome]:
    """Every model named, or all, is as new as the data, or as good as it was; says what it does as it goes."""
    outcomes = []
    with alone(), chdir(ROOT), Repo() as repo:  # DVC reads names of stages and files from the folder it stands in
        wanted = blocks(names)
        changed = snapshot({table_of(name, block).name for name, block in wanted.items()})
        stale = outdated(repo)
        if changed:
            UNPUSHED.touch()
        if "data/raw.dvc" in stale or not (ROOT / "data" / "raw.dvc").exists():
            track(repo)
        for name, block in wanted.items():
            start = time.perf_counter()
            own = {stage for stage in STAGES if f"{stage}@{name}" in stale}
            version = None if own else settled(name, block)
            if version:
                outcome = Outcome(name, "unchanged", version, f"nothing new, version {version} is settled")
            else:
                outcome = retrained(name, block, own, repo, reason, unattended)
            print(f"{name}: {outcome.words} ({time.perf_counter() - start:.1f} s)", flush=True)
            outcomes.append(outcome)
        if UNPUSHED.exists():
            push(repo)
    return outcomes


def outdated(repo: Repo) -> set[str]:
    """What DVC finds changed: stages by their address, and data/raw.dvc. Locks that a kill cut off are made again."""
    try:
        return set(repo.status())
    except Exception as error:  # half a lock may look like anything
        aside = {path: path.read_bytes() for path in LOCKS if path.exists()}
        for path in aside:
            path.unlink()
        try:
            found = set(repo.status())
        except Exception:
            for path, content in aside.items():
                path.write_bytes(content)
            raise Refused(f"DVC cannot read the project: {first_line(error)}") from error
        print(f"{' and '.join(path.name for path in aside)} could not be read: made again", flush=True)
        return found


def track(repo: Repo) -> None:
    """DVC keeps the bytes of every snapshot."""
    repo.add("data/raw")


def push(repo: Repo) -> None:
    """The remote has what a restore elsewhere needs; one that does not answer stops nothing."""
    try:
        repo.push()
        UNPUSHED.unlink(missing_ok=True)
    except Exception as error:  # each kind of remote has errors of its own
        words = f"{type(error).__name__}: {first_line(error)}; if the cache is broken, `uv run just clean` mends it"
        print(f"not pushed, the next retrain tries again ({words})", flush=True)


def snapshot(tables: set[str]) -> list[str]:
    """The sources are read anew and the tables checked; where nothing changed, nothing is checked again."""
    with catalog.fetched() as changed:
        if changed:
            for table in data.TABLES:
                if table.name in tables:
                    table.rows()
    print(f"snapshot: {', '.join(changed) if changed else 'nothing new'}", flush=True)
    return changed


def retrained(name: str, block: dict, stale: set[str], repo: Repo, reason: str, unattended: bool) -> Outcome:
    """One model's outcome; what goes wrong with it is said and touches no other model."""
    try:
        model, made_of = named(name), state.now()
        recompute(model, stale, repo)
        outcome = settle(model, made_of, reason, unattended)
        if outcome.state != "waiting":
            mark_settled(name, block, outcome.version)
        return outcome
    except Refused as refusal:
        return Outcome(name, "failed", None, f"failed: {refusal}")
    except Exception as error:  # a model is somebody's code and may raise anything
        traceback.print_exc(file=sys.stderr)
        return Outcome(name, "failed", None, f"failed: {type(error).__name__}: {first_line(error)}")


def recompute(model: "Model", stale: set[str], repo: Repo) -> None:
    """The stages whose inputs or outputs changed have run, those that follow from them too, and stand in dvc.lock."""
    ran = []
    for name in STAGES:
        target = f"{name}@{model.name}"
        if name in stale or (ran and repo.status([target])):
            UNPUSHED.touch()
            print(f"{model.name}: {name}", flush=True)
            stage(name, model)
            ran.append(target)
    try:
        keep(ran, repo)
    except DvcException as error:
        raise Refused(f"DVC cannot keep what {model.name} made: {first_line(error)}") from error


def keep(targets: list[str], repo: Repo) -> None:
    """What the stages made is in DVC's cache, and dvc.lock says so."""
    with repo.lock:
        made = [each for each in repo.index.stages if each.addressing in targets]
        for each in made:
            each.save()
            each.commit()
        if made:
            lock(made)


def lock(made: list["PipelineStage"]) -> None:
    """dvc.lock names what these stages read and made: whole, even after a kill, and in no time with many models.

    DVC's own writer takes a quarter of a second where twenty models stand in the file, and can be killed half way.
    """
    path = ROOT / "dvc.lock"
    known = locked() if path.exists() else {"schema": "2.0", "stages": {}}
    known["stages"] |= {each.name: to_single_stage_lockfile(each) for each in made}
    catalog.write(path, yaml.dump(known, Dumper=Plain, sort_keys=False).encode())


def locked() -> dict[str, Any]:
    """What dvc.lock says."""
    quick = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((ROOT / "dvc.lock").read_text(encoding="utf-8"), quick)  # noqa: S506


def stage(name: str, model: "Model") -> None:
    """The stage's files stand in the model's folder."""
    from . import evaluate, train  # a retrain with nothing to do needs none of it

    {"split": train.split, "fit": train.fit, "score": evaluate.score}[name](model)


def settle(model: "Model", made_of: state.State, reason: str, unattended: bool) -> Outcome:
    """What the stages made is recorded, judged and, if it is good, promoted: each only if it has not been yet."""
    from . import artifact, evaluate, gate, registry

    if done := registry.settled(model):
        return Outcome(model.name, "unchanged", done, f"nothing new, version {done} is settled")
    version, _ = registry.record(model, made_of)
    if registry.champion(model.name) == version:  # a run before this one was killed after it promoted, or a hand did
        registry.promote(model.name, version, reason)
        registry.mark_settled(model, version)
        return Outcome(model.name, "unchanged", version, f"version {version} serves already")
    verdict = gate.judge(model, version, unattended=unattended)
    (model.folder / "verdict.json").write_text(
        verdict.json(artifact.signature(model.folder / "model").sha256), encoding="utf-8"
    )
    evaluate.report(model)
    registry.keep_verdict(model, version, verdict.promote, verdict.reason)
    if verdict.promote:
        registry.promote(model.name, version, f"{reason}; {verdict.reason}")
    if verdict.final:
        registry.mark_settled(model, version)
    if verdict.promote:
        return Outcome(model.name, "promoted", version, f"version {version} serves: {verdict.reason}")
    outcome, again = ("kept", "") if verdict.final else ("waiting", "; it is asked again next time")
    return Outcome(model.name, outcome, version, f"version {version} is not promoted: {verdict.reason}{again}")


def settled(name: str, block: dict) -> str | None:
    """The version that the last retrain here was done with, if all it depended on is as it was; asks no registry."""
    try:
        mark = json.loads(_mark(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return mark["version"] if mark["state"] == _state(name, block) else None


def mark_settled(name: str, block: dict, version: str | None) -> None:
    """A retrain with nothing new need not look further."""
    _mark(name).write_text(json.dumps({"version": version, "state": _state(name, block)}), encoding="utf-8")


def _mark(name: str) -> Path:
    return ROOT / "artifacts" / name / "settled.json"


def _state(name: str, block: dict) -> str:
    """A hash of what DVC has recorded of the model, its block in params.yaml, and where its versions are."""
    stages = locked()["stages"]
    own = [stages.get(f"{stage}@{name}") for stage in STAGES]
    database = ROOT / "mlflow.db"
    registry = os.environ.get("MLFLOW_TRACKING_URI") or (database.stat().st_ino if database.exists() else None)
    return sha256(json.dumps([own, block, registry], default=str).encode()).hexdigest()


if __name__ == "__main__":
    run(main)
