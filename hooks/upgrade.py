"""Upgrade an existing project: a three-way merge of BASE, NEW and HEAD, with git as the engine.

BASE (the template and the answers the project was made with) and NEW (today's) are rendered into temporary folders and
merged with HEAD as trees, outside the project. Only if nothing is in the way are the new index and the changed files
put into the project, so that `git reset --hard` undoes all of it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from answers import order_answers, public_answers
from apply import apply_merge, take_back_killed
from blocked import blocked_path, missing_space, space_needed
from engine_git import git
from keep import digest
from merge import merge_trees
from outcome import CLEAN, CONFLICTS, NAME, Refusal
from record import STATE, make_record, read_state, write_state
from render import render_base, render_new
from report import describe, report
from repository import locked_index, open_repository, uncommitted_work
from template import template_address


def upgrade(copy: Path, project: Path, context: dict[str, Any], run: dict[str, Any]) -> int:
    """Merge today's template into a project, or print what that would do.

    Args:
        copy: cookiecutter's copy of the template.
        project: The folder of the project.
        context: The context of cookiecutter; with "_preview" nothing is changed.
        run: What pre_prompt noted: the template's commit, which it must have, and the folder of the user.

    Returns:
        The exit status: CLEAN, or CONFLICTS if there are some to settle.

    Raises:
        Refusal: If an upgrade is not possible or could not be undone.
    """
    preview = bool(context.get("_preview"))
    repository = open_repository(project)
    if not preview:
        take_back_killed(repository)
    problem = locked_index(repository) or uncommitted_work(repository)
    if problem and not preview:
        raise Refusal(problem)
    state = read_state(project)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder).resolve()
        new, record = render_today(copy, context, run, scratch)
        if state and state["template"] == record and state["default_context"] == record["answers"]:
            print(f"{NAME}: nothing to do, this is {describe(record)} already")
            return CLEAN
        needed = space_needed(new)
        write_state(new, state, record)
        base = render_recorded(copy, project, state, scratch)
        merge = merge_trees(repository, base, new, scratch, f"{NAME} {context['_version']}")
        problem = problem or blocked_path(repository, merge) or missing_space(repository.top, needed)
        if not preview:
            if problem:
                raise Refusal(problem)
            apply_merge(repository, merge, scratch)
    tell(report(merge, state, record, preview))
    if preview:
        tell(f"An upgrade now would be refused: {problem}." if problem else "Nothing was changed.")
    return CONFLICTS if merge.stages and not preview else CLEAN


def render_today(
    copy: Path, context: dict[str, Any], run: dict[str, Any], scratch: Path
) -> tuple[Path, dict[str, Any]]:
    """Return the folder of NEW, without a state file, and its record; for the arguments see `upgrade`."""
    template = json.loads(git(copy, "show", f"{run['commit']}:cookiecutter.json"))  # the copy's own was changed
    answers = order_answers(public_answers(context), template)
    new = render_new(copy, run["commit"], answers, scratch / "new")
    return new, make_record(run, context, answers, template_address(copy, run, context), digest(new))


def render_recorded(copy: Path, project: Path, state: dict[str, Any] | None, scratch: Path) -> Path:
    """Return the folder of BASE with the project's state file, an empty one for a project without a state."""
    if not state:
        (scratch / "empty").mkdir()
        return scratch / "empty"
    base = render_base(copy, state["template"], scratch / "base")
    shutil.copyfile(project / STATE, base / STATE)
    return base


def tell(text: str) -> None:
    """Print a text; nobody reading it any more (`| head -1`) is no error: the merge is in place by then."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
