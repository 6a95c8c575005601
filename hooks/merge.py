"""Merge BASE, NEW and HEAD into one tree, in a temporary folder outside the project."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from engine_git import IDENTITY, git, run_git
from keep import list_files
from outcome import Refusal
from repository import Repository

OWN = re.compile(r"src/[^/]+/data\.py|data/catalog\.yaml")  # the team's: what the template has there is but a sample
ALIKE = "10%"  # of a deleted file that a new one has, so that it is named as the place to look at


@dataclass
class Merge:
    """The result of a merge, none of which is in the project yet."""

    tree: str
    labels: dict[str, str] = field(default_factory=dict)  # commit -> the name of that side
    stages: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)  # conflicting path -> mode, blob, stage
    messages: dict[str, list[str]] = field(default_factory=dict)  # path -> what git says of it
    kinds: dict[str, set[str]] = field(default_factory=dict)  # path -> the kinds of conflict it is part of
    successors: dict[str, str] = field(default_factory=dict)  # conflicting path that NEW lacks -> the file most like it
    kept: list[str] = field(default_factory=list)  # files of the team's own that stay as they are
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def merge_trees(repository: Repository, base: Path, new: Path, scratch: Path, theirs: str) -> Merge:
    """Merge what changed from BASE to NEW into HEAD.

    Args:
        repository: The user's repository; nothing is written to it.
        base: The folder of BASE, which is moved.
        new: The folder of NEW, which is moved.
        scratch: A temporary folder; the new objects of the merge are left in its folder "objects".
        theirs: The name of NEW's side in conflicts.

    Raises:
        Refusal: If git is too old, or the template changes files that a submodule has the place of.
    """
    refuse_in_submodules(repository, base, new)
    store = object_store(repository, scratch)
    trees = {"yours": f"{repository.head}^{{tree}}"}
    for name, folder in (("base", base), ("new", new)):
        worktree = scratch / f"{name}-tree"
        (worktree / repository.prefix).parent.mkdir(parents=True, exist_ok=True)
        folder.rename(worktree / repository.prefix)
        trees[name] = write_tree(repository, worktree, scratch / "index", store)
    before = repository.git("commit-tree", "-m", "base", trees["base"], **IDENTITY, **store)
    yours, other = (
        repository.git("commit-tree", "-p", before, "-m", name, trees[name], **IDENTITY, **store)[:16]
        for name in ("yours", "new")
    )
    status, output = run_git(repository.top, "merge-tree", "--write-tree", "-z", yours, other, ok=(0, 1, 129), **store)
    if status == 129:
        raise Refusal(f"git 2.38 or newer is needed to merge, this is {git(repository.top, 'version')}")
    labels = {yours: "yours", other: theirs, before[:16]: "before"}
    described = label_paths(repository, os.fsdecode(output), labels, scratch / "labelled", store)
    merge = parse_merge(described, labels)
    keep_own(repository, merge, scratch / "own", store)
    find_successors(repository, merge, trees, store)
    list_changes(repository, merge, store)
    return merge


def refuse_in_submodules(repository: Repository, base: Path, new: Path) -> None:
    """Refuse to merge where a submodule of the user's has the place of files that the template adds or changes.

    Those it leaves as they were are of no matter: the user has deleted them.

    Raises:
        Refusal: If there is such a file.
    """
    entries = repository.git("ls-tree", "-r", "-z", "--full-tree", repository.head).split("\0")[:-1]
    for place in (entry.split("\t", 1)[1] for entry in entries if entry.startswith("160000")):
        if not place.startswith(repository.prefix):
            continue
        inside = place.removeprefix(repository.prefix)
        for path in list_files(new):
            if f"{path}/".startswith(f"{inside}/") and not same_file(base / path, new / path):
                raise Refusal(
                    f"{place} is a submodule, and the template brings {path}: move the submodule, and run again"
                )


def same_file(one: Path, other: Path) -> bool:
    """Return whether two files have the same content."""
    return one.is_file() and one.read_bytes() == other.read_bytes()


def object_store(repository: Repository, scratch: Path) -> dict[str, str]:
    """Return the environment in which git reads the repository's objects and writes new ones to the scratch folder."""
    (scratch / "objects").mkdir()
    objects = str(repository.objects)
    if os.pathsep in objects:
        objects = '"' + objects.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return {"GIT_OBJECT_DIRECTORY": str(scratch / "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}


def write_tree(repository: Repository, worktree: Path, index: Path, store: dict[str, str]) -> str:
    """Return HEAD's tree with the project's folder replaced by that of another working tree.

    Files are removed from the index after the others were added: the repository's `.gitattributes` are read from there.

    Args:
        repository: The user's repository.
        worktree: The other working tree.
        index: A temporary index.
        store: What `object_store` returned.
    """
    where = {
        "GIT_DIR": str(repository.folder),
        "GIT_WORK_TREE": str(worktree),
        "GIT_INDEX_FILE": str(index),
        "GIT_LITERAL_PATHSPECS": "1",
    } | store
    settings = ["-c", "core.safecrlf=false"]
    if os.name != "nt":
        settings += ["-c", "core.fileMode=true"]
    place = repository.prefix or "."
    git(worktree, "read-tree", "HEAD", **where)
    git(worktree, *settings, "add", "--ignore-removal", "-f", "--", place, **where)
    gone = run_git(worktree, "ls-files", "--deleted", "-z", "--", place, **where)[1]
    git(worktree, "update-index", "--force-remove", "-z", "--stdin", data=gone, **where)
    return git(worktree, "write-tree", **where)


def label_paths(
    repository: Repository, described: str, labels: dict[str, str], index: Path, store: dict[str, str]
) -> str:
    """Rename the paths in which git put the commit of a side, such as path~1f3c: to path~yours.

    git makes such a path where a file and a folder, or a file and a link, have the same one.

    Args:
        repository: The user's repository.
        described: What `git merge-tree -z` printed, the tree first.
        labels: The names of the sides, by their commits.
        index: A temporary index.
        store: What `object_store` returned.

    Returns:
        The same with the new names, numbered if they are in use, and a tree that has them.
    """
    if not any(f"~{commit}" in described for commit in labels):
        return described
    tree = described.partition("\0")[0]
    listed = repository.git("ls-tree", "-r", "-z", tree, **store)
    renamed = described
    for commit, name in labels.items():
        label = f"~{name.replace(' ', '-')}"
        number = next(number for number in itertools.count(1) if f"{label}{number}" not in listed)
        label += str(number) if label in listed else ""
        renamed, listed = (text.replace(f"~{commit}", label) for text in (renamed, listed))
    where = {"GIT_INDEX_FILE": str(index)} | store
    repository.git("update-index", "-z", "--index-info", data=os.fsencode(listed), **where)
    return repository.git("write-tree", **where) + renamed.removeprefix(tree)


def parse_merge(described: str, labels: dict[str, str]) -> Merge:
    """Return the merge that `git merge-tree -z` printed, with the names of the sides in place of their commits."""
    tree, *parts = described.split("\0")
    merge = Merge(tree, labels)
    fields = iter(parts)
    for line in fields:
        if not line:
            break
        about, path = line.split("\t", 1)
        mode, blob, stage = about.split(" ")
        merge.stages.setdefault(path, []).append((mode, blob, stage))
    for count in fields:
        if not count:
            break
        paths = [next(fields) for _ in range(int(count))]
        kind, message = next(fields), next(fields).strip()
        if kind.startswith("CONFLICT"):
            for commit, name in labels.items():
                message = message.replace(commit, name)
            for path in paths:
                merge.messages.setdefault(path, []).append(message)
                merge.kinds.setdefault(path, set()).add(kind.removeprefix("CONFLICT (").rstrip(")"))
    return merge


def keep_own(repository: Repository, merge: Merge, index: Path, store: dict[str, str]) -> None:
    """Settle conflicts in the team's own files in favour of the team, in the merge itself.

    Args:
        repository: The user's repository.
        merge: The merge, whose tree, stages and kept files are set.
        index: A temporary index.
        store: What `object_store` returned.
    """
    entries, gone = [], f"0 {'0' * len(merge.tree)}"
    for path, stages in merge.stages.items():
        found = {stage: f"{mode} {blob}" for mode, blob, stage in stages}
        if OWN.fullmatch(path.removeprefix(repository.prefix)) and "1" in found:
            entries.append(f"{found.get('2', gone)}\t{path}\0")
            merge.kept.append(path)
    if entries:
        where = {"GIT_INDEX_FILE": str(index)} | store
        repository.git("read-tree", merge.tree, **where)
        repository.git("update-index", "-z", "--index-info", data=os.fsencode("".join(entries)), **where)
        merge.tree = repository.git("write-tree", **where)
        merge.stages = {path: stages for path, stages in merge.stages.items() if path not in merge.kept}


def find_successors(repository: Repository, merge: Merge, trees: dict[str, str], store: dict[str, str]) -> None:
    """Note where NEW has what it deleted, for files that the user changed: too little is left for git to follow it.

    Args:
        repository: The user's repository.
        merge: The merge, whose successors are set.
        trees: The trees of BASE and NEW, as "base" and "new".
        store: What `object_store` returned.
    """
    if any("modify/delete" in kinds for kinds in merge.kinds.values()):
        asked = ("diff-tree", "-r", "-z", "--name-status", f"--find-renames={ALIKE}", "--diff-filter=R")
        parts = repository.git(*asked, trees["base"], trees["new"], **store).split("\0")
        found = dict(zip(parts[1::3], parts[2::3], strict=False))
        merge.successors = {path: found[path] for path in merge.stages if path in found}


def list_changes(repository: Repository, merge: Merge, store: dict[str, str]) -> None:
    """List the paths that the merge adds, changes and removes, in the merge itself."""
    raw = repository.git("diff-tree", "-r", "-z", "--raw", "--no-renames", repository.head, merge.tree, **store)
    parts = raw.split("\0")[:-1]
    for line, path in zip(parts[::2], parts[1::2], strict=True):
        {"A": merge.added, "D": merge.removed}.get(line[-1], merge.changed).append(path)
