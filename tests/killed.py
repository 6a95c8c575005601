"""Kills a retrain at every step, for real, and checks what is left. Run by a generated project's Python in its folder:

    python killed.py PACKAGE

Everything is imported once; each command is a forked process of its own, ended by SIGKILL from within. Prints a line of
JSON for each step: first those of a retrain, then those of other commands, then what differs in versions made again.
"""

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path

import yaml

PACKAGE = sys.argv[1]


def imported(part, *names):
    """These modules of a part of the package."""
    return [import_module(f"{PACKAGE}.{part}.{name}") for name in names]


catalog, snapshots = imported("datasets", "catalog", "snapshots")
artifact, contract, report = imported("training", "artifact", "contract", "report")
database, deployments, loading, versions = imported("registry", "database", "deployments", "loading", "versions")
cleanup, gate, restoring, retraining, stages = imported("retraining", "cleanup", "gate", "restore", "retrain", "stages")
commands = import_module(f"{PACKAGE}.__main__").main
import mlflow.store.model_registry.sqlalchemy_store  # noqa: E402
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401
import skops.io  # noqa: E402, F401
from dvc.repo import Repo  # noqa: E402
from mlflow import MlflowClient  # noqa: E402

contract.load_models([])

STEPS = [  # whose attribute, which, how many calls are let through, and whether the kill comes before or after
    (snapshots.pq, "write_table", 0, "before"),  # the snapshot
    (snapshots.pq, "write_table", 0, "after"),  # its content, under a temporary name
    (catalog, "write_lock", 0, "before"),
    (catalog, "write_lock", 0, "after"),
    (Repo, "add", 0, "after"),
    *((stages, "run_stage", stage, "after") for stage in range(3)),
    (artifact, "asdict", 0, "before"),  # the model file with the signature of the one before
    (stages, "_write_lock", 0, "before"),
    (stages, "_write_lock", 0, "after"),
    (MlflowClient, "create_run", 0, "after"),
    (MlflowClient, "create_model_version", 0, "before"),
    (gate, "judge", 0, "before"),
    (retraining, "_publish", 0, "after"),
    (deployments, "_deploy", 0, "before"),
    (MlflowClient, "create_run", 1, "after"),  # the line in the log
    (MlflowClient, "set_registered_model_alias", 0, "after"),
    (MlflowClient, "set_terminated", 1, "before"),
    (versions, "mark_judged", 0, "before"),
    (retraining, "mark_unchanged", 0, "before"),
    (Repo, "push", 0, "before"),
]

DEPLOYMENT = [
    (MlflowClient, "create_run", 0, "after"),  # the line in the log
    (MlflowClient, "set_registered_model_alias", 0, "after"),  # the champion
    (MlflowClient, "set_registered_model_alias", 1, "after"),  # the one before
    (MlflowClient, "set_terminated", 0, "after"),
    (database, "_copy", 0, "before"),
]
OTHERS = {  # commands, and their steps
    "promote": DEPLOYMENT,
    "rollback": [*DEPLOYMENT, (MlflowClient, "set_model_version_tag", 0, "after")],
    "clean": [
        (stages, "refill_cache", 0, "before"),
        (stages, "refill_cache", 0, "after"),
        (cleanup, "needed_names", 0, "after"),
        (cleanup, "unused_runs", 0, "after"),
        (cleanup.shutil, "rmtree", 0, "before"),
    ],
    "data": [
        (snapshots.pq, "write_table", 0, "before"),
        (snapshots.pq, "write_table", 0, "after"),
        (catalog, "write_lock", 0, "before"),
        (catalog, "write_lock", 0, "after"),
    ],
    "restore": [
        (restoring, "check_out", 0, "after"),
        (restoring, "fetch_data", 0, "after"),
        (restoring, "run_stages", 0, "after"),
    ],
}


