"""A short simulation, all by the project's own service, log, watch and retrain."""

import json
from importlib import import_module

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
contract = import_module(f"{PACKAGE}.training.contract")
git = package.git
params = import_module(f"{PACKAGE}.training.params")
simulate = import_module(f"{PACKAGE}.simulation.simulate")

DAYS, ROWS = 8, 40


def test_a_broken_column_is_found_and_never_learned_and_no_row_is_lost(project, command):
    name = next(iter(params.model_blocks([])))
    try:
        simulate.planned(contract.load_model(name), DAYS, ROWS, 0)
    except package.Refused as refusal:
        assert command("simulate", DAYS, name, status=1).strip().endswith(str(refusal))
        pytest.skip(str(refusal))
    before = git("status", "--porcelain", "--ignored")
    said = command("simulate", DAYS, name, "--rows", ROWS, "--no-control")
    found = json.loads((project / "reports" / "simulation.json").read_text(encoding="utf-8"))
    page = (project / "reports" / "simulation.html").read_text(encoding="utf-8")

    counted = found["findings"]
    [broken] = counted["found"]
    assert 0 < broken["detected"] <= 2, said
    assert (counted["lost"], counted["learned"], counted["by_hand"]) == (0, 0, 0)
    assert found["faults"]["sent"] == DAYS * ROWS
    assert any(day["versions"] for day in found["faults"]["days"][broken["fault"]["first"] + 3 :])
    assert "rows lost" in page and "<svg" in page
    assert {*git("status", "--porcelain", "--ignored").splitlines()} - {*before.splitlines()} <= {b"!! reports/"}
