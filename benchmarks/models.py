"""Time one retrain of many small models, and what each takes beyond its fit: one run, in one process.

`uv run python benchmarks/models.py [MODELS]`
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import HIGHEST, Project, generate

MODELS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
TIMED = """
import time
from {package}.retraining.retrain import retrain
from {package}.training.contract import load_models
spent = 0.0
def timed(work):
    def wrapped(*arguments):
        global spent
        start = time.perf_counter()
        try:
            return work(*arguments)
        finally:
            spent += time.perf_counter() - start
    return wrapped
for model in load_models([]):
    model.module.fit, model.module.baselines = timed(model.module.fit), timed(model.module.baselines)
changes = {{"all changed": ("rounds: 100", "rounds: 101", -1), "one changed": ("rounds: 101", "rounds: 102", 1)}}
for turn in ("all of them new", "nothing new", "all changed", "one changed"):
    if turn in changes:
        text = open("params.yaml").read()
        open("params.yaml", "w").write(text.replace(*changes[turn]))
    spent, start = 0.0, time.perf_counter()
    outcomes = retrain([], turn)
    whole = time.perf_counter() - start
    count, states = len(outcomes), ", ".join(sorted({{each.state for each in outcomes}}))
    beyond = (whole - spent) / count
    print(f"RESULT {{turn}} ({{states}}): {{count}} models in {{whole:.1f}} s, their fits {{spent:.1f}} s,", end=" ")
    print(f"{{beyond:.2f}} s a model beyond")
"""


def main() -> None:
    """Print a line for each turn."""
    with tempfile.TemporaryDirectory() as scratch:
        made = generate(Path(scratch) / "work", maturity_level=HIGHEST)
        project = Project(made, Path(scratch) / "environment")
        modules = made / "src" / project.package / "models"
        names = [f"model_{number}" for number in range(MODELS)]
        for name in names:
            shutil.copy(modules / "classifier.py", modules / f"{name}.py")
        blocks = "".join(f"  {name}:\n    rounds: 100\n" for name in names)
        (made / "params.yaml").write_text(f"models:\n{blocks}", encoding="utf-8")
        project.just("data")
        project.commit("Many models")
        python = project.environment / ("Scripts" if os.name == "nt" else "bin") / "python"
        done = project.run(str(python), "-c", TIMED.format(package=project.package))
        assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            if line.startswith("RESULT"):
                print(line.removeprefix("RESULT "))


if __name__ == "__main__":
    main()
