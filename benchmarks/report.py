"""Compare what `just data` costs with the bare read of the same file, in one run: the first time, and after a change.

`uv run python benchmarks/report.py [ROWS]` prints wall and processor seconds and the largest memory of each, with one
thread, and their ratios. The table has 50 columns; between the two, one row in a hundred is changed, removed and added.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import Project, generate

ROWS = int((sys.argv[1:] or ["1000000"])[0])
MAKE = f"""
import numpy as np, pandas as pd
rows, draw = {ROWS}, np.random.default_rng(0)
made = {{"id": np.arange(rows), "time": pd.date_range("2022-01-01", periods=rows, freq="min")}}
made["y"] = draw.integers(0, 2, rows)
made |= {{f"x{{i}}": draw.normal(size=rows) if i % 3 else draw.lognormal(2, 1.5, rows) for i in range(27)}}
made |= {{f"n{{i}}": draw.integers(0, 50 * (i + 1) ** 3, rows) for i in range(8)}}
made |= {{f"c{{i}}": draw.choice([f"value {{k}}" for k in range(3 * (i + 1) ** 2)], rows) for i in range(10)}}
made |= {{f"f{{i}}": draw.random(rows) < 0.3 for i in range(2)}}
made = pd.DataFrame(made)
for i in range(0, 27, 5):
    made.loc[draw.random(rows) < 0.1, f"x{{i}}"] = np.nan
made.to_parquet("data/before.parquet", index=False)
made.loc[::100, "x1"] += 1
added = made.tail(rows // 100)
added = added.assign(id=added["id"] + rows, time=added["time"] + pd.Timedelta("7D"))
pd.concat([made.drop(index=made.index[50::100]), added]).to_parquet("data/after.parquet", index=False)
print(made.memory_usage(deep=True).sum() / 1e6)
"""
TABLE = """
import pandera.pandas as pa
from .datasets import catalog
from .datasets.table import Table

FEATURES = [*(f"x{i}" for i in range(27)), *(f"n{i}" for i in range(8)), *(f"c{i}" for i in range(10)), "f0", "f1"]
COLUMNS = {name: pa.Column(nullable=True) for name in ["id", "time", "y", *FEATURES]}
TABLES = [Table("t", lambda: catalog.read("t"), pa.DataFrameSchema(COLUMNS), target="y", key="id", time="time")]
"""
ENTRY = "t:\n  file: data/t.parquet\n  owner: x\n  licence: x\n  refresh: never\n"
READ = "import pandas; pandas.read_parquet('data/t.parquet')"


def main() -> None:
    """Print a line for the bare read of the file, and for `just data` without and with a former snapshot."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        project = Project(generate(home / "work"), home / "environment")
        project.just("data")
        made = project.run("uv", "run", "python", "-c", MAKE)
        assert made.returncode == 0, made.stderr
        (project.folder / "data" / "catalog.yaml").write_text(ENTRY, encoding="utf-8")
        (project.folder / "src" / project.package / "data.py").write_text(TABLE, encoding="utf-8")
        data, costs = ("-m", project.package, "data"), {}
        file = project.folder / "data" / "t.parquet"
        file.with_stem("before").replace(file)
        costs["pandas.read_parquet"] = spent(project, "-c", READ)
        costs["just data, first"] = spent(project, *data)
        file.with_stem("after").replace(file)
        costs["just data, after a change"] = spent(project, *data)
    print(f"{ROWS:,} rows of 50 columns, {float(made.stdout):,.0f} MB; wall and processor seconds, largest memory")
    first = next(iter(costs.values()))
    for name, cost in costs.items():
        times = f"{cost[2] / float(made.stdout):.2f} times the table"
        ratios = f"{cost[0] / first[0]:.1f}, {cost[1] / first[1]:.1f}, {cost[2] / first[2]:.2f}"
        print(f"  {name:26} {cost[0]:6.1f} s {cost[1]:6.1f} s {cost[2]:6.0f} MB   {times}; ratios {ratios}")


def spent(project: Project, *arguments: str) -> tuple[float, float, float]:
    """Return the wall and processor seconds and the largest memory (MB) of a Python process in the project."""
    python, started = project.environment / "bin" / "python", time.perf_counter()
    variables = project.variables({"OMP_NUM_THREADS": "1"})
    process = subprocess.Popen([str(python), *arguments], cwd=project.folder, env=variables)
    _, ended, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode:
        raise SystemExit(f"status {process.returncode}")
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000


if __name__ == "__main__":
    main()
