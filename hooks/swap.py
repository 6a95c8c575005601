"""Replace files of the working tree so that no save of the user's is lost, whenever it comes.

Each file is moved aside and compared with what was merged; the new one is put only where there is none. What was done
is noted beforehand in a folder of git's own, from which it can be undone, also after the process was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from outcome import Refusal


@dataclass(frozen=True)
class Swap:
    """Where files are replaced, and where that is noted."""

    top: Path  # of the working tree
    index: Path  # the repository's own
    folder: Path  # with the new files in "new", those they replace in "old", and the notes

    @property
    def new(self) -> Path:
        return self.folder / "new"

    @property
    def old(self) -> Path:
        return self.folder / "old"

    @property
    def notes(self) -> Path:
        return self.folder / "notes.json"

    @property
    def index_before(self) -> Path:
        return self.folder / "index-before"


def begin(swap: Swap, added: list[str], changed: list[str], removed: list[str]) -> None:
    """Note what is going to be replaced, by the files that are in the folder "new"."""
    shutil.copy2(swap.index, swap.index_before)
    new = {path: describe_file(swap.new / path) for path in added + changed}
    notes = {"new": new, "old": {path: describe_file(swap.top / path) for path in changed + removed}}
    swap.notes.write_text(json.dumps(notes), "utf-8")


def replace_files(swap: Swap) -> None:
    """Move the old files aside and the new ones to their place.

    Raises:
        Refusal: If a file is not the one that `begin` noted.
    """
    notes = read_notes(swap)
    for path, noted in notes["old"].items():
        if path not in notes["new"]:
            set_aside(swap, path, noted)
            remove_empty_folders(swap.top, path)
    for path in notes["new"]:
        if path in notes["old"]:
            set_aside(swap, path, notes["old"][path])
        elif (swap.top / path).is_dir():
            remove_empty_tree(swap.top / path)
        try:
            put(swap.new / path, swap.top / path)
        except FileExistsError:
            raise Refusal(saved(path)) from None


def check_late_saves(swap: Swap) -> None:
    """Compare the old files once more: a program may have had one open when it was moved.

    Raises:
        Refusal: If one was written to.
    """
    for path, noted in read_notes(swap)["old"].items():
        if describe_file(swap.old / path) != noted:
            raise Refusal(saved(path))


def undo(swap: Swap) -> None:
    """Put everything back but what the user saved since, from the notes alone."""
    if not swap.notes.exists():
        return
    notes = read_notes(swap)
    for path, noted in notes["new"].items():
        take_back(swap, path, noted, replaced=path in notes["old"])
    for path in notes["old"]:
        if os.path.lexists(swap.old / path):
            with contextlib.suppress(FileExistsError):
                put(swap.old / path, swap.top / path)
    swap.index_before.replace(swap.index)


def take_back(swap: Swap, path: str, noted: str, *, replaced: bool) -> None:
    """Remove a new file from its place, if it is there and not the user's by now."""
    source, target = swap.new / path, swap.top / path
    if describe_file(target) != noted or not (replaced or is_placed(source, target)):
        return
    source.unlink(missing_ok=True)
    source.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(target, source)
    if describe_file(source) != noted:  # saved at this very moment
        put(source, target)
    remove_empty_folders(swap.top, path)


def is_placed(source: Path, target: Path) -> bool:
    """Return whether the file at a place is the one that was moved there, not another of the same content."""
    return not os.path.lexists(source) or os.path.samestat(source.lstat(), target.lstat())


def set_aside(swap: Swap, path: str, noted: str) -> None:
    """Move a file aside.

    Raises:
        Refusal: If it is not the one that was noted.
    """
    aside = swap.old / path
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.move(swap.top / path, aside)
    except FileNotFoundError:
        raise Refusal(saved(path)) from None
    if describe_file(aside) != noted:
        raise Refusal(saved(path))


def put(source: Path, target: Path) -> None:
    """Move a file to a place where there is nothing.

    Raises:
        FileExistsError: If there is something.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(source.readlink())
    elif source.is_dir():  # the user made it in place of a file
        target.mkdir()
        source.replace(target)
        return
    else:
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with source.open("rb") as old, target.open("xb") as new:
                shutil.copyfileobj(old, new)
            shutil.copystat(source, target)
    source.unlink()


def read_notes(swap: Swap) -> dict[str, dict[str, str]]:
    """Return what `begin` noted: the descriptions of the new and the old files, by path."""
    return json.loads(swap.notes.read_text("utf-8"))


def describe_file(path: Path) -> str:
    """Return the kind and the hash of a file or a link, "" if there is none."""
    if path.is_symlink():
        return f"link {path.readlink()}"
    if not path.is_file():
        return ""
    kind = "executable" if path.stat().st_mode & 0o100 else "file"
    return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def remove_empty_folders(top: Path, path: str) -> None:
    """Delete the folders on the way to a path that are empty."""
    with contextlib.suppress(OSError):
        for parent in PurePosixPath(path).parents[:-1]:
            (top / parent).rmdir()


def remove_empty_tree(folder: Path) -> None:
    """Delete a folder that has nothing but folders in it."""
    for root, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(root).rmdir()


def saved(path: str) -> str:
    """Return why an upgrade stops at a file."""
    return f"{path} was saved while the upgrade ran, and is as you saved it; nothing was changed: commit, and run again"
