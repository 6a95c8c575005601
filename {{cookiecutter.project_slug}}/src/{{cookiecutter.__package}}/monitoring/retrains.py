"""The retrains that are asked for: each is written down first, done with patience, and reported."""

import time
from collections.abc import Callable
from functools import partial
from itertools import groupby

from sqlalchemy.engine import Engine

from .. import Refused, Unavailable, first_line, now
from ..retraining.retrain import Outcome, retrain
from ..retraining.snapshots import take_snapshots
from ..serving.log_store import open_log
from ..training.params import model_blocks
from ..training.workspace import training_lock
from . import notify, triggers

PAUSES = (10, 60, 300)  # seconds before something that was away is asked again


def retrain_now(names: list[str], reason: str) -> list[Outcome]:
    """Retrain the models named, or all, with nobody watching, and all others for which that is asked.

    If the process is killed, the next watch or schedule does what was not finished.
    """
    try:
        engine = open_log()
    except Refused:  # PREDICTION_LOG is none: there is no place to write it down
        return patiently(partial(retrain, [*model_blocks(names)], reason, unattended=True))
    triggers.prepare(engine)
    for name in model_blocks(names):
        triggers.ask(engine, name, reason, now())
    return retrain_asked(engine)


def ask_for_new_data(engine: Engine, names: list[str]) -> None:
    """Read the sources that are due; where one has changed, ask for a retrain of the models named, or of all."""
    triggers.prepare(engine)
    try:
        with training_lock():
            changed = take_snapshots()
    except Refused as refusal:  # a source that is away or bad keeps nobody from watching
        print(f"sources: {refusal}", flush=True)
        return
    for name in model_blocks(names) if changed else ():
        triggers.ask(engine, name, f"new data: {', '.join(changed)}", now())


def retrain_asked(engine: Engine) -> list[Outcome]:
    """Do the retrains that are asked for; what fails is tried again by the next watch."""
    outcomes = []
    for reason, group in groupby(triggers.waiting(engine), lambda each: each.reason):
        asked = {each.model: each for each in group}
        try:
            found = patiently(partial(retrain, [*asked], reason, unattended=True))
        except Refused as refusal:
            print(f"{', '.join(asked)}: not retrained yet: {refusal}", flush=True)
            found = [Outcome(name, "failed", None, first_line(refusal)) for name in asked]
        for each in found:
            triggers.tried(engine, asked[each.model], each.message, now(), done=each.state not in ("failed", "waiting"))
            if each.state != "unchanged":
                notify.tell(each.model, [f"retrained ({reason}): {each.message}"])
        outcomes += found
    return outcomes


def patiently(act: Callable[[], list[Outcome]]) -> list[Outcome]:
    """Retrain or learn; wait for a source, a registry or another training that is away, and try again."""
    for pause in PAUSES:
        try:
            return act()
        except Unavailable as away:
            print(f"tried again in {pause} seconds: {away}", flush=True)
            time.sleep(pause)
    return act()
