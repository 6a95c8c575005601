"""From sources to decisions, one step a module; the README says which files are yours."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the project's folder, wherever it is moved
os.environ.setdefault("DO_NOT_TRACK", "true")  # no library reports home
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # sums in one order: equal bytes on any number of cores
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads without work leave the processor to others
gc.set_threshold(50_000)  # imports make many objects and free few: a fifth of the time of every command


class Refused(Exception):
    """What was asked cannot be done: the message names the thing and says what to do. Nothing was changed."""


class BadRows(Refused):
    """Rows that a model cannot take: the message names the column, how many values are wrong, and some of them."""


def first_line(error: BaseException) -> str:
    """What is wrong, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def run(main: Callable[[list[str]], None]) -> None:
    """The command has run with the arguments it was given; a refusal ends it with one message and status 1."""
    try:
        main(sys.argv[1:])
    except Refused as refusal:
        sys.exit(f"error: {refusal}")
    finally:
        gc.freeze()  # the process ends: nothing is left to search for garbage, which takes a quarter of a second
