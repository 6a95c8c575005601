"""Put a merge into the project, so that it can be undone even if the run is killed half way."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from engine_git import GitError
from lock import hold_lock, take_over_lock
from merge import Merge
from outcome import NAME, Refusal
from repository import Repository, moved_on
from swap import Swap, begin, check_late_saves, replace_files, saved, undo


def apply_merge(repository: Repository, merge: Merge, scratch: Path) -> None:
    """Stage the merge and write its files; if that fails half way, put back what was there.

    The index is replaced before the files: from then on it names every path that the merge adds, so that
    `git reset --hard` takes back whatever a killed run has left.

    Args:
        repository: The user's repository.
        merge: The merge, of which nothing is in the way.
        scratch: The folder with the merge's new objects.

    Raises:
        Refusal: If something was saved or committed since, or it failed; the message says what is left to do.
    """
    with hold_lock(repository.folder):
        swap = open_swap(repository)
        shutil.rmtree(swap.folder, ignore_errors=True)
        swap.folder.mkdir()
        try:
            copy_objects(repository, scratch, swap.folder)
            prepare(repository, merge, swap)
            begin(swap, merge.added, merge.changed, merge.removed)
            if problem := moved_on(repository):  # after `begin`, so that a later save differs from what that noted
                raise Refusal(problem)
            put_in_place(repository, merge, swap)
        except BaseException as error:
            restore(swap, error)
            raise
        finally:
            shutil.rmtree(swap.folder, ignore_errors=True)


def take_back_killed(repository: Repository) -> None:
    """Undo what an upgrade has left that was killed."""
    with take_over_lock(repository.folder) as killed:
        if killed:
            swap = open_swap(repository)
            undo(swap)
            shutil.rmtree(swap.folder, ignore_errors=True)
            print(f"{NAME}: an upgrade was killed here; what it had done was taken back")


def open_swap(repository: Repository) -> Swap:
    """Return the places for replacing files in a repository."""
    return Swap(repository.top, repository.folder / "index", repository.folder / NAME)


def prepare(repository: Repository, merge: Merge, swap: Swap) -> None:
    """Write the merge's files and its index "plain" to the folder of the swap."""
    shutil.copy2(swap.index, swap.folder / "plain")
    plain = {"GIT_INDEX_FILE": str(swap.folder / "plain")}
    repository.git("read-tree", "-i", "-m", merge.tree, **plain)
    paths = os.fsencode("\0".join([*merge.added, *merge.changed]))
    repository.git("checkout-index", f"--prefix={swap.new}/", "-z", "--stdin", data=paths, **plain)
    for path in merge.stages:
        label_markers(swap.new / path, merge.labels)


def put_in_place(repository: Repository, merge: Merge, swap: Swap) -> None:
    """Replace the index and the files.

    Raises:
        Refusal: If a file was saved meanwhile.
    """
    add_conflicts(repository, merge, swap.folder).replace(swap.index)
    replace_files(swap)
    plain = {"GIT_INDEX_FILE": str(swap.folder / "plain")}
    repository.git("update-index", "-q", "--refresh", ok=(0, 1), **plain)
    if differing := repository.git("diff-files", "--name-only", "-z", **plain):
        unlabelled = [path for path in differing.split("\0")[:-1] if path not in merge.stages]
        if unlabelled:
            raise Refusal(saved(unlabelled[0]))
    index = add_conflicts(repository, merge, swap.folder)
    check_late_saves(swap)
    index.replace(swap.index)


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
    shutil.copy2(temporary / "plain", index)
    lines = []
    for path, stages in merge.stages.items():
        lines += [f"0 {'0' * len(merge.tree)}\t{path}\0"]
        lines += [f"{mode} {blob} {stage}\t{path}\0" for mode, blob, stage in stages]
    if lines:
        data = os.fsencode("".join(lines))
        repository.git("update-index", "-z", "--index-info", data=data, GIT_INDEX_FILE=str(index))
    return index


def label_markers(file: Path, labels: dict[str, str]) -> None:
    """Replace the commits in a file's conflict markers by the names of the sides."""
    if file.is_file() and not file.is_symlink():
        content = file.read_bytes()
        for commit, name in labels.items():
            content = re.sub(rb"(?m)^([<>|]{7,} )" + commit.encode(), rb"\g<1>" + name.encode(), content)
        file.write_bytes(content)


def restore(swap: Swap, error: BaseException) -> None:
    """Undo a merge that failed half way.

    Raises:
        Refusal: If the error is none; with the cause or, if nothing could be undone, the command that does it.
    """
    why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    try:
        undo(swap)
    except (GitError, OSError):
        raise Refusal(
            f"stopped half way ({why}): git reset --hard brings everything back (if the disk is full, make room first)"
        ) from None
    if not isinstance(error, Refusal):
        raise Refusal(f"stopped half way ({why}): everything is as it was before") from None
