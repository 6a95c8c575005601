"""Time a new project against bare cookiecutter writing the very same files: one run, in turn.

`uv run python benchmarks/generation.py [ROUNDS]` prints the median seconds of both and their ratio, for each level.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import LEVELS, files, generate, template

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7


def main() -> None:
    """Print a line for each level."""
    with tempfile.TemporaryDirectory() as scratch:
        for level in LEVELS:
            home = Path(scratch) / level
            bare = bare_template(home, level)
            ours, theirs = [], []
            for turn in range(ROUNDS + 1):  # the first warms the disk's cache and is not counted
                ours.append(seconds(template(), home / f"ours {turn}", f"maturity_level={level}"))
                theirs.append(seconds(bare, home / f"bare {turn}"))
            one, other = statistics.median(ours[1:]), statistics.median(theirs[1:])
            print(f"{level:17} {one:.2f} s, bare cookiecutter {other:.2f} s, ratio {one / other:.2f}", flush=True)


def bare_template(home: Path, level: str) -> Path:
    """Return a template without hooks, questions or conditions that writes the files of this level."""
    made = generate(home / "made", maturity_level=level)
    bare = home / "bare"
    bare.mkdir()
    for name, content in files(made).items():
        path = bare / "{{cookiecutter.project_slug}}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    described = {"project_slug": "my-ml-project", "_copy_without_render": ["*just*", "*.yml"]}
    (bare / "cookiecutter.json").write_text(json.dumps(described), encoding="utf-8")
    return bare


def seconds(source: Path, folder: Path, *answers: str) -> float:
    """Return the seconds of one generation, from the start of the process to its end."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "cookiecutter", str(source), "--no-input", *answers]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    taken = time.perf_counter() - start
    shutil.rmtree(folder)
    return taken


if __name__ == "__main__":
    main()
