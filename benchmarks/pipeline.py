"""Time a pipeline-centric project's commands, and a full retrain against a bare script, in one run.

The script reads, fits and scores the same: `uv run python benchmarks/pipeline.py`.
"""

import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import HIGHEST, Project, generate

TIMES = 3
BARE = """
import pandas as pd
from {package}.datasets.table import is_holdout
from {package}.training.contract import load_models
[model, *_] = load_models([])
rows = model.table.rows()
held = is_holdout(model.table, rows)
estimator = model.module.fit(rows[~held], model.table, model.params)
predictions = model.module.predict(estimator, rows[held])
print(model.module.losses(rows[held], predictions, model.table).mean())
"""
BEYOND = """
import time
from {package}.registry import deployments, provenance, versions
from {package}.retraining import gate, stages
from {package}.training.contract import load_models
from {package}.training.evaluate import read_scores
from {package}.training.report import write_report
[model, *_] = load_models([])
made_of = provenance.current(model.name)
versions.champion(model.name)
start = time.perf_counter()
version, _ = versions.record_version(model, read_scores(model), made_of)
print("record", time.perf_counter() - start)
start = time.perf_counter()
gate.judge(model, version)
print("gate", time.perf_counter() - start)
start = time.perf_counter()
deployments.promote(model.name, version, "benchmark")
print("promote", time.perf_counter() - start)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        project = Project(generate(Path(scratch) / "work", maturity_level=HIGHEST), Path(scratch) / "environment")
        project.just("data")
        project.commit("Lock data and environment")
        folder, package = project.folder, project.package
        python = project.environment / ("Scripts" if os.name == "nt" else "bin") / "python"

        def took(*command: str) -> tuple[float, str]:
            start = time.perf_counter()
            done = project.run(str(python), *command)
            assert done.returncode == 0, done.stdout + done.stderr
            return time.perf_counter() - start, done.stdout

        def median(*command: str) -> float:
            return statistics.median(took(*command)[0] for _ in range(TIMES))

        took("-m", package, "retrain")
        params = folder / "params.yaml"
        full, bare = [], []
        for seed in range(1, TIMES + 1):
            params.write_text(re.sub(r"seed: \d+", f"seed: {seed}", params.read_text()))
            shutil.rmtree(folder / "artifacts")
            full.append(took("-m", package, "retrain")[0])
            bare.append(took("-c", BARE.format(package=package))[0])
        whole, script = statistics.median(full), statistics.median(bare)
        print(f"full retrain: {whole:.1f} s; the bare script: {script:.1f} s")
        print(f"  {whole / script:.1f} times, {whole - script:.1f} s more")
        idle = median("-m", package, "retrain")
        imports = median("-c", f"import {package}.retraining.retrain")
        print(f"retrain with nothing to do: {idle:.2f} s, of which imports are {imports:.2f} s")
        shutil.rmtree(folder / "mlruns")
        (folder / "mlflow.db").unlink()
        for line in took("-c", BEYOND.format(package=package))[1].splitlines():
            step, seconds = line.split()
            print(f"  {step}: {float(seconds):.2f} s")
        restored = took("-m", package, "restore", "1")[0]
        print(f"restore: {restored:.1f} s, in which the bare script would take {script:.1f} s")
        retaught = BEYOND.format(package=package).replace("version, _ =", SECOND + "version, _ =")
        took("-c", retaught)
        imports = median("-c", "from mlflow import MlflowClient")
        print(f"rollback: {median_of_rollbacks(took, package):.2f} s, of which importing MLflow is {imports:.2f} s")


SECOND = """
import pandas as pd
pd.read_parquet(model.files.train).iloc[::2].to_parquet(model.files.train)
stages.run_stage("fit", model)
stages.run_stage("score", model)
write_report(model)
"""


def median_of_rollbacks(took, package: str) -> float:
    """Return the median seconds of a rollback from version 2 to 1; in between, 2 is promoted again."""
    seconds = []
    for _ in range(TIMES):
        seconds.append(took("-m", package, "rollback")[0])
        took("-m", package, "promote", "2")
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
