"""What the three hooks run: check the answers, make a fresh project, hand an existing one to `upgrade`."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from answers import LEVEL, invalid_answer, order_answers, public_answers, recall, stale_answer
from engine_git import IDENTITY, GitError, git, has_commit, run_git
from keep import digest, prune
from outcome import CLEAN, NAME, REFUSED, Refusal
from record import STATE, enclosing_project, make_record, read_state, write_state
from template import ignored_checkout, read_template, root_path, template_address, template_commit
from upgrade import upgrade

RUN = ".ladder-run.json"  # in cookiecutter's temporary copy of the template: what pre_prompt found
# The name pre_prompt gives to the template's root folder: an upgrade is rendered to the project's own folder.
ROOT = "{{cookiecutter._folder if cookiecutter._here else cookiecutter.project_slug}}"


def run_hook(hook: Callable[..., int], copy: Path, *arguments: Any) -> int:
    """Run one hook and return its exit status; unless that is 0, delete cookiecutter's temporary copy.

    Args:
        hook: `pre_prompt`, `pre_gen` or `post_gen`.
        copy: cookiecutter's copy of the template, or the template itself.
        arguments: The hook's other arguments.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # an old Windows console cannot print every name
    try:
        status = hook(copy, *arguments)
    except Refusal as refusal:
        print(f"{NAME}: {refusal}", file=sys.stderr)
        status = REFUSED
    if status and (copy / RUN).exists():
        shutil.rmtree(copy.parent, ignore_errors=True)
    return status


# --- the hooks


def pre_prompt(copy: Path, here: str | None) -> int:
    """Note the template's commit and the user's folder; in a project, make its recorded answers the defaults.

    Args:
        copy: cookiecutter's copy of the template.
        here: The folder cookiecutter was started in, None if the shell does not say.
    """
    run = template_commit(copy) | {"here": here}
    if here and Path(here).is_dir():
        template = read_template(copy)
        state = read_state(Path(here))
        template |= {"_folder": here, "_here": "yes" if state else ""}  # a user may give _here=yes, too
        if state:
            run["stale"] = recall(template, state["template"].get("answers", {}) | state["default_context"])
        (copy / "cookiecutter.json").write_text(json.dumps(template, ensure_ascii=False), "utf-8")
        root_path(copy).rename(copy / ROOT)
    (copy / RUN).write_text(json.dumps(run), "utf-8")
    return CLEAN


def pre_gen(copy: Path, project: Path, context: dict[str, Any]) -> int:
    """Refuse what cannot work; upgrade an existing project here, and let cookiecutter render only a fresh one.

    Args:
        copy: cookiecutter's copy of the template, or the template itself if pre_prompt did not run.
        project: The folder of the project.
        context: The context of cookiecutter.
    """
    run = read_run(copy)
    known = run or {}
    if problem := (
        stale_answer(known.get("stale", {}), context)
        or invalid_answer(context)
        or ignored_checkout(copy, known, context)
        or wrong_place(known, project, context)
    ):
        raise Refusal(problem)
    if is_fresh(project):
        if context.get("_preview"):
            raise Refusal("there is no project here to preview an upgrade of: run it inside one")
        if run:  # the copy is cookiecutter's own: what is not kept need not be rendered
            prune(root_path(copy), read_template(copy), context)
        return CLEAN
    if run is None:
        raise Refusal("this cookiecutter ran no pre_prompt hook: merging needs cookiecutter 2.6 or newer")
    if not run["commit"]:
        raise Refusal(f"merging needs the template at a git commit, but {run['why']}: commit there, or use its address")
    try:
        status = upgrade(copy, project, context, run)
    except (GitError, OSError) as error:
        raise Refusal(f"nothing was changed: {error}") from None
    render_nothing(copy)
    return status


