"""Run git in the project's folder."""

from .. import Refused
from .. import git as git


def has_commit(commit: str) -> bool:
    """Return whether this repository has a commit."""
    try:
        git("cat-file", "-e", commit + "^{commit}")
    except Refused:
        return False
    return True
