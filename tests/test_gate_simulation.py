"""The gate is wrong as seldom as docs/gate.md says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import HIGHEST, ROOT, Project, generate

pytestmark = pytest.mark.xdist_group(HIGHEST)
TRIALS = 200
STATED = 0.025 + 3 * (0.025 * 0.975 / TRIALS) ** 0.5  # the level, and three standard deviations of such a simulation


def test_the_gate_keeps_its_level_and_finds_what_it_should(home: Path) -> None:
    project = Project(generate(home / "gate", maturity_level=HIGHEST), home / f"environment {HIGHEST}")
    script = str(ROOT / "benchmarks" / "gate.py")
    done = project.run("uv", "run", "python", script, project.package, str(TRIALS), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for rows in (100, 250, 1000):
        assert found[f"{rows} -0.05"][0] <= STATED, "as bad as is allowed at most, by default"
        assert found[f"{rows} 0.0"][1] <= STATED, "an equal model, as better"
        assert found[f"{rows} -0.2"] == [0, 0]
    assert found["250 0.2"][1] > 0.7
    assert found["1000 0.1"][1] > 0.9
    assert found["1000 0.05"][0] > 0.9
    assert found["creep False"][0] < 0.85 < found["creep True"][0], "200 retrains, each a little worse"
    assert found["slices 1000 0.0"] <= STATED
    assert found["slices 1000 1.0"] > 0.6
