"""Run a plan in a copy of the project, day by day, and write what happened: all by the project's own code."""

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import func, select

from .. import ROOT, Refused, clock_set
from ..datasets import columns
from ..monitoring.watch import watch
from ..registry.deployments import deployments
from ..registry.loading import LoadedVersion, load_served
from ..registry.versions import champion, run_artifacts, versions
from ..retraining.gate import learned_from
from ..retraining.retrain import retrain
from ..serving.log_store import REQUESTS, open_log
from ..training.contract import Model, load_model
from .plan import BROKEN, Plan
from .policies import BLIND, FROZEN, SERVED, Blind, row_losses
from .rows import World, first_number, good
from .sandbox import PLAN, POOL, arrive
from .service import Client, serving

RUN, LOG = ROOT / "reports" / "simulation-run.json", ROOT / "reports" / "simulation.log"
NIGHT, MORNING, EVENING = 3, 6, 20  # hours of the scheduled retrain, of the watch and of the labels
HOURS = (8, 11, 14, 17)  # of requests


@dataclass
class Day:
    """What happened on a day.

    Attributes:
        number: From 0.
        version: That served.
        losses: The mean loss of the day's rows, by policy; known once their labels are.
        alarms: Of the morning, which were not raised lately: kind, column and words.
        versions: That retrains of the night and the morning made.
        promoted: Those of them that the gate let serve.
        rows: Asked.
    """

    number: int
    version: str = ""
    losses: dict[str, float] = field(default_factory=dict)
    alarms: list[list[str]] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass
