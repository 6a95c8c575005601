"""Watch every model: what comes in, what it answers, what labels say, how old it is; and retrain for a reason."""

import json
from dataclasses import dataclass, field
from datetime import date, datetime

import numpy as np
from sqlalchemy.engine import Engine

from .. import first_line
from ..registry.deployments import deployments
from ..registry.learned import AFTER
from ..registry.versions import Version, champion_version, run_artifacts, versions
from ..retraining.profiles import ANSWER, Counts, Profile, known_profile, loss_context
from ..retraining.quality import Problem, problems
from ..serving.log_store import open_log
from ..training import aside
from ..training.contract import Model, load_model
from ..training.params import model_blocks
from ..training.workspace import Workspace
from . import days, drift, notify, retrains, triggers
from .drift import Change
from .performance import BLOCKS, WEEK, Performance, judged
from .triggers import Alarm

STALE = 90  # days after which a version that nothing replaced is called old
LABELS_LATE = 60  # days within which labels change what is known of a day


@dataclass
class Watched:
    """What is known of a model's champion.

    Attributes:
        model: The model's name.
        version: The champion's number; empty if there is none.
        alarms: What does not hold, as of the newest day.
        fresh: Those of them that were not raised within the cool-down.
        unknown: What cannot be told yet, and why.
        rows: Logged rows by day, oldest first.
        served: The version that answered most on each day.
        counts: Of each column, by day.
        changes: How the newest days differ from the days before.
        performance: What labels say; None if they say nothing yet.
        estimated: The loss that the model's own probabilities expect, of the newest week; None if it has none.
        calibration: What labels say of the model's own certainty, in words.
        challenger: What the newest version that learned from the log did on the same rows, in words.
        latency: Milliseconds of the newest day's requests.
        profile: What the champion learned from.
        broken: What is wrong with the rows of a day, of those that are not as learned.
    """

    model: str
    version: str = ""
    alarms: list[Alarm] = field(default_factory=list)
    fresh: list[Alarm] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    rows: dict[date, int] = field(default_factory=dict)
    served: dict[date, str] = field(default_factory=dict)
    counts: dict[str, dict[date, Counts]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    performance: Performance | None = None
    estimated: float | None = None
    calibration: str = ""
    challenger: str = ""
    latency: dict[str, float] = field(default_factory=dict)
    profile: Profile | None = None
    broken: dict[date, list[Problem]] = field(default_factory=dict)

    @property
    def kinds(self) -> list[str]:
        """What kinds of alarms there are."""
        return sorted({each.kind for each in self.alarms})


def watch(names: list[str], now: datetime, *, act: bool = False) -> list[Watched]:
    """Look at the models named, or at all; with `act`, retrain those for which there is a reason.

    Args:
        names: Of models in params.yaml; empty for all.
        now: The time; days that are over by then count.
        act: Whether to ask for retrains, and to do those that are asked for.

    Raises:
        Refused: If predictions are not logged here, or a model cannot be watched.
    """
    engine = open_log()
    days.prepare(engine)
    triggers.prepare(engine)
    found = [watched(load_model(name), engine, now) for name in model_blocks(names)]
    for each in found:
        each.fresh = triggers.record_alarms(engine, each.alarms)
        _suspect(each, engine)
        notify.tell(each.model, [f"{alarm.kind}: {alarm.words}" for alarm in each.fresh])
        if act and (reason := reason_to_retrain(each) or triggers.unsettled(engine, each.model, now)):
            triggers.ask(engine, each.model, reason, now)
    if act:
        retrains.retrain_asked(engine)
    return found


def watched(model: Model, engine: Engine, now: datetime) -> Watched:
    """Return what is known of a model's champion, once the days that are over are counted."""
    found, version = Watched(model.name), champion_version(model.name)
    if version is None:
        found.unknown.append("nothing serves: promote a version")
        return found
    found.challenger = _challenger(model, version.number)
    found.version, over = version.number, days.logged_days(engine, model.name, now)
    if not over:
        found.unknown.append("no prediction was logged on a day that is over: watch again tomorrow")
    found.profile = known_profile(model, version.number)
    if found.profile is None:
        found.unknown.append("what comes in: the version was made before profiles were kept; the next one has one")
    elif over:
        days.count_days(engine, model.name, found.profile, over)
        _look_at_inputs(found, engine, model.name, over, _since(model.name, version))
    if over:
        _look_at_labels(found, engine, model, over, now)
        found.latency = days.latency(engine, model.name, over[-1])
    age = (now - version.made).days
    if age > STALE:
        words = f"version {version.number} is {age} days old, and nothing has replaced it"
        found.alarms.append(Alarm(model.name, "staleness", "", now.date(), words))
    return found


def reason_to_retrain(found: Watched) -> str:
    """Return why the model should be retrained; empty if there is no reason: bad rows alone are none."""
    return "; ".join(f"{each.kind}: {each.words}" for each in found.fresh if each.kind != "quality")


def _look_at_inputs(found: Watched, engine: Engine, model: str, over: list[date], since: date) -> None:
    """Add what the newest day's rows and answers tell: problems at once, drift from enough days on."""
    profile, newest = found.profile, over[-1]
    everything = days.read_counts(engine, model, profile.grid)
    own = days.read_counts(engine, model, profile.grid, found.version)
    found.counts = {name: (own if name.startswith(ANSWER) else everything).get(name, {}) for name in profile.columns}
    sizes = {day: max(each[day].rows for each in found.counts.values() if day in each) for day in _days(found.counts)}
    found.rows = {day: sizes.get(day, 0) for day in over}
    if found.rows[newest] < drift.FEW:
        found.unknown.append(f"{newest}: {found.rows[newest]} rows, of which nothing can be told")
        return
    found.broken = _broken_days(found, over[-LABELS_LATE:])
    for problem in found.broken.get(newest, []):
        found.alarms.append(Alarm(model, "quality", problem.column, newest, f"{newest}: {problem.words}"))
    busy = [day for day, rows in found.rows.items() if rows >= drift.FEW and day not in found.broken]
    reference = drift.reference_days(busy, since)
    if len(reference) < drift.REFERENCE:
        found.unknown.append(f"drift: {len(reference)} days to compare with, {drift.REFERENCE} are needed")
        return
    found.changes = _changes(found, newest, reference)
    broken = {each.column for each in found.alarms}
    for name in dict.fromkeys(each.column for each in found.changes if each.alarm):
        if name not in broken and not (broken and name.startswith(ANSWER)):  # which follow from broken inputs
            first = min((each for each in found.changes if each.column == name), key=lambda each: each.p)
            words = (
                f"{name}: {first.what} of the {first.span} to {newest} is {first.now:.3g}, usually {first.before:.3g}"
            )
            found.alarms.append(Alarm(model, "drift", name, newest, words))


def _broken_days(found: Watched, over: list[date]) -> dict[date, list[Problem]]:
    """Return what is wrong with the columns of those days that are not as learned."""
    columns = {name: each for name, each in found.profile.columns.items() if not name.startswith(ANSWER)}
    said = {
        day: [
            problem
            for name, column in columns.items()
            if day in found.counts[name]
            for problem in problems(column, found.counts[name][day])
        ]
        for day in over
    }
    return {day: each for day, each in said.items() if each}


def _suspect(found: Watched, engine: Engine) -> None:
    """List the keys of the rows of broken days: if a row arrives in the table, a retrain looks at it before it learns.

    Rows that were sent without their key are judged by the day on which they arrive.
    """
    for day, [first, *_] in found.broken.items():
        if (max(found.rows) - day).days >= WEEK:
            continue
        keys = days.logged_keys(engine, found.model, day)
        aside.suspect(Workspace(found.model).set_aside, keys, f"asked on {day}", first.column, first.words)


def _changes(found: Watched, newest: date, reference: list[date]) -> list[Change]:
    """Return how the newest days of every column differ from the reference days; broken days before are left out."""
    history = {
        name: {
            day: drift.properties(column, counts)
            for day, counts in found.counts[name].items()
            if day == newest or day not in found.broken
        }
        for name, column in found.profile.columns.items()
        if newest in found.counts[name]
    }
    return [
        change
        for name, each in history.items()
        for change in drift.changes(name, each, found.counts[name][newest], reference, len(history))
    ]


def _look_at_labels(found: Watched, engine: Engine, model: Model, over: list[date], now: datetime) -> None:
    """Add what labels tell of the newest days, and how much the model's own probabilities expect."""
    try:
        days.judge_days(engine, model, over[-LABELS_LATE:], loss_context(model, found.version))
    except (KeyError, ValueError, TypeError) as error:
        found.unknown.append(f"performance: the log lacks what the loss of {model.name} needs ({first_line(error)})")
        return
    outcomes = days.read_outcomes(engine, model.name)
    for day, each in outcomes.items():
        found.served[day] = max(each, key=lambda number: each[number].rows)
    own = {
        day: each[found.version]
        for day, each in outcomes.items()
        if found.version in each and day not in found.broken  # whose losses are of the rows, not of the model
    }
    promised = _promised(model, found.version)
    recent = [each for day, each in own.items() if (now.date() - day).days <= BLOCKS * WEEK]
    served = {day: each[found.served[day]] for day, each in outcomes.items() if day not in found.broken}
    found.performance = told = judged(own, promised, now.date(), served)
    rows, labelled = (sum(getattr(each, name) for each in recent) for name in ("rows", "labelled"))
    if (expected := sum(each.expected for each in recent)) and rows:
        found.estimated = expected / rows
    if labelled:
        found.calibration = _calibration(recent, labelled)
    if told.p is None:
        words = f"labels of {told.share:.0%} of the newest rows, {len(told.days)} days count, 5 of a week are needed"
        found.unknown.append(f"performance: {words}")
    if told.alarm:
        value, span = (told.sudden, "two days") if told.sudden is not None else (told.now, "week")
        words = f"{model.module.PRIMARY} {value:.4g} in the newest {span} with labels, {promised[0]:.4g} was promised"
        found.alarms.append(Alarm(model.name, "performance", "", max(told.days, default=max(served)), words))


def _challenger(model: Model, serving: str) -> str:
    """Return in words what the newest version that learned from the log did on rows before it learned them."""
    newest = next((each for each in versions(model.name) if AFTER in each.tags), None)
    if newest is None:
        return ""
    who, tags = "the champion" if newest.number == serving else f"version {newest.number}", newest.tags
    compared = f"{tags['gain']} over version {tags['parent']}" if "gain" in tags else "not yet compared"
    return f"{who} learns from the log: {tags['score']} on the newest days, before it learned them; {compared}"


def _calibration(recent: list[days.Outcome], labelled: int) -> str:
    """Return in words how the model's own certainty compares with what turned out true."""
    sure, right = (sum(getattr(each, name) for each in recent) / labelled for name in ("sure", "right"))
    if sure:
        return f"right in {right:.1%}, and sure to {sure:.1%}"
    return f"{right:.1%} inside the band" if right else ""


def _promised(model: Model, number: str) -> tuple[float, float, float]:
    """Return the loss that a version had on the rows held out when it was made, and the bounds of its interval."""
    with run_artifacts(model.name, number, model.files.metrics.name) as file:
        scores = json.loads(file.read_text(encoding="utf-8"))
    low, high = scores.get("interval") or (np.nan, np.nan)
    return float(scores["value"]), float(low), float(high)


def _since(model: str, version: Version) -> date:
    """Return the day on which a version began to serve."""
    served = [each.when for each in deployments(model) if each.version == version.number and each.state == "FINISHED"]
    return (served[-1] if served else version.made).date()


def _days(counts: dict[str, dict[date, Counts]]) -> list[date]:
    return sorted({day for each in counts.values() for day in each})
