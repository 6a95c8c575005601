"""Learn from logged rows once their labels are there: predict a day, write that down, then learn it, and be judged.

All state is in the newest version: what it has learned from and what was predicted before. A run that was killed left
a version or none, and the next run goes on from there.
"""

import json
import sys
import traceback
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from sqlalchemy.engine import Engine

from .. import Refused, first_line
from ..datasets.catalog import content_hash
from ..registry import deployments, learned
from ..registry.learned import AFTER, DAY, LEARNED, ROW
from ..registry.loading import LoadedVersion, load_served
from ..registry.versions import add_files, champion, get_version, mark_judged, run_artifacts, set_tags
from ..retraining import stream_gate
from ..retraining.gate import Verdict
from ..retraining.profiles import known_profile
from ..retraining.retrain import Outcome
from ..retraining.stream_gate import Stream
from ..serving.log_store import first_id, labelled_ids, micros_of, open_log
from ..training.contract import Learning, load_models
from ..training.evaluate import is_finite, scores_of
from ..training.folds import Tested
from ..training.modules import optional
from ..training.statistics import SMALL
from ..training.workspace import Workspace, read_rows, training_lock
from . import days, stream
from .stream import Labelled

LATE = 60  # days after an answer in which its label is learned from
JUDGED = 50_000  # of the newest rows, on which a version is judged


@dataclass
class Progress:
    """A version on its way: what it is now, what was predicted of each row before, and what it has learned from."""

    version: LoadedVersion
    parts: list[pd.DataFrame]
    learned: list[pd.Series]

    def test(self, labelled: Labelled) -> None:
        """Write down what it predicts of rows."""
        predictions = self.version.predict(labelled.rows)
        if not is_finite(predictions).all():
            raise Refused("what was learned makes its predictions missing or infinite: no version is made")
        predictions.insert(0, LEARNED, value=False)
        self.parts.append(predictions.rename_axis(ROW).reset_index())

    def learn(self, model: Learning, labelled: Labelled) -> None:
        """Learn from the rows that were tested last."""
        estimator = optional(model.module, "learn")(self.version.estimator, labelled.rows, model.table)
        self.version = replace(self.version, estimator=estimator)
        self.parts[-1][LEARNED] = True
        self.learned.append(pd.Series(labelled.keys, labelled.rows.index))


@dataclass(frozen=True)
class Known:
    """What a version has learned from: logged rows by id, those of the table by the hashes of their keys, and when.

    A row that was sent with its key may stand in the table that the version was fitted on. Of one that was sent without
    only the time is known: what was answered before the fit may stand there.
    """

    logged: set[str]
    table: np.ndarray
    fitted: str

    def lacks(self, rows: Labelled | Stream) -> np.ndarray:
        """Return which rows are new (boolean, (rows,))."""
        ids = rows.rows.index
        fresh = np.where(rows.keys > 0, ~np.isin(rows.keys, self.table), np.array(ids > self.fitted, bool))
        return fresh & ~np.isin(ids, [*self.logged])


def learn(names: list[str], now: datetime, *, unattended: bool = False) -> list[Outcome]:
    """Let the models named, or all that can, learn from the rows whose labels are there, and print each outcome.

    Args:
        names: Of models in params.yaml; empty for all whose modules have `learn`.
        now: The time; days that are over by then count.
        unattended: Whether nobody watches: then only committed code is promoted.

    Raises:
        Refused: If a model that is named cannot learn, predictions are not logged, or another training is at work.
    """
    models = load_models(names)
    able = [Learning.of(model) for model in models if names or optional(model.module, "learn")]
    if not able:
        print("no model learns from the log: its module would need `learn`, see models/__init__.py", flush=True)
        return []
    engine, outcomes = open_log(), []
    days.prepare(engine)
    with training_lock():
        for model in able:
            outcome = _outcome(model, engine, now, unattended)
            print(f"{model.name}: {outcome.message}", flush=True)
            outcomes.append(outcome)
    return outcomes


