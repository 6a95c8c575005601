"""Put a merge into the project, so that `git reset --hard` undoes it even if the run is killed half way."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from engine_git import GitError
from keep import list_files
from merge import Merge
from outcome import NAME, Refusal
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
        if os.path.lexists(top / path):
            inside = list_files(top / path) if (top / path).is_dir() else [""]
            if any(f"{path}/{name}".rstrip("/") not in gone for name in inside):
                return f"{path} is there already, git-ignored, and the upgrade brings a file of that name: move it away"
    return None


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


def apply_merge(repository: Repository, merge: Merge, scratch: Path) -> None:
    """Stage the merge and write its files; if that fails half way, restore what was there.

    The index is replaced first, in one step: from then on it names every path that the merge adds, so that
    `git reset --hard` takes back whatever a killed run has left.

    Args:
        repository: The user's repository.
        merge: The merge, of which nothing is in the way.
        scratch: The folder with the merge's new objects.

    Raises:
        Refusal: If it failed; everything is as it was, or the message says which command restores it.
    """
    temporary = repository.folder / NAME
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        copy_objects(repository, scratch, temporary)
        shutil.copy2(repository.folder / "index", temporary / "plain")
        plain = {"GIT_INDEX_FILE": str(temporary / "plain")}
        repository.git("read-tree", "-i", "-m", merge.tree, **plain)
        replace_index(repository, add_conflicts(repository, merge, temporary))
        for path in merge.removed:
            remove_file(repository.top, path)
        paths = "\0".join([*merge.added, *merge.changed])
        repository.git("checkout-index", "-f", "-u", "-z", "--stdin", data=os.fsencode(paths), **plain)
        for path in merge.stages:
            label_markers(repository.top / path, merge.labels)
        replace_index(repository, add_conflicts(repository, merge, temporary))
    except BaseException as error:
        restore(repository, merge, error)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_objects(repository: Repository, scratch: Path, temporary: Path) -> None:
    """Copy the merge's new objects into the repository, each in one step."""
    for source in (scratch / "objects").glob("??/*"):
        target = repository.objects / source.parent.name / source.name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(source, temporary / source.name)
            (temporary / source.name).replace(target)


def add_conflicts(repository: Repository, merge: Merge, temporary: Path) -> Path:
    """Return a copy of the index "plain" in which conflicting paths have their stages instead of a result."""
    index = temporary / "index"
    index.unlink(missing_ok=True)
    shutil.copy2(temporary / "plain", index)
    lines = []
    for path, stages in merge.stages.items():
        lines += [f"0 {'0' * len(merge.tree)}\t{path}\0"]
        lines += [f"{mode} {blob} {stage}\t{path}\0" for mode, blob, stage in stages]
    if lines:
        data = os.fsencode("".join(lines))
        repository.git("update-index", "-z", "--index-info", data=data, GIT_INDEX_FILE=str(index))
    return index


def replace_index(repository: Repository, index: Path) -> None:
    """Replace the repository's index in one step, holding git's own lock.

    Raises:
        GitError: If another git process holds the lock.
    """
    lock = repository.folder / "index.lock"
    try:
        os.link(index, lock)
    except FileExistsError:
        raise GitError(f"{lock} exists: another git process is running") from None
    except OSError:  # a file system without hard links
        with lock.open("xb") as file:
            file.write(index.read_bytes())
    lock.replace(repository.folder / "index")


def remove_file(top: Path, path: str) -> None:
    """Delete a file and the folders it leaves empty."""
    (top / path).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for parent in PurePosixPath(path).parents[:-1]:
            (top / parent).rmdir()


def label_markers(file: Path, labels: dict[str, str]) -> None:
    """Replace the commits in a file's conflict markers by the names of the sides."""
    if file.is_file() and not file.is_symlink():
        content = file.read_bytes()
        for commit, name in labels.items():
            content = re.sub(rb"(?m)^([<>|]{7} )" + commit.encode(), rb"\g<1>" + name.encode(), content)
        file.write_bytes(content)


def restore(repository: Repository, merge: Merge, error: BaseException) -> None:
    """Undo a merge that failed half way.

    Raises:
        Refusal: Always, with the cause; if nothing could be undone, with the command that does it.
    """
    why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    try:
        for path in merge.added:
            remove_file(repository.top, path)
        repository.git("read-tree", "--reset", "-u", "HEAD")
    except (GitError, OSError):
        raise Refusal(
            f"stopped half way ({why}): git reset --hard brings everything back (if the disk is full, make room first)"
        ) from None
    raise Refusal(f"stopped half way ({why}): everything is as it was before") from None
