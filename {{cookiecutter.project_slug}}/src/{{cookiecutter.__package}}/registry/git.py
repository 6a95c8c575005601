"""Run git in the project's folder."""

import os
import subprocess

from .. import ROOT, Refused


def git(*arguments: str, **environment: str) -> bytes:
    """Return the output of a git command; raise Refused with git's own reason if it fails.

    Args:
        arguments: Of git, without a shell.
        environment: Variables for this command only, such as GIT_INDEX_FILE.
    """
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True)
    except FileNotFoundError as error:
        raise Refused("git is not installed here") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"status {done.returncode}"]
        named = [word for before, word in zip(("", *arguments), arguments, strict=False) if before not in ("-C", "-c")]
        command = next(word for word in named if word not in ("-C", "-c"))
        raise Refused(f"git {command} fails: {reason[-1]}")
    return done.stdout


def has_commit(commit: str) -> bool:
    """Return whether this repository has a commit."""
    try:
        git("cat-file", "-e", commit + "^{commit}")
    except Refused:
        return False
    return True