def main():
    """One model, whose gate always opens, on a source that changes before every step."""
    name, whole = prepare()
    forked(lambda: retraining.retrain([], "first"))
    report.write_report = lambda model: None  # pictures take time, and stand from the first retrain
    before = forked(look)
    for number, step in enumerate(STEPS):
        whole.iloc[number + 1 :].to_parquet(f"data/{name}.parquet")
        status = forked(lambda step=step: (kill_at(*step), retraining.retrain([], "killed")), killed=True)
        after = forked(look)
        outcome = forked(lambda: [each.state for each in retraining.retrain([], "next")])
        again = forked(lambda: [each.state for each in retraining.retrain([], "again")])
        last = forked(look)
        assert not stages.UNPUSHED.exists()
        place, attribute, skipped, side = step
        words = f"{side} {getattr(place, '__name__', place)}.{attribute} {skipped}"
        seen = {"step": words, "status": status, "outcome": outcome, "again": again}
        print(json.dumps(seen | {"before": before, "after": after, "last": last}), flush=True)
        before = last
    [model] = contract.load_models([])
    kill_others(model.name, name, whole.iloc[len(STEPS) + 1 :])


def kill_others(model, source, rows):
    """Kill every other command at its steps, and run it again; at the end make the first and the last version again."""
    newest, older = forked(lambda: [version.number for version in versions.versions(model)[:2]])

    def serve(version):
        for each in (older, version):
            deployments.promote(model, each, "tests")

    work = {
        "promote": lambda: deployments.promote(model, newest, "killed"),
        "rollback": lambda: deployments.rollback(model, "killed"),
        "clean": lambda: cleanup.clean(),
        "data": lambda: commands(["data"], standalone_mode=False),
        "restore": lambda: restoring.restore(model, "1"),
    }
    for command, steps in OTHERS.items():
        run = work[command]
        for number, step in enumerate(steps):
            if command == "data":
                rows.iloc[number:].to_parquet(f"data/{source}.parquet")
            (loading.CODE / "000000000000_committed").mkdir(parents=True, exist_ok=True)
            before = forked(lambda serving=older if command == "promote" else newest: (serve(serving), look())[1])
            status = forked(lambda step=step, run=run: (kill_at(*step), run()), killed=True)
            after = forked(look)
            place, attribute, skipped, side = step
            words = f"{command}: {side} {getattr(place, '__name__', place)}.{attribute} {skipped}"
            print(json.dumps({"step": words, "status": status, "before": before, "after": after}), flush=True)
        forked(lambda run=run: run() and None)
    forked(lambda: vars(cleanup.clean()))
    print(json.dumps({"clean": forked(lambda: vars(cleanup.clean()))}), flush=True)
    print(json.dumps({each: forked(lambda each=each: restoring.restore(model, each)[1]) for each in ("1", newest)}))


def prepare():
    """The catalogue reads a file that this program writes; returns the source's name and all of its rows."""
    gate.judge = lambda *_, **__: gate.Verdict(True, "the gate is open", [])
    [source] = catalog.sources()
    with catalog.fetched(keep=False):
        whole = catalog.read(source.name)
    whole.to_parquet(f"data/{source.name}.parquet")
    entry = {"owner": "tests", "licence": "none", "refresh": "never", "file": f"data/{source.name}.parquet"}
    Path("data/catalog.yaml").write_text(yaml.safe_dump({source.name: entry}))
    return source.name, whole


def kill_at(place, attribute, skipped, side):
    """The process is killed at the call of this attribute that follows the skipped ones."""
    whole, left = getattr(place, attribute), [skipped]

    def killing(*arguments, **named):
        if left[0] == 0 and side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = whole(*arguments, **named)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return found

    setattr(place, attribute, killing)


def look():
    """What serves, proven to load and predict; how many versions there are; what the log says; what DVC finds."""
    [model] = contract.load_models([])
    champion = versions.champion(model.name)
    loaded = loading.load_version(model.name, champion)
    loaded.verify_examples()
    predicted = len(loaded.predict(model.table.load().head(3)))
    log = [[line.version, line.state] for line in deployments.deployments(model.name)]
    with stages.repository() as repo:
        stale = sorted(repo.status())
    numbers = [int(version.number) for version in versions.versions(model.name)]
    former = versions.champion(model.name, versions.PREVIOUS)
    found = {"previous": former, "rollback": deployments.former_champion(model.name)}
    return found | {"champion": champion, "predicted": predicted, "versions": numbers, "log": log, "stale": stale}


def forked(work, *, killed=False):
    """What the work returned in a process of its own; or, if it is to be killed, how that process ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        try:
            found = work()
            os.write(writing, json.dumps(found, default=str).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        content = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if killed:
        return status
    assert status == 0, "see above"
    return json.loads(content)


if __name__ == "__main__":
    main()
