"""Compare what the commands of a pipeline-centric project cost in this release and in 0.2.0: one run, in turn.

`uv run python benchmarks/commands.py [ROUNDS]` prints the median processor and wall-clock seconds of each command and
their ratios. Each release has its own project, made from this repository's history, and its own environment.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import HIGHEST, ROOT, Project, generate

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
BEFORE = "0582caa"  # release 0.2.0
OTHER_ROUNDS = "rounds: 101"  # a parameter that makes a second version
COMMANDS = {  # a name, the command in 0.2.0 and now, both after `python -m`; PKG is the package
    "data, nothing new": ("PKG.quality", "PKG data"),
    "retrain, nothing to do": ("PKG.pipeline retrain", "PKG retrain"),
    "history": ("PKG.lineage history", "PKG history"),
    "lineage": ("PKG.lineage lineage", "PKG lineage"),
    "evaluate": ("PKG.evaluate", "PKG evaluate"),
    "promote": ("PKG.registry promote 2", "PKG promote 2"),
    "rollback": ("PKG.registry rollback", "PKG rollback"),  # after the promotion: each round ends as it began
    "predict": ("PKG.predict rows.csv predictions.csv", "PKG predict rows.csv predictions.csv"),
    "stage split": ("PKG.pipeline split classifier", "PKG stage split classifier"),
    "import of the service": ("", ""),
    "a refused command": ("PKG.registry promote 99", "PKG promote 99"),
}
SERVICE = ("import PKG.serve", "import PKG.serving.app")
REFUSED = {"a refused command"}


def main() -> None:
    """Print a line for each command."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        projects = [prepare(home / "before", released(home / "template")), prepare(home / "now", None)]
        seconds = {name: ([], []) for name in COMMANDS}
        for turn in range(ROUNDS + 1):  # the first warms caches and is not counted
            for name, commands in COMMANDS.items():
                for side, (project, command) in enumerate(zip(projects, commands, strict=True)):
                    words = ["-m", *command.split()] if command else ["-c", SERVICE[side]]
                    took = spent(project, words, status=int(name in REFUSED))
                    if turn:
                        seconds[name][side].append(took)
        print(f"{ROUNDS} rounds in turn, medians; processor seconds and wall-clock seconds, 0.2.0 -> now")
        for name, sides in seconds.items():
            print(f"  {name:24} {compared(sides, 0)}   {compared(sides, 1)}", flush=True)


def compared(sides: tuple[list, list], which: int) -> str:
    """Return the medians of one measure and their ratio."""
    before, now = (statistics.median(each[which] for each in side) for side in sides)
    return f"{before:6.2f} -> {now:5.2f} s, ratio {now / before:4.2f}"


def released(folder: Path) -> Path:
    """Return the template as it was released, in a clone."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    subprocess.run(["git", "checkout", "-q", BEFORE], cwd=folder, check=True)
    return folder


def prepare(folder: Path, template: Path | None) -> Project:
    """Return a project of a template with two versions, the first of which serves, and rows to predict."""
    if template is None:
        made = generate(folder / "work", maturity_level=HIGHEST)
    else:
        (folder / "work").mkdir(parents=True)
        command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", f"maturity_level={HIGHEST}"]
        subprocess.run(
            command,
            cwd=folder / "work",
            env=os.environ | {"PWD": str(folder / "work")},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        [made] = (folder / "work").iterdir()
    project = Project(made, folder / "environment")
    project.just("retrain")
    project.commit("First")
    params = made / "params.yaml"
    before = params.read_text(encoding="utf-8")
    params.write_text(re.sub(r"rounds: \d+", OTHER_ROUNDS, before), encoding="utf-8")
    project.just("retrain")
    project.just("promote", "1")
    sample = (made / "data" / "sample" / "tumours.csv").read_text(encoding="utf-8")
    (made / "rows.csv").write_text(sample, encoding="utf-8")
    return project


def spent(project: Project, arguments: list[str], status: int) -> tuple[float, float]:
    """Return the processor and the wall-clock seconds of a Python process in the project."""
    python = project.environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    words = [word.replace("PKG", project.package) for word in arguments]
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(python), *words], cwd=project.folder, env=project.variables({}), stdout=output, stderr=output
        )
        _, ended, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode != status:
            output.seek(0)
            raise SystemExit(f"{' '.join(words)}: {process.returncode}\n{output.read().decode()}")
    return used.ru_utime + used.ru_stime, wall


if __name__ == "__main__":
    main()
