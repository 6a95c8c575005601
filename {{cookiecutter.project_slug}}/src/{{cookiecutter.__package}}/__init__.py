"""A machine-learning project: one package a concern, imports one way.

commands, flows -> retraining, serving -> registry -> training -> models -> features, data -> datasets
"""

import gc
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from . import _moved as _moved  # module names of release 0.2, removed in 1.0

ROOT = Path(__file__).resolve().parents[2]  # the project's folder
os.environ.setdefault("DO_NOT_TRACK", "true")  # no library sends telemetry
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one order of summation: equal bytes on any number of cores
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # idle threads leave the processor to others
gc.set_threshold(50_000)  # imports create many objects and free few: saves a fifth of every command's start

Validated = TypeVar("Validated")


class Refused(Exception):
    """Say that something cannot be done: the message names the problem and the remedy; nothing is left half done."""


class Unavailable(Refused):
    """Say that something outside does not answer now, such as a source, a registry or a lock: it may in a while."""


class BadRows(Refused):
    """Say that rows do not fit a model: the message names the column, the number of bad values and some of them."""


def now() -> datetime:
    """Return the time, in UTC, of all that is dated here: logs, labels, snapshots, deployments, alarms."""
    return _clock()


@contextmanager
def clock_set(clock: Callable[[], datetime]) -> Iterator[None]:
    """Let `now` return what this clock does, in all threads, while the block runs: a simulation sets it."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before


def _machine_time() -> datetime:
    return datetime.now(UTC)


_clock = _machine_time


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def git(*arguments: str, **environment: str) -> bytes:
    """Return the output of a git command; raise Refused with git's own reason if it fails.

    Args:
        arguments: Of git, without a shell.
        environment: Variables for this command only, such as GIT_INDEX_FILE.
    """
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True)
    except FileNotFoundError as error:
        raise Refused("git is not installed here") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"status {done.returncode}"]
        named = [word for before, word in zip(("", *arguments), arguments, strict=False) if before not in ("-C", "-c")]
        command = next(word for word in named if word not in ("-C", "-c"))
        raise Refused(f"git {command} fails: {reason[-1]}")
    return done.stdout


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an error.

    Whatever happens in between, `path` has either all of the new content or what it had before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def validated(kind: type[Validated], content: Any, where: str) -> Validated:
    """Return content read from YAML as an instance of a pydantic model or dataclass.

    Args:
        kind: The model. Values are taken strictly: text is no number, a boolean no integer.
        content: Plain lists, dictionaries and scalars.
        where: What the content is, for the message, such as "params.yaml: classifier".

    Raises:
        Refused: Naming the first key that is unknown, missing or wrong.
    """
    from pydantic import TypeAdapter, ValidationError  # a tenth of a second that few commands need

    try:
        return TypeAdapter(kind).validate_json(json.dumps(_text_keys(content), default=str), strict=True)
    except ValidationError as error:
        known = sorted(getattr(kind, "model_fields", None) or kind.__dataclass_fields__)
        raise Refused(f"{where}{_first_problem(error, known)}") from error


def _text_keys(content: Any) -> Any:
    """Return nested lists and dictionaries with every key as text: YAML has dates and numbers for keys, too."""
    if isinstance(content, dict):
        return {str(key): _text_keys(value) for key, value in content.items()}
    return [_text_keys(item) for item in content] if isinstance(content, list) else content


def from_environment(settings: type[Validated]) -> Validated:
    """Return these pydantic-settings from the environment; raise Refused naming the first variable that is wrong."""
    from pydantic import ValidationError

    try:
        return settings()
    except ValidationError as error:
        raise Refused(f"the environment{_first_problem(error, [], str.upper)}") from error


def _first_problem(error: Any, known: list[str], spelled: Callable[[str], str] = str) -> str:
    """Return the first problem of a ValidationError in words that follow what it is about."""
    problem = error.errors(include_url=False)[0]
    key = spelled(".".join(map(str, problem["loc"])))
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f" has an unknown key {key!r}" + (f": use {', '.join(known)}" if "." not in key else "")
    if problem["type"] in ("missing", "missing_argument"):
        return f" has no {key}: add it"
    if problem["type"] == "value_error":
        return f": {key + ' ' if key else ''}{problem['ctx']['error']}"
    hint = _plain_number(problem["input"]) if problem["type"] in ("float_type", "int_type") else ""
    return f": {key} is {problem['input']!r}, but {problem['msg'][0].lower()}{problem['msg'][1:]}{hint}"


def _plain_number(text: Any) -> str:
    """Return how YAML takes a number that it read as text, such as 1e-3; nothing if it is none."""
    try:
        number = repr(float(text))
    except (TypeError, ValueError):
        return ""
    return f": YAML reads that as text, write {number if '.' in number else number.replace('e', '.0e')}"
