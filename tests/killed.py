"""Kills a retrain at every step, for real, and checks what is left. Run by a generated project's Python in its folder:

    python killed.py PACKAGE

Everything is imported once; each retrain is a forked process of its own, ended by SIGKILL from within. Prints a line of
JSON for each step.
"""

import json
import os
import signal
import sys
import traceback
from contextlib import chdir
from importlib import import_module
from pathlib import Path

import pandas as pd
import yaml

PACKAGE = sys.argv[1]
catalog, evaluate, gate, models, pipeline, registry, train, artifact = (
    import_module(f"{PACKAGE}.{name}")
    for name in ("catalog", "evaluate", "gate", "models", "pipeline", "registry", "train", "artifact")
)
from dvc.repo import Repo  # noqa: E402
from mlflow import MlflowClient  # noqa: E402

STEPS = [  # whose attribute, which, how many calls are let through, and whether the kill comes before or after
    (catalog, "write", 0, "before"),  # the snapshot
    (catalog, "write", 1, "after"),  # its lock
    (Repo, "add", 0, "after"),
    *((pipeline, "stage", stage, "after") for stage in range(3)),
    (artifact.Path, "write_bytes", 2, "after"),  # the model file without its signature
    (pipeline, "lock", 0, "before"),
    (pipeline, "lock", 0, "after"),
    (MlflowClient, "create_run", 0, "after"),
    (MlflowClient, "create_model_version", 0, "before"),
    (gate, "judge", 0, "before"),
    (registry, "keep_verdict", 0, "after"),
    (MlflowClient, "create_run", 1, "after"),  # the line in the log
    (MlflowClient, "set_registered_model_alias", 0, "after"),
    (MlflowClient, "set_terminated", 1, "before"),
    (registry, "mark_settled", 0, "before"),
    (Repo, "push", 0, "before"),
]


def main():
    """One model, whose gate always opens, on a source that changes before every step."""
    name, whole = prepare()
    forked(lambda: pipeline.retrain([], "first"))
    evaluate.report = lambda model: None  # pictures take time, and stand from the first retrain
    before = forked(look)
    for number, step in enumerate(STEPS):
        whole.iloc[number + 1 :].to_parquet(f"data/{name}.parquet")
        status = forked(lambda step=step: (kill_at(*step), pipeline.retrain([], "killed")), killed=True)
        after = forked(look)
        outcome = forked(lambda: [each.state for each in pipeline.retrain([], "next")])
        again = forked(lambda: [each.state for each in pipeline.retrain([], "again")])
        last = forked(look)
        assert not pipeline.UNPUSHED.exists()
        place, attribute, skipped, side = step
        words = f"{side} {getattr(place, '__name__', place)}.{attribute} {skipped}"
        seen = {"step": words, "status": status, "outcome": outcome, "again": again}
        print(json.dumps(seen | {"before": before, "after": after, "last": last}), flush=True)
        before = last


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
    [model] = models.chosen([])
    champion = registry.champion(model.name)
    estimator = artifact.load(registry.folder(model.name, champion), model.module.TRUSTED)
    rows = model.table.load().head(3)
    log = [[line.version, line.state] for line in registry.deployments(model.name)]
    with chdir(registry.ROOT), Repo() as repo:
        stale = sorted(repo.status())
    predicted = len(model.module.predict(estimator, pd.DataFrame(rows)))
    versions = [int(version.number) for version in registry.versions(model.name)]
    return {"champion": champion, "predicted": predicted, "versions": versions, "log": log, "stale": stale}


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
