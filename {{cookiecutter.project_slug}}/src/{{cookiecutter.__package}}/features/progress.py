"""Say what a long fit is doing; a fast one says nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer

LONG = 10.0  # seconds after which a fit says what it is doing
_current: ContextVar["_Watch | None"] = ContextVar("current", default=None)


class _Watch:
    """A piece of work: when it began, and what it is doing now."""

    def __init__(self) -> None:
        self.start, self.part = time.monotonic(), ""

    def say(self) -> None:
        if self.part:
            print(f"  {time.monotonic() - self.start:.0f} s: {self.part}", flush=True)


@contextmanager
def watched() -> Iterator[None]:
    """Let `progress` print inside the block: after LONG seconds what is being done, and from then on every change."""
    watch = _Watch()
    timer = Timer(LONG, watch.say)
    timer.daemon = True
    token = _current.set(watch)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _current.reset(token)


def progress(part: str) -> None:
    """Say which part of the work begins, if the work takes long and somebody watches it."""
    if watch := _current.get():
        watch.part = part
        if time.monotonic() - watch.start > LONG:
            watch.say()
