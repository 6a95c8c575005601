"""The template of this run: its folder, its commit and its address."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine_git import GitError, git, run_git
from record import read_state


def read_template(folder: Path) -> dict[str, Any]:
    """Return a template's cookiecutter.json."""
    return json.loads((folder / "cookiecutter.json").read_text("utf-8"))


def root_folder(names: Iterable[str]) -> str:
    """Return the name of the template's folder that becomes the project."""
    return next(name for name in names if "cookiecutter" in name and "{{" in name and "}}" in name)


def root_path(copy: Path) -> Path:
    """Return the folder of a template that becomes the project."""
    return copy / root_folder(path.name for path in copy.iterdir())


def template_commit(copy: Path) -> dict[str, Any]:
    """Return the commit a template is checked out at: {"commit": its hash}, or {"commit": None, "why": a reason}."""
    if not (copy / ".git").exists():
        return {"commit": None, "why": "the template is not a git repository"}
    try:
        commit = git(copy, "rev-parse", "HEAD")
        paths = [f":(literal){path}" for path in (root_path(copy).name, "cookiecutter.json")]
        changed = git(copy, "status", "--porcelain", "--ignored", "--untracked-files=all", "--", *paths)
    except GitError as error:
        return {"commit": None, "why": f"the template's commit could not be read ({error})"}
    if changed:
        first = changed.split(maxsplit=1)[1].splitlines()[0]
        return {"commit": None, "why": f"the template has uncommitted changes ({first})"}
    return {"commit": commit}


def template_address(copy: Path, run: dict[str, Any], context: dict[str, Any]) -> str:
    """Return where the template can be had again: an absolute path, or the address of its clone.

    Args:
        copy: cookiecutter's copy of the template.
        run: What the pre_prompt hook found; "here" is the folder cookiecutter was started in.
        context: The context of cookiecutter; "_template" is the address as it was typed.
    """
    typed = context.get("_template", "")
    state = read_state(Path(run["here"])) if run.get("here") else None
    if state:
        typed = state.get("abbreviations", {}).get(typed, typed)
    local = Path(run.get("here") or ".", typed)
    if (local / "cookiecutter.json").is_file() or (typed.endswith(".zip") and local.is_file()):
        return str(local.resolve())
    if (copy / ".git").exists():
        with contextlib.suppress(GitError):
            return git(copy, "remote", "get-url", "origin")
    return typed


def ignored_checkout(copy: Path, run: dict[str, Any], context: dict[str, Any]) -> str | None:
    """Return why `-c` had no effect, None if it had one or was not given: cookiecutter ignores it for a local path."""
    asked = context.get("_checkout")
    if not asked or not run.get("commit"):
        return None
    status, found = run_git(copy, "rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}", ok=(0, 1, 128))
    if status == 0 and found.decode().strip() != run["commit"]:
        return f"a local template is taken as it stands, and its HEAD is not {asked}: check out {asked} there first"
    return None
