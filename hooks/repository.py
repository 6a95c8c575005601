"""The user's repository: where it is, and whether an upgrade of it can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_git import git, run_git
from lock import LOCK, is_upgrade_lock
from outcome import Refusal

UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "sequencer": "cherry-pick",
    "BISECT_LOG": "bisect",
}


@dataclass(frozen=True)
class Repository:
    """A repository with a project in it."""

    top: Path
    prefix: str  # of the project in the repository: "" or "packages/churn/"
    folder: Path  # where git keeps this working tree's index
    objects: Path
    head: str

    def git(self, *arguments: str, **options: Any) -> str:
        """Return what a git command prints that is run at the top of the working tree."""
        return git(self.top, *arguments, **options)


def open_repository(project: Path) -> Repository:
    """Return the repository that a project lies in.

    Raises:
        Refusal: If there is none, it has no commit, or it ignores the project.
    """
    if not any((parent / ".git").exists() for parent in (project, *project.parents)):
        raise Refusal(f"{project} is not in a git repository: git init, commit what there is, and run again")
    if "\n" in str(project):
        raise Refusal("the path of the project has a line break in it: rename the folder, and run again")
    paths = ("--git-path", "objects")
    top, prefix, folder, objects = git(
        project, "rev-parse", "--show-toplevel", "--show-prefix", "--absolute-git-dir", *paths
    ).split("\n")
    status, head = run_git(project, "rev-parse", "--quiet", "--verify", "HEAD", ok=(0, 1))
    if status:
        raise Refusal("the repository has files but no commit yet: commit what there is, and run again")
    if prefix and run_git(project, "check-ignore", "-q", ".", ok=(0, 1))[0] == 0:
        raise Refusal(f"the repository {top} ignores this folder: take it out of its .gitignore, commit, and run again")
    return Repository(Path(top), prefix, Path(folder), (project / objects).resolve(), head.decode().strip())


def locked_index(repository: Repository) -> str | None:
    """Return why the index cannot be written to, None if it can."""
    lock = repository.folder / LOCK
    if not lock.exists():
        return None
    if is_upgrade_lock(repository.folder):
        return f"an upgrade is running here, or was killed and left {lock}: docs/upgrading.md, After a crash"
    return f"another git process is running, or was killed: if none is running, delete {lock}, and run again"


def uncommitted_work(repository: Repository) -> str | None:
    """Return why `git reset --hard` could not bring back all that is here now, None if it could."""
    for name, what in UNFINISHED.items():
        if (repository.folder / name).exists():
            return f"a {what} is in progress: finish it, or git {what} {'reset' if what == 'bisect' else '--abort'}"
    asked = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=none")
    changed = repository.git(*asked).split("\0")[:-1]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"there are changes that are not committed ({changed[0][3:]}{more}): commit or stash them, and run again"
    for line in repository.git("ls-files", "-v", "-z").split("\0"):
        if line[:1] == "S" or line[:1].islower():
            flag, path = "skip-worktree" if line[:1] in "Ss" else "assume-unchanged", line[2:]
            if run_git(repository.top, "config", "--bool", "core.sparseCheckout", ok=(0, 1))[1] == b"true\n":
                return f"this is a sparse checkout, without {path}: git sparse-checkout disable, and run again"
            return f"git is told not to look at {path}: git update-index --no-{flag} {path}, and run again"
    return None


def moved_on(repository: Repository) -> str | None:
    """Return what the user did since the repository was opened that the merge does not know, None if nothing."""
    head = repository.git("rev-parse", "HEAD")
    if head != repository.head:
        return f"HEAD moved to {head[:12]} while the upgrade ran, nothing was changed: run it again"
    return uncommitted_work(repository)
