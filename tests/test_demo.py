"""The main job, as the README's first command runs it."""

from __future__ import annotations

import os
import subprocess
import sys

from projects import LEFT_OUT, ROOT


def test_the_demo_runs_the_whole_loop():
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    done = subprocess.run(
        [sys.executable, "demo.py"], cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("version 1 serves: the first champion", "version 2 serves", "nothing new", "serves again"):
        assert words in done.stdout
