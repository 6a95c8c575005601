"""What on the disk is in the way of a merge: folders that are none, git-ignored files, missing rights and space."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from merge import Merge
from repository import Repository


def blocked_path(repository: Repository, merge: Merge) -> str | None:
    """Return what on the disk the merge would overwrite or cannot write to, None if nothing is in its way."""
    return (
        blocked_folder(repository.top, merge)
        or ignored_file(repository.top, merge)
        or unwritable_path(repository.top, merge)
    )


def blocked_folder(top: Path, merge: Merge) -> str | None:
    """Return why a folder that the merge needs is none, None if all are there or can be made."""
    for path in merge.added + merge.changed:
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if (top / parent).is_symlink():
                return f"{parent} is a link to another place, and {path} would have to go there: make it a folder first"
            if (top / parent).is_file() and str(parent) not in merge.removed:
                return f"{parent} is a git-ignored file, and {path} needs a folder there: move it away, and run again"
    return None


def ignored_file(top: Path, merge: Merge) -> str | None:
    """Return which git-ignored file is where the merge adds one, None if there is none."""
    gone = set(merge.removed)
    for path in merge.added:
        if os.path.lexists(top / path) and any(file not in gone for file in files_at(top, path)):
            return f"{path} is there already, git-ignored, and the upgrade brings a file of that name: move it away"
    return None


def files_at(top: Path, path: str) -> list[str]:
    """Return a path if it is a file or a link, else all files below it, those of a nested repository included."""
    if (top / path).is_symlink() or not (top / path).is_dir():
        return [path]
    return [
        (Path(root) / name).relative_to(top).as_posix()
        for root, folders, names in os.walk(top / path)
        for name in [*names, *(folder for folder in folders if (Path(root) / folder).is_symlink())]
    ]


def unwritable_path(top: Path, merge: Merge) -> str | None:
    """Return which file or folder the merge has to write to but may not, None if it may write to all."""
    for path in merge.added + merge.changed + merge.removed:
        folder = next(parent for parent in (top / path).parents if parent.exists())
        for place in (folder, top / path):
            if place.exists() and not place.is_symlink() and not os.access(place, os.W_OK):
                return f"{place} cannot be written to: make it writable, and run again"
    return None


def space_needed(folder: Path) -> int:
    """Return the bytes it takes to write a folder's files three times, with 4 KB for each file."""
    return sum(3 * path.stat().st_size + 4096 for path in folder.rglob("*") if path.is_file())


def missing_space(folder: Path, needed: int) -> str | None:
    """Return that the disk of a folder has fewer bytes free than are needed, None if it has enough."""
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return f"the disk of {folder} is too full: {needed // 1024 + 1} KB are needed, {free // 1024} KB are free"
