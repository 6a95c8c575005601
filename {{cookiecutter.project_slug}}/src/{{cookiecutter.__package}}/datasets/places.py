"""Where files are: below the project, at http(s), or in a bucket of S3, GCS or Azure."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pyarrow.fs

RECENT = 2.0  # seconds within which a file may change again without another time
SECONDS = 30  # that a web server may be silent


def is_web(location: str) -> bool:
    """Return whether a location is the address of a web server."""
    return location.startswith(("http://", "https://"))


def is_here(location: str) -> bool:
    """Return whether a location is below the project or elsewhere on this machine."""
    return "://" not in location


def file_name(location: str) -> str:
    """Return the name of a file, without the query of an address."""
    return (urlsplit(location).path if is_web(location) else location).rpartition("/")[2]


def filesystem(location: str, root: Path) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the file system of a location that is not on the web, and the path there."""
    place = (root / location).resolve().as_posix() if is_here(location) else location
    return (pyarrow.fs.LocalFileSystem(), place) if is_here(location) else pyarrow.fs.FileSystem.from_uri(place)


def matches(location: str, root: Path) -> list[str]:
    """Return the location, or those that it matches if its name has a * or ?, sorted."""
    folder, _, name = location.rpartition("/")
    if is_web(location) or not {*name} & {*"*?"}:
        return [location]
    found, base = filesystem(folder or ".", root)
    files = found.get_file_info(pyarrow.fs.FileSelector(base))
    names = sorted(each.base_name for each in files if each.is_file and fnmatch(each.base_name, name))
    return [f"{folder}/{each}" if folder else each for each in names]


@contextmanager
def opened(location: str, root: Path) -> Iterator[Path]:
    """Yield a path on this machine with the content of a file; one from elsewhere is deleted after the block."""
    if is_here(location):
        yield root / location
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name(location)
        with path.open("wb") as copy:
            if is_web(location):
                _download(location, copy)
            else:
                store, key = filesystem(location, root)
                with store.open_input_stream(key) as file:
                    shutil.copyfileobj(file, copy)
        yield path


def _download(location: str, copy: IO[bytes]) -> None:
    """Copy what a web server answers; raise OSError if that is not all it promised."""
    with urlopen(Request(location), timeout=SECONDS) as answer:  # noqa: S310 -- http(s) only
        shutil.copyfileobj(answer, copy)
        promised = int(answer.headers.get("Content-Length") or copy.tell())
    if copy.tell() != promised:
        raise OSError(f"cut off: {copy.tell():,} of {promised:,} bytes")


def state(location: str, root: Path) -> list[tuple]:
    """Return facts that change whenever the files of a location may, without reading them; nothing if there are none.

    For files these are path, size, times and inode, or what else a store knows; for a web server the ETag, or the time
    and size. There are none of files that were written so lately that they may change unnoticed.
    """
    if is_web(location):
        with urlopen(Request(location, method="HEAD"), timeout=SECONDS) as answer:  # noqa: S310 -- http(s) only
            known = [answer.headers.get(name) for name in ("ETag", "Last-Modified", "Content-Length")]
        return [(location, *known)] if known[0] or known[1] else []
    if is_here(location):
        return _local_state([root / each for each in matches(location, root)])
    store, key = filesystem(location, root)
    if {*file_name(key)} & {*"*?"}:
        key = key.rpartition("/")[0]
    info = store.get_file_info(key)
    files = [info] if info.is_file else store.get_file_info(pyarrow.fs.FileSelector(key, recursive=True))
    facts = [(each.path, each.size, each.mtime_ns) for each in files if each.is_file]
    return facts if facts and max(fact[2] or 0 for fact in facts) < (time.time() - RECENT) * 1e9 else []


def _local_state(paths: list[Path]) -> list[tuple]:
    inside = [
        Path(folder) / name for path in paths for folder, _, names in os.walk(path, followlinks=True) for name in names
    ]
    facts = {str(file): file.stat() for file in sorted(inside or paths)}
    if not facts or max(max(fact.st_mtime, fact.st_ctime) for fact in facts.values()) > time.time() - RECENT:
        return []
    return [(name, f.st_size, f.st_mtime_ns, f.st_ctime_ns, f.st_ino) for name, f in facts.items()]
