"""Simulate: a run with faults and a control run at the same time, each in a copy of the project."""

import json
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from .. import Refused, now
from ..training.contract import Model
from . import sandbox
from .plan import Plan, faults
from .rows import World, breakable, first_number, fits


def simulate(model: Model, days: int, rows: int, seed: int, *, control: bool = True) -> dict[str, dict[str, Any]]:
    """Return what happened in a run with faults and, if asked, in one without; print a line a day.

    Args:
        model: The project's; nothing of it is changed.
        days: How many.
        rows: Asked a day.
        seed: Of rows and faults.
        control: Whether to have the run without faults as well.

    Raises:
        Refused: The model's table cannot be simulated, or a run ended early.
    """
    plan = planned(model, days, rows, seed)
    plans = {"faults": plan, "control": plan.control()} if control else {"faults": plan}
    with ExitStack() as stack:
        copies = {name: stack.enter_context(sandbox.copied(model, each)) for name, each in plans.items()}
        started: dict[str, subprocess.Popen] = {}
        try:
            started |= {name: sandbox.start(root) for name, root in copies.items()}
            threads = [threading.Thread(target=_relay, args=(each,), daemon=True) for each in started.values()]
            for thread in threads:
                thread.start()
            while any(each.poll() is None for each in started.values()):
                for name in [name for name, each in started.items() if each.poll()]:
                    _result(copies[name], started[name].returncode)
                time.sleep(0.2)
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(
                    number, signal.SIG_IGN
                )  # `just` passes a Ctrl-C on: a second one must not end the cleaning
            raise
        finally:
            sandbox.end([*started.values()])
        return {name: _result(root, started[name].returncode) for name, root in copies.items()}


def planned(model: Model, days: int, rows: int, seed: int) -> Plan:
    """Return the plan with faults; raise Refused naming what keeps this model from being simulated."""
    generator, pool = np.random.default_rng(seed), sandbox.good_rows(model)
    if model.table.time and {*model.table.keys} <= {model.table.time, model.table.group}:
        raise Refused(f"simulate does not know series such as those of table {model.table.name} yet")
    world = World(model.table, pool, generator, 10**9)
    if not fits(model.table, world.draw(rows, first_number(world), [], now())):
        raise Refused(f"rows made like those of table {model.table.name} break its schema: simulate cannot draw more")
    broken, value = breakable(world)
    others = [name for name in world.numbers if name != broken]
    chosen = [str(each) for each in generator.permutation(others)[:2]]
    start = f"{now():%Y-%m-%d}T00:00:00+00:00"
    plan = Plan(model.name, days, rows, seed=seed, start=start)
    return Plan(**vars(plan) | {"faults": faults(days, plan.delay, broken, chosen, seed, value)})


def _relay(process: subprocess.Popen) -> None:
    """Print what a run prints."""
    for line in process.stdout:
        print(line.rstrip(), flush=True)


def _result(root: Path, code: int) -> dict[str, Any]:
    """Return what a run wrote; raise Refused, with its reason if it has one, if it ended early."""
    path = root / "reports" / "simulation-run.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if code or "days" not in found:
        raise Refused(found.get("refused", f"a run of the simulation ended with status {code} before its last day"))
    return found
