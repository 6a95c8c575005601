"""All tests run on a copy of the project, so that none touches its versions, its data or its locks.

The tests of the data, in test_data.py, see all rows and run first. All others see a seeded sample of each table, and so
take no longer where there are more rows: in the copy, a source for each table holds the sample, and the table loads it.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

PACKAGE = "{{ cookiecutter.__package }}"
ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = (
    ".venv",
    ".git",
    ".dvc-storage",
    ".prefect",
    "artifacts",
    "reports",
    "restored",
    "mlruns",
    "mlflow.db*",
    "dvc.lock",
)
COPY = Path(tempfile.mkdtemp(prefix="tests of ")) / "project"
ROWS, RARE = 2000, 25  # of a sample: at most, and of each class at least, where there are so many
STEPS, SERIES_ROWS = 400, 5000  # of a series, and of all series together
FILE_BYTES = 20_000_000  # of the files in a sample
TABLES_OF_TESTS = """

# --- by the tests: each table loads its sample, once there is one

from dataclasses import replace as _replace

import pandas as _pandas

from .datasets import catalog as _catalog


def _sampled(table, name):
    def load():
        if name not in _catalog.locked():
            return table.load()
        kinds = _pandas.read_parquet(_catalog.ROOT / "data" / f"{name}.parquet").dtypes
        return _catalog.read(name).astype(kinds)

    return _replace(table, load=load, pictures=None)


TABLES = [_sampled(table, f"sample_{number}") for number, table in enumerate(TABLES)]
"""
PLAIN = f"-c user.name=t -c user.email=t@t -c commit.gpgSign=false -c core.hooksPath={os.devnull}".split()


def ignored(folder, names):
    """Return which files are not copied: those that commands made."""
    patterns = {ROOT: NOT_COPIED, ROOT / ".dvc": ("cache", "tmp"), ROOT / "data": ("raw.dvc",)}.get(Path(folder), ())
    return shutil.ignore_patterns("__pycache__", *patterns)(folder, names)


shutil.copytree(ROOT, COPY, ignore=ignored)
with (COPY / "src" / PACKAGE / "data.py").open("a", encoding="utf-8") as module:
    module.write(TABLES_OF_TESTS)
for arguments in (["init", "-q"], ["add", "-A"], [*PLAIN, "commit", "-qm", "copy"]):
    subprocess.run(["git", *arguments], cwd=COPY, check=True)
sys.path.insert(0, str(COPY / "src"))
import_module(PACKAGE)  # before any test imports NumPy: the package sets how many threads that takes
MODELS = list(import_module(f"{PACKAGE}.training.params").model_blocks([]))


def pytest_unconfigure():
    shutil.rmtree(COPY.parent, ignore_errors=True)


def pytest_collection_modifyitems(items):
    """Run the tests of all rows before there is a sample."""
    items.sort(key=lambda item: item.path.name != "test_data.py")


def sample_of(table):
    """Return some rows of a table, by seed, from which may be learned what may be learned from all.

    Where a key is a series and a time, these are the newest steps of some series; else rows of any kind, with some of
    each class. Rows come in the order of time, else in a random one, so that any stretch of them is a table too.
    """
    rows = table.load().sample(frac=1, random_state=0, ignore_index=True)
    limit = ROWS
    for name in [name for name in rows if rows[name].dtype == object]:
        sizes = rows[name].head(100).map(lambda value: len(value) if isinstance(value, bytes) else 0)
        limit = min(limit, int(FILE_BYTES / max(sizes.mean(), 1)))
    if table.time and {*table.keys} <= {table.time, table.group}:
        part = newest_steps(rows, table)
    else:
        classes = [name for name in [table.target, *table.targets] if rows[name].nunique() <= limit / RARE / 4]
        rare = [index for name in classes for index in rows.groupby(name).head(RARE).index]
        part = rows.loc[list(dict.fromkeys([*rare, *rows.index]))[:limit]].sample(frac=1, random_state=0)
    try:
        dataclasses.replace(table, load=lambda: part.reset_index(drop=True), pictures=None).rows()
    except import_module(PACKAGE).Refused:  # its schema wants something of all rows together
        part = rows
    return part.sort_values(table.time, kind="stable") if table.time else part


def newest_steps(rows, table):
    """Return the newest STEPS or more of the first series, SERIES_ROWS in all."""
    if len(rows) <= SERIES_ROWS:
        return rows
    series = rows[table.group] if table.group else rows[table.time].map(lambda _: "")
    names = sorted(series.unique(), key=str)
    steps = max(STEPS, SERIES_ROWS // len(names))
    kept = rows[series.isin(names[: max(SERIES_ROWS // steps, 1)])]
    times = kept[table.time].drop_duplicates().nlargest(steps)
    return kept[kept[table.time] >= times.min()]


@pytest.fixture(scope="session")
def project():
    """The copy's folder, with a sample of each table as its sources and their snapshots taken."""
    catalog, data = (import_module(f"{PACKAGE}.{name}") for name in ("datasets.catalog", "data"))
    if not catalog.complete():
        if missing := catalog.missing_variables():
            pytest.skip(missing)
        with catalog.fetched():
            pass
    facts = {"owner": "tests", "licence": "none", "refresh": "never"}
    sources = {
        f"sample_{number}": facts | {"file": f"data/sample_{number}.parquet"} for number in range(len(data.TABLES))
    }
    for name, table in zip([*sources], data.TABLES, strict=True):
        sample_of(table).to_parquet(COPY / "data" / f"{name}.parquet", index=False)
    for name in sorted({name for table in data.TABLES for name in table.lookups}):
        sources[name] = facts | {"file": f"data/{name}.parquet"}
        catalog.read(name).to_parquet(COPY / "data" / f"{name}.parquet", index=False)
    shutil.rmtree(COPY / "data" / "raw")
    catalog.write_lock({})
    (COPY / "data" / "catalog.yaml").write_text(json.dumps(sources), encoding="utf-8")
    with catalog.fetched():
        pass
    for arguments in (["add", "-A"], [*PLAIN, "commit", "-qm", "sample"]):
        subprocess.run(["git", *arguments], cwd=COPY, check=True)
    return COPY


@pytest.fixture(scope="session")
def command(project):
    """A function that runs a command of the project and returns what it printed, errors included."""
    main = import_module(f"{PACKAGE}.__main__").main

    def run(*arguments, status=0):
        done = CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.output

    return run


@pytest.fixture(scope="session")
def trained(project, command):
    """The copy's folder once every model is trained and has a champion."""
    versions = import_module(f"{PACKAGE}.registry.versions")
    command("train")
    for name in MODELS:
        command("promote", versions.versions(name)[0].number, name)
    return project


@pytest.fixture(params=MODELS)
def model(request, trained):
    """Each model of params.yaml, trained."""
    return import_module(f"{PACKAGE}.training.contract").load_model(request.param)


@pytest.fixture
def champion(model):
    """The folder of what serves."""
    versions = import_module(f"{PACKAGE}.registry.versions")
    return versions.served_folder(model.name, versions.champion(model.name))


@pytest.fixture
def holdout(model):
    """The held-out rows, as the model would have been asked for them."""
    import pandas as pd

    return pd.read_parquet(model.files.holdout)
