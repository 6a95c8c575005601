"""Answer requests that arrive while a model predicts together, by its next call; one alone waits for nothing."""

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits

from .served_version import QUICK_ROWS, Answer, Records, ServedVersion

LARGE = 500  # rows from which on a request is answered by itself, so that small ones do not wait for it
MOST = 2000  # rows in a call

Waiting = tuple[ServedVersion, Records, asyncio.Future]


class Answers:
    """Answer requests to one model: small plain ones together, any other by itself.

    No thread asks the numeric libraries for further ones: as many as there are cores work at the same time.
    """

    def __init__(self) -> None:
        self._alone = ThreadPoolExecutor(os.cpu_count(), "alone", threadpool_limits, (1,))
        self._together = ThreadPoolExecutor(1, "together", threadpool_limits, (1,))
        self._waiting: deque[Waiting] = deque()
        self._working = False

    async def answer(self, served: ServedVersion, records: Records) -> Answer:
        """Return the answer to a request; raise BadRows, or whatever else the model raises for it."""
        loop = asyncio.get_running_loop()
        if served.reader and len(records) < LARGE and (found := await self._answer_together(loop, served, records)):
            return found
        return await loop.run_in_executor(self._alone, served.answer_alone, records)

    def _answer_together(
        self, loop: asyncio.AbstractEventLoop, served: ServedVersion, records: Records
    ) -> asyncio.Future:
        """Let the next call answer these rows too; its answer is None if they have to be answered alone."""
        future = loop.create_future()
        self._waiting.append((served, records, future))
        if not self._working:
            self._working = True
            loop.call_soon(self._start, loop)  # after what else has arrived by now was taken in
        return future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what waits for the same version: at once if that is quick, else in a thread."""
        served, batch, count = self._waiting[0][0], [], 0
        while self._waiting and self._waiting[0][0] is served and (not batch or count < MOST):
            batch.append(self._waiting.popleft())
            count += len(batch[-1][1])
        requests = [records for _, records, _ in batch]
        if served.is_quick and count <= QUICK_ROWS:
            self._finish(loop, batch, _answers(served, requests))
            return
        call = self._together.submit(_answers, served, requests)
        call.add_done_callback(lambda call: loop.call_soon_threadsafe(self._finish, loop, batch, call.result()))

    def _finish(self, loop: asyncio.AbstractEventLoop, batch: list[Waiting], answers: list[Answer | None]) -> None:
        """Hand out the answers, and go on with what has arrived meanwhile."""
        self._working = bool(self._waiting)
        if self._waiting:
            loop.call_soon(self._start, loop)
        for (_, _, future), answer in zip(batch, answers, strict=True):
            if not future.done():  # else the client is gone
                future.set_result(answer)


def _answers(served: ServedVersion, requests: list[Records]) -> list[Answer | None]:
    """Return the answers to several requests; None for each if one of them fails: asked alone, it says why."""
    try:
        return served.answer_together(requests)
    except Exception:
        return [None] * len(requests)