class Run:
    """A run under way.

    Attributes:
        plan: What is to happen.
        model: Of the copy.
        world: Where rows come from.
        now: The simulated time.
        days: What happened so far.
        asked: The rows of each day with their truth; before day 0 what the source begins with.
        answers: What was served for them.
        identities: Of these predictions.
    """

    plan: Plan
    model: Model
    world: World
    now: datetime
    days: list[Day] = field(default_factory=list)
    asked: dict[int, pd.DataFrame] = field(default_factory=dict)
    answers: dict[int, pd.DataFrame] = field(default_factory=dict)
    identities: dict[int, list[str]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The columns of a request: what a caller gives of a row, and its key."""
        table = self.model.table
        return list(dict.fromkeys([*table.keys, *table.requested]))

    def at(self, day: int, hour: int) -> datetime:
        """Set the clock to an hour of a day, and return it."""
        self.now = datetime.fromisoformat(self.plan.start) + timedelta(day, hours=hour)
        return self.now

    def draw(self, day: int, hours: tuple[int, ...]) -> Iterator[pd.DataFrame]:
        """Yield the rows that arrive at these hours of a day, and note them."""
        faults = [each for each in self.plan.faults if each.on(day)]
        for hour, count in zip(hours, np.bincount(np.arange(self.plan.rows) % len(hours)), strict=True):
            first = first_number(self.world) + sum(map(len, self.asked.values()))
            rows = self.world.draw(int(count), first, faults, self.at(day, hour))
            self.asked[day] = pd.concat([self.asked[day], rows], ignore_index=True) if day in self.asked else rows
            yield rows

    def source(self, day: int) -> pd.DataFrame:
        """Return what the source holds on a day: the rows of the days that it keeps, once their labels have come."""
        newest = day - self.plan.delay
        return pd.concat([rows for each, rows in self.asked.items() if newest - self.plan.kept < each <= newest])


def main() -> None:
    """Run the plan of this copy; print a line a day, and write what happened."""
    plan = Plan.read(ROOT / PLAN)
    model, pool = load_model(plan.model), pd.read_parquet(ROOT / POOL)
    kinds = good(model.table, pool).dtypes  # as its schema has them, such as codes that are text
    pool = pool.astype({name: kinds[name] for name in pool if name in kinds})
    world = World(model.table, pool, np.random.default_rng(plan.seed), plan.needed)
    run = Run(plan, model, world, datetime.fromisoformat(plan.start))
    try:
        with LOG.open("w", encoding="utf-8") as log, redirect_stdout(log), clock_set(lambda: run.now):
            facts = play(run)
    except Refused as refusal:
        RUN.write_text(json.dumps({"refused": str(refusal)}), encoding="utf-8")
        sys.exit(1)
    RUN.write_text(json.dumps(facts), encoding="utf-8")


def play(run: Run) -> dict[str, Any]:
    """Play all days, and return what happened in JSON's types."""
    plan, name = run.plan, run.model.name
    for day in range(-plan.kept - plan.delay + 1, 0):
        list(run.draw(day, HOURS[:1]))
    arrive(run.source(0))
    run.at(0, 0)
    [first] = retrain([name], "the first version of the simulation")
    if first.state != "promoted":
        raise Refused(f"simulate needs a first version that the gate lets serve: {first.message}")
    original, blind = load_served(name, first.version), None if plan.is_control else Blind(run.model)
    with serving(name) as client:
        for day in range(plan.days):
            run.days.append(Day(day))
            if blind:
                blind.fit(good(run.model.table, run.source(day)))
            _night(run, day)
            client.wait_for(champion(name))
            _ask(run, day, client)
            run.days[day].losses = _losses(run, day, original, blind)
            _label(run, day - plan.delay, client)
            _tell(run.days[day], plan)
        run.at(plan.days, 0)
    return _facts(run, first.version)


def _night(run: Run, day: int) -> None:
    """Retrain if it is scheduled for today, then watch and retrain for a reason."""
    name, own = run.model.name, run.days[day]
    before = {each.number for each in deployments(name)}
    known = {each.number for each in versions(name)}
    arrive(run.source(day))
    run.at(day, NIGHT)
    if day and day % run.plan.every == 0:
        retrain([name], "schedule", unattended=True)
    [found] = watch([name], run.at(day, MORNING), act=True)
    own.alarms = [[each.kind, each.column, each.words] for each in found.fresh]
    own.versions = [each.number for each in versions(name) if each.number not in known]
    own.promoted = [each.version for each in deployments(name) if each.number not in before]


def _ask(run: Run, day: int, client: Client) -> None:
    """Send the rows of a day over HTTP, as a caller would, and note what was answered."""
    own, answers, run.identities[day] = run.days[day], [], []
    for rows in run.draw(day, HOURS):
        sent = columns.records(rows[run.names])
        answer = client.predict(sent)
        answers += answer["predictions"]
        run.identities[day] += answer["prediction_ids"]
        own.version, own.rows = answer["version"], own.rows + len(rows)
    run.answers[day] = pd.DataFrame.from_records(answers)


def _label(run: Run, day: int, client: Client) -> None:
    """Send what turned out true of a day's rows."""
    if day < 0:
        return
    run.at(day + run.plan.delay, EVENING)
    truth = columns.records(run.asked[day][[run.model.table.target]])
    pairs = zip(run.identities[day], truth, strict=True)
    client.label([{"prediction_id": each, "label": row[run.model.table.target]} for each, row in pairs])


def _losses(run: Run, day: int, original: LoadedVersion, blind: Blind | None) -> dict[str, float]:
    """Return the mean loss of a day's rows under each policy."""
    rows = run.asked[day]
    found = {SERVED: (rows, run.answers[day]), FROZEN: (rows, original.predict(rows))}
    if blind:
        ready = good(run.model.table, rows)
        found[BLIND] = ready, blind.predict(ready)
    return {policy: float(row_losses(run.model, *each).mean()) for policy, each in found.items()}


def _tell(day: Day, plan: Plan) -> None:
    """Print a line about a day, for whoever waits."""
    said = [f"{kind} alarm{f' ({column})' if column else ''}" for kind, column, _ in day.alarms]
    said += [f"version {number} {'promoted' if number in day.promoted else 'kept back'}" for number in day.versions]
    kind = "control run" if plan.is_control else "run with faults"
    print(f"{kind}: day {day.number + 1} of {plan.days}{': ' if said else ''}{', '.join(said)}", file=sys.__stdout__)


def _facts(run: Run, first: str) -> dict[str, Any]:
    """Return the days, and what is counted over all of them."""
    logged = select(func.sum(REQUESTS.c.rows)).where(REQUESTS.c.model == run.model.name)
    with open_log().connect() as connection:
        kept = int(connection.scalar(logged) or 0)
    broken = [run.asked[day] for each in run.plan.faults if each.kind == BROKEN for day in range(each.first, each.end)]
    learned = {}
    for version in versions(run.model.name) if broken else []:
        rows = pd.concat(broken)
        if count := int(learned_from(run.model, version.number, rows).sum()):
            learned[version.number] = count
    return {
        "plan": asdict(run.plan),
        "days": [asdict(each) for each in run.days],
        "first": first,
        "own_rows": len(run.world.pool),
        "generated": not run.world.is_enough,
        "sent": sum(each.rows for each in run.days),
        "logged": kept,
        "broken_rows_learned": learned,
        "by_hand": sum(each.reason.startswith("by hand") for each in deployments(run.model.name)),
        "promised": {each.number: _promise(run.model, each.number) for each in versions(run.model.name)},
    }


def _promise(model: Model, number: str) -> list[float]:
    """Return the loss of a version on the rows held out when it was made, and the bounds of its interval."""
    with run_artifacts(model.name, number, model.files.metrics.name) as file:
        scores = json.loads(file.read_text(encoding="utf-8"))
    return [float(scores["value"]), *map(float, scores["interval"])]
