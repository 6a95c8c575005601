"""git's lock of the index: held while a merge is put in place, and taken over from an upgrade that was killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine_git import GitError
from outcome import NAME

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = "index.lock"
MARK = f"{NAME} puts an upgrade in place. If it was killed, run the upgrade again: it takes back what was done.\n"


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the index, so that no other git process writes to it.

    Args:
        folder: Where git keeps the index.

    Raises:
        GitError: If another process holds it.
    """
    try:
        file = (folder / LOCK).open("xb")
    except FileExistsError:
        raise GitError(f"{folder / LOCK} exists: another git process is running") from None
    try:
        hold_file(file)
        file.write(MARK.encode())
        file.flush()
        yield
    finally:
        release(folder, file)


@contextlib.contextmanager
def take_over_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock that a killed upgrade left, and remove it; yield whether there is such a lock.

    Args:
        folder: Where git keeps the index.
    """
    try:
        file = (folder / LOCK).open("r+b")
    except OSError:
        yield False
        return
    if file.read() != MARK.encode() or not hold_file(file):
        file.close()
        yield False
        return
    yield True
    release(folder, file)


def is_upgrade_lock(folder: Path) -> bool:
    """Return whether an upgrade, running or killed, has locked the index."""
    with contextlib.suppress(OSError):
        return (folder / LOCK).read_bytes() == MARK.encode()
    return False


def hold_file(file: BinaryIO) -> bool:
    """Take the operating system's lock of an open file, which ends with the process; return whether it was free."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def release(folder: Path, file: BinaryIO) -> None:
    """Remove the lock; it is emptied first, so that nobody takes it over meanwhile."""
    with contextlib.suppress(OSError):
        file.truncate(0)
    file.close()  # Windows deletes no open file
    (folder / LOCK).unlink(missing_ok=True)