def learn_model(model: Learning, engine: Engine, now: datetime, unattended: bool) -> Outcome:
    """Judge the newest version if that was not done, learn from what came since, and judge what became of that."""
    newest = learned.learner(model)
    if newest is None or champion(model.name) is None:
        words = f"no version of today's code and parameters: uv run just retrain {model.name}"
        return Outcome(model.name, "waiting", None, words if newest is None else "nothing serves: promote a version")
    outcome = Outcome(model.name, "unchanged", newest.number, f"version {newest.number} knows all labelled rows")
    if AFTER in newest.tags and "settled" not in newest.tags:
        outcome = settle(model, engine, newest.number, unattended)
    if newest.tags.get(DAY) == now.date().isoformat():
        return outcome
    batches, said = _batches(model, engine, newest.number, now)
    kept = _kept_back(batches)
    if kept == 0 or kept == len(batches):
        count = sum(len(each.rows) for each in batches)
        words = f"{count} labelled rows are new: they judge what is learned once as many come after them"
        return replace(outcome, message="; ".join([words if count else outcome.message, *said]))
    progress = Progress(load_served(model.name, newest.number), [], [])
    for labelled in batches[:-kept]:
        progress.test(labelled)
        progress.learn(model, labelled)
    for labelled in batches[-kept:]:
        progress.test(labelled)
    number = _recorded(model, engine, newest.number, progress, now)
    outcome = settle(model, engine, number, unattended)
    return replace(outcome, message="; ".join([outcome.message, *said]))


def settle(model: Learning, engine: Engine, number: str, unattended: bool) -> Outcome:
    """Judge a version that learned and, if it is good, promote it: each only if it has not been done yet."""
    tags = get_version(model.name, number).tags
    words = f"version {number} learned from {tags['learned_rows']} rows"
    if champion(model.name) == number:  # promoted by a run that was then killed, or by hand
        mark_judged(model, number)
        return Outcome(model.name, "promoted", number, f"{words} and serves")
    verdict = _verdict(model, engine, number, unattended)
    model.files.verdict.write_text(verdict.json(tags["sha256"]), encoding="utf-8")
    add_files(model.name, number, [model.files.verdict])
    word, gain = ("promote" if verdict.promote else "keep"), {"gain": verdict.gain} if verdict.gain else {}
    set_tags(model.name, number, {"verdict": word, "reason": verdict.reason} | gain)
    if verdict.promote:
        set_tags(model.name, number, {"anchor": verdict.anchor})
        deployments.promote(model.name, number, f"{words}; {verdict.reason}")
    if verdict.final:
        mark_judged(model, number)
    state = "promoted" if verdict.promote else "kept" if verdict.final else "waiting"
    return Outcome(
        model.name, state, number, f"{words} and {'serves' if verdict.promote else 'is not promoted'}: {verdict.reason}"
    )


def known_to(model: Learning, number: str) -> Known:
    """Return what a version has learned from."""
    base = learned.base_of(model.name, number)
    with run_artifacts(model.name, base.number) as files:
        names = (model.files.train_keys.name, model.files.holdout_keys.name)
        table = np.concatenate([np.load(files / name) for name in names if (files / name).exists()])
    return Known(learned.learned_rows(model.name, number), table, first_id(micros_of(base.made)))


def _outcome(model: Learning, engine: Engine, now: datetime, unattended: bool) -> Outcome:
    """Return one model's outcome; what goes wrong with it is reported and touches no other model."""
    try:
        return learn_model(model, engine, now, unattended)
    except Refused as refusal:
        return Outcome(model.name, "failed", None, f"failed: {refusal}")
    except Exception as error:  # a model is somebody's code and may raise anything
        traceback.print_exc(file=sys.stderr)
        return Outcome(model.name, "failed", None, f"failed: {type(error).__name__}: {first_line(error)}")


