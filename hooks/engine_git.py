"""Run git in a way that does not depend on the user's settings and environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from outcome import NAME

KEPT_VARIABLES = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG", "GIT_SSH", "GIT_ASKPASS", "GIT_EXEC_PATH", "GIT_TRACE")
SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.quotePath": "false",
    "core.abbrev": "16",  # of the commits in conflict markers, which get names
    "core.bigFileThreshold": "512m",  # larger ones would go to packs, and not be merged as text
    "merge.renames": "true",
    "merge.directoryRenames": "true",
    "rerere.enabled": "false",
    "submodule.recurse": "false",
    "color.ui": "false",
    "gc.auto": "0",
}
IDENTITY = {  # for commits that need no user.name
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", NAME), ("EMAIL", f"{NAME}@localhost"))
}


class GitError(Exception):
    """A git command failed; the text is the first error that git printed."""


def run_git(
    folder: Path, *arguments: str, ok: tuple[int, ...] = (0,), data: bytes | None = None, **environment: str
) -> tuple[int, bytes]:
    """Run one git command in a folder.

    Args:
        folder: Where to run it.
        arguments: The command and its arguments.
        ok: The exit statuses that are no error.
        data: What to write to its standard input.
        environment: Variables to set for it.

    Returns:
        Its exit status and its standard output.

    Raises:
        GitError: If the status is another one, or git is not installed.
    """
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(KEPT_VARIABLES)
    }
    settings = [item for key, value in SETTINGS.items() for item in ("-c", f"{key}={value}")]
    try:
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=folder,
            input=data if data is not None else b"",
            capture_output=True,
            env=inherited | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | environment,
        )
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    if done.returncode not in ok:
        raise GitError(first_error(done.stderr.decode(errors="replace")) or f"git {arguments[0]} failed")
    return done.returncode, done.stdout


def first_error(printed: str) -> str:
    """Return the first line that git marked as fatal or, if there is none, as an error, or else its first line."""
    lines = [line for line in printed.splitlines() if line.strip()]
    marked = [line for mark in ("fatal:", "error:") for line in lines if line.startswith(mark)]
    return (marked or lines or [""])[0]


def git(folder: Path, *arguments: str, **options: Any) -> str:
    """Return what one git command prints, without the newline at its end; see `run_git`."""
    return os.fsdecode(run_git(folder, *arguments, **options)[1]).removesuffix("\n")


def has_commit(folder: Path) -> bool:
    """Return whether the repository of a folder has a commit at its HEAD."""
    return run_git(folder, "rev-parse", "--quiet", "--verify", "HEAD", ok=(0, 1, 128))[0] == 0
