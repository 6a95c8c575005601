"""A small part of the benchmark of quality: two sets, the shipped model beside simple ones."""

from __future__ import annotations

import os
import re
import subprocess

from projects import LEFT_OUT, ROOT

SMALL = ("quarterly visitors, 20 regions", "quarterly prisoners, 32 groups")


def test_the_forecaster_is_close_to_the_best_simple_method_or_better():
    """The script runs as its first lines say; all sets are measured before a release, and stand in docs/models.md."""
    script = str(ROOT / "benchmarks" / "quality" / "__main__.py")
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    command = ["uv", "run", "--quiet", script, "forecasting", "--sets", *SMALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")

    assert done.returncode == 0, done.stderr
    ratios = [float(ratio) for ratio in re.findall(r"\*\* \([^)]*\) \| ([\d.]+) \|$", done.stdout, re.MULTILINE)]
    assert len(ratios) == len(SMALL)
    assert max(ratios) < 1.15
    assert done.stdout.count("| quarterly") == 2 * len(SMALL)  # and their intervals