def post_gen(copy: Path, project: Path, context: dict[str, Any]) -> int:
    """Write the record of a fresh project and commit all of it.

    Args:
        copy: cookiecutter's copy of the template, or the template itself if pre_prompt did not run.
        project: The folder of the project.
        context: The context of cookiecutter.
    """
    template, run = read_template(copy), read_run(copy)
    if run is None:  # and so pre_gen did not prune
        run = template_commit(copy)
        prune(project, template, context)
    answers = order_answers(public_answers(context), template)
    record = make_record(run, context, answers, template_address(copy, run, context), digest(project))
    write_state(project, None, record)
    committed = first_commit(project, f"Start from {NAME} {context['_version']}, {context[LEVEL]}")
    command = "uv run just data" if context[LEVEL] == template[LEVEL][0] else "uv run just"
    folder = "" if context.get("_here") else f"  cd {project.name}\n"
    print(f"\n{project.name} is ready ({context[LEVEL]}){committed}.\n{folder}  {command}")
    return CLEAN


# --- cookiecutter's copy of the template


def read_run(copy: Path) -> dict[str, Any] | None:
    """Return what pre_prompt noted, None if it did not run."""
    return json.loads((copy / RUN).read_text("utf-8")) if (copy / RUN).exists() else None


def render_nothing(copy: Path) -> None:
    """Empty the copy of the template, so that cookiecutter neither renders over a project nor runs post_gen."""
    root = root_path(copy)
    shutil.rmtree(root)
    root.mkdir()
    (copy / "hooks" / "post_gen_project.py").unlink()


# --- the user's folder


def wrong_place(run: dict[str, Any], project: Path, context: dict[str, Any]) -> str | None:
    """Return why this run may not write to the project's folder, None if it may.

    Args:
        run: What `pre_prompt` noted.
        project: The folder of the project.
        context: The context of cookiecutter.
    """
    here = Path(run["here"]).resolve() if run.get("here") else None
    output = Path(context["_output_dir"]).resolve()
    if context.get("_here") and output not in (here, here.parent):
        return f"you are in {here}, but -o points to {output}: drop -o, or start outside the project"
    if is_fresh(project):
        outer = enclosing_project(output)
        return outer and f"{output} lies in the project {outer}: to upgrade that one, run this in {outer} itself"
    if here != project.resolve():
        if (project / STATE).exists():
            return f"{project} is a project already: to upgrade it, go there (cd {project}) and run this again"
        return f"{project} exists already: to adopt it, go there (cd {project}) and run this again with _here=yes"
    return None


def is_fresh(project: Path) -> bool:
    """Return whether there is nothing in a folder but, at most, a repository without a commit."""
    if any(path.name != ".git" for path in project.iterdir()):
        return False
    return not (project / ".git").exists() or not has_commit(project)


def first_commit(project: Path, message: str) -> str:
    """Commit a fresh project to a repository of its own.

    Args:
        project: The folder of the project.
        message: The message of the commit.

    Returns:
        The end of a sentence for the user: that it is committed, or why not.
    """
    try:
        if not (project / ".git").exists():
            with contextlib.suppress(GitError):
                outer = git(project.parent, "rev-parse", "--show-toplevel")
                return (
                    f"; it lies inside the repository {outer}: commit it there"
                    " (or, to make that repository the project, delete it and run again there with -f _here=yes)"
                )
            branch = run_git(project, "config", "init.defaultBranch", ok=(0, 1))[1].decode().strip()
            git(project, "init", "-q", f"--initial-branch={branch or 'main'}")
        known = all(run_git(project, "config", f"user.{part}", ok=(0, 1))[1].strip() for part in ("name", "email"))
        git(project, "add", "-A", "-f", ".")
        commit = ("-c", "commit.gpgSign=false", "commit", "-q", "--no-verify", "-m", message)
        git(project, *commit, **({} if known else IDENTITY))
    except GitError as error:
        return f"; it is not committed ({error}): upgrading needs git"
    return ", committed"
