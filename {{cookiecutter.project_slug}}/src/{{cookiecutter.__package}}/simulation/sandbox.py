"""A temporary copy of the project, with a source, a registry, a log and a DVC remote of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import yaml

from .. import ROOT, git
from ..datasets import catalog
from ..registry.settings import PROJECT
from ..training.contract import Model
from ..training.params import model_blocks
from .plan import Plan

SOURCE, POOL, PLAN = "arrived", "data/pool.parquet", "simulation.json"
UNTRACKED = (f"data/{SOURCE}.parquet", POOL, PLAN, "predictions.db*", "artifacts", "reports")
ISOLATED = {  # what would lead out of the copy, or change what is simulated
    "MLFLOW_TRACKING_URI": "",
    "PREDICTION_LOG": "",
    "PREDICTION_LOG_DAYS": "3650",
    "WEBHOOK_URL": "",
    "SERVE_API_KEY": "",
    "SERVE_HOST": "127.0.0.1",
    "SERVE_PROCESSES": "1",
    "SERVE_POLL_SECONDS": "0.5",
}
ARRIVED = """

# --- by `just simulate`: the table is what has arrived

from dataclasses import replace as _replace

import pandas as _pandas

from .datasets import catalog as _catalog


def _of_arrived(table):
    def load():
        kinds = _pandas.read_parquet(_catalog.ROOT / "{pool}").dtypes
        return _catalog.read("{source}").astype(kinds)

    return _replace(table, load=load, pictures=None)


TABLES = [_of_arrived(table) for table in TABLES if table.name == {table!r}]
"""
REMOTE = "[core]\n    remote = simulation\n['remote \"simulation\"']\n    url = {}\n"


@contextmanager
def copied(model: Model, plan: Plan) -> Iterator[Path]:
    """Yield a copy of the project that knows one model, whose table is what has arrived; delete it at the end."""
    with TemporaryDirectory(prefix="simulation ", ignore_cleanup_errors=True) as scratch:
        root = Path(scratch) / "project"
        for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode().split("\0"):
            if name and (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, root / name)
        _own_data(root, model)
        _own_settings(root, model)
        plan.write(root / PLAN)
        (root / "reports").mkdir(exist_ok=True)
        _commit(root)
        yield root


def start(root: Path) -> subprocess.Popen:
    """Run the plan of a copy in a process of its own, which writes what happened below its reports/."""
    code = f"from {PROJECT}.simulation import play; play.main()"
    environment = os.environ | ISOLATED | {"PYTHONPATH": str(root / "src"), "PYTHONUNBUFFERED": "1"}
    command, own = [sys.executable, "-c", code], {"start_new_session": True}  # a Ctrl-C reaches the one who ends it
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, **own)


def end(processes: list[subprocess.Popen]) -> None:
    """End what still runs."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def arrive(rows: pd.DataFrame, root: Path = ROOT) -> None:
    """Let the source of the copy hold these rows."""
    rows.to_parquet(root / "data" / f"{SOURCE}.parquet", index=False)


def _own_data(root: Path, model: Model) -> None:
    """Write the table's rows into the copy, its lookups as files, and a catalogue of both."""
    shutil.rmtree(root / "data" / "raw", ignore_errors=True)
    rows = good_rows(model)
    rows.to_parquet(root / POOL, index=False)
    arrive(rows, root)
    facts = {"owner": "simulation", "licence": "none", "refresh": "never"}
    sources = {SOURCE: facts | {"file": f"data/{SOURCE}.parquet"}}
    for name in model.table.lookups:
        catalog.read(name).to_parquet(root / "data" / f"{name}.parquet", index=False)
        sources[name] = facts | {"file": f"data/{name}.parquet"}
    (root / "data" / "catalog.yaml").write_text(json.dumps(sources), encoding="utf-8")
    catalog.write_lock({}, root)
    with (root / "src" / PROJECT / "data.py").open("a", encoding="utf-8") as module:
        module.write(ARRIVED.format(pool=POOL, source=SOURCE, table=model.table.name))


def good_rows(model: Model) -> pd.DataFrame:
    """Return the rows of the model's table as they are read, without those that its quarantine sets aside."""
    rows, (_, aside, _) = model.table.load().reset_index(drop=True), model.table.sifted()
    return rows[~rows.index.isin(aside.index)].reset_index(drop=True)


def _own_settings(root: Path, model: Model) -> None:
    """Let the copy know the one model, and a remote of its own."""
    block = {"models": model_blocks([model.name])}
    (root / "params.yaml").write_text(yaml.safe_dump(block, sort_keys=False), encoding="utf-8")
    for stale in ("dvc.lock", "data/raw.dvc"):
        (root / stale).unlink(missing_ok=True)
    (root / ".dvc" / "config.local").write_text(REMOTE.format(root.parent / "remote"), encoding="utf-8")


def _commit(root: Path) -> None:
    """Make the copy a repository in which nothing is uncommitted, and what arrives is not tracked."""
    plain = ["-c", "user.name=simulation", "-c", "user.email=simulation@localhost", "-c", "commit.gpgSign=false"]
    plain += ["-c", f"core.hooksPath={os.devnull}"]
    git("-C", str(root), "init", "-q")
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "exclude").write_text("\n".join(UNTRACKED), encoding="utf-8")
    git("-C", str(root), "add", "-A")
    git("-C", str(root), *plain, "commit", "-qm", "simulation")