def _batches(model: Learning, engine: Engine, number: str, now: datetime) -> tuple[list[Labelled], list[str]]:
    """Return the labelled rows that are new to a version and may be learned from, by day, and what is left out why."""
    midnight = datetime(now.year, now.month, now.day, tzinfo=now.tzinfo)
    span = micros_of(midnight - timedelta(LATE)), micros_of(midnight)
    known = known_to(model, number)
    done = known.logged | learned.rejected_rows(model.name)
    waiting = [each for each in labelled_ids(engine, model.name, *span) if each not in done]
    if not waiting:
        return [], []
    version, levels = load_served(model.name, number), _levels(model, number)
    over = [day for day in days.logged_days(engine, model.name, now) if (now.date() - day).days <= LATE]
    wrong = stream.broken(engine, model, known_profile(model, number), over)
    found, said = [], []
    for day, identities in stream.by_day(waiting):
        labelled = stream.read(engine, model, version, identities)
        labelled = labelled.part(known.lacks(labelled))
        good, words = stream.learnable(labelled, wrong.get(day, []), levels, model)
        found += [good] if len(good.rows) else []
        count = len(labelled.rows) - len(good.rows)
        said += [f"{count} rows of {day} are not learned from: {words[0]}"] if words else []
    return found, said[-1:]


def _kept_back(batches: list[Labelled]) -> int:
    """Return how many of the newest days only judge: enough to have SMALL rows; 0 if there are not so many."""
    rows = 0
    for count, labelled in enumerate(reversed(batches), 1):
        if (rows := rows + len(labelled.rows)) >= SMALL:
            return count
    return 0


def _recorded(model: Learning, engine: Engine, after: str, progress: Progress, now: datetime) -> str:
    """Record what has been learned as a version, with the loss of all rows before they were learned from."""
    before = learned.read_stream(model.name, after)
    oldest = first_id(micros_of(now - timedelta(LATE + 1)))
    before = before[before[LEARNED] & (before[ROW] >= oldest)]
    whole = pd.concat([before, *progress.parts], ignore_index=True).sort_values(ROW, ignore_index=True)
    tested = stream.stream(engine, model, progress.version, whole.tail(JUDGED))
    tested = tested.part(tested.newest())
    train = read_rows(Workspace(model.name).train)
    simpler = model.module.baselines(train, model.table, model.params).items()
    losses = {
        name: model.module.losses(tested.rows, model.module.predict(each, tested.rows), model.table)
        for name, each in simpler
    }
    sliced = replace(model, slices=[name for name in model.slices if name in tested.rows])
    scores = scores_of(sliced, Tested(tested.rows, tested.predictions, losses), tested.days)
    scores["prediction_hash"] = content_hash(tested.predictions.reset_index(drop=True))
    return learned.record(
        model, after, progress.version, whole, pd.concat(progress.learned), scores, now.date().isoformat()
    )


def _verdict(model: Learning, engine: Engine, number: str, unattended: bool) -> Verdict:
    """Return the gate's verdict on a version, on what it was tested on as the log has it now."""
    version = load_served(model.name, number)
    tested = stream.stream(engine, model, version, learned.read_stream(model.name, number).tail(JUDGED))
    with run_artifacts(model.name, number, model.files.metrics.name) as file:
        model.files.folder.mkdir(parents=True, exist_ok=True)
        model.files.metrics.write_bytes(file.read_bytes())
    numbers = {champion(model.name), stream_gate.anchor_of(model)}
    new = {each: known_to(model, each).lacks(tested) for each in numbers}
    sliced = replace(model, slices=[name for name in model.slices if name in tested.rows])
    return stream_gate.judge(sliced, number, tested, new, unattended=unattended)


def _levels(model: Learning, number: str) -> dict | None:
    """Return the levels of the target in the table, as recorded with the version; None if it is no measurement."""
    with run_artifacts(model.name, number, model.files.table_facts.name) as file:
        return json.loads(file.read_text(encoding="utf-8")).get("target_levels")
