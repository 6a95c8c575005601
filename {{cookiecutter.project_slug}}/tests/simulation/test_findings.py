"""What is counted of a simulation, and when its faults come."""

from importlib import import_module

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
findings = import_module(f"{PACKAGE}.simulation.findings")
plan = import_module(f"{PACKAGE}.simulation.plan")
report = import_module(f"{PACKAGE}.simulation.report")


def made_up(faults, alarms=(), served=0.1, days=60):
    """A run with these faults, alarms by day, and a loss that a fault raises until it is learned."""
    found = [
        {
            "number": i,
            "version": "1",
            "losses": {"served": served, "nobody retrains": 0.2, "blindly every night": 0.3},
            "alarms": [],
            "versions": [],
            "promoted": [],
            "rows": 60,
        }
        for i in range(days)
    ]
    for day, kind, column in alarms:
        found[day]["alarms"].append([kind, column, "words"])
    counted = {"broken_rows_learned": {}, "by_hand": 0, "sent": 60 * days, "logged": 60 * days}
    return counted | {"days": found, "plan": {"faults": [vars(each) for each in faults]}}


def test_days_to_find_and_to_recover_are_counted_from_the_first_day_of_a_fault():
    faults = [plan.Fault(plan.BROKEN, "x", 10, 13), plan.Fault(plan.CONCEPT, "y", 30, 60)]
    run = made_up(faults, [(5, "drift", "z"), (11, "quality", "x"), (36, "performance", "")])
    for day in (10, 11, 12, *range(30, 40)):
        run["days"][day]["losses"]["served"] = 1.0
    run["days"][40]["versions"] = run["days"][40]["promoted"] = ["2"]
    run["days"][50]["versions"] = ["3"]
    found = findings.findings({"faults": run, "control": made_up([], [(20, "drift", "x")])})

    assert [(each.detected, each.recovered) for each in found.found] == [(1, 3), (6, 12)]
    assert (found.false_alarms, found.promotions, found.kept_back) == (1, 1, 1)
    assert found.losses == pytest.approx({"served": 0.295, "nobody retrains": 0.2, "blindly every night": 0.3})


def test_a_fault_that_nothing_finds_is_said_so():
    run = made_up([plan.Fault(plan.SHIFT, "x", 40, 60)], [(45, "quality", "x")])
    found = findings.findings({"faults": run})

    assert found.found[0].detected is None
    assert report.found_table(found)["days to find"].tolist() == ["not found"]
    assert report.facts(found)["false alarms of the control run"] == "no control run"
    assert report.verdict(found) == ("not found: covariate shift", False)


def test_the_verdict_names_a_policy_that_lost_less():
    found = findings.findings({"faults": made_up([])})
    worse = findings.findings({"faults": made_up([], served=0.25)})

    assert report.verdict(found) == ("every fault found", True)
    assert report.verdict(worse) == ("every fault found; 'nobody retrains' has a lower loss", False)


def test_faults_come_only_where_so_many_days_let_a_watch_find_them():
    kinds = {days: [each.kind for each in plan.faults(days, 3, "x", ["y", "z"], 0)] for days in (8, 40, 90)}

    assert kinds == {
        8: [plan.BROKEN],
        40: [plan.BROKEN, plan.CONCEPT],
        90: [plan.BROKEN, plan.CONCEPT, plan.SHIFT],
    }
    for seed in range(50):
        for fault in plan.faults(90, 3, "x", ["y", "z"], seed):
            assert 0 < fault.first < fault.end <= 90
