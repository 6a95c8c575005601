"""Which files of the template belong to the answers.

The template holds the files of all answers. `_adds` in its cookiecutter.json lists the paths that an answer adds, and
a file `name.<problem>.ext` is kept for that problem only, as `name.ext`. The other problems that `_also` names add
their listed paths only. Old versions of the template are read here, too, so the format of `_adds` may only be extended.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from answers import LEVEL, PROBLEM, other_problems


def chosen_answers(template: dict[str, Any], context: dict[str, Any], question: str) -> set[str]:
    """Return the answers whose paths are kept: the one given; for the level, all before it; the other problems too."""
    answer = context[question]
    if question == LEVEL:
        levels = template[LEVEL]
        return set(levels[: levels.index(answer) + 1])
    return {answer, *(other_problems(context) if question == PROBLEM else [])}


def final_name(path: str, problems: Iterable[str]) -> tuple[str, str | None]:
    """Return a file's path without the problem in its name, and that problem: a/name.<problem>.ext is a/name.ext."""
    first, *parts = PurePosixPath(path).name.split(".")
    problem = next((part for part in parts if part in problems), None)
    if problem is None:
        return path, None
    parts.remove(problem)
    return str(PurePosixPath(path).with_name(".".join([first, *parts]))), problem


def expand_variables(path: str, context: dict[str, Any]) -> str:
    """Return a path of the template with the values of its variables."""
    return re.sub(r"\{\{\s*cookiecutter\.(\w+)\s*\}\}", lambda found: str(context[found[1]]), path)


def select_files(files: Iterable[str], template: dict[str, Any], context: dict[str, Any]) -> dict[str, str]:
    """Select the files that belong to the answers.

    Args:
        files: The paths of all files in the template's folder, rendered or not.
        template: The content of the template's cookiecutter.json.
        context: The context of cookiecutter.

    Returns:
        The final name of each selected file, by its path.

    Raises:
        ValueError: If a listed path is no file, or two files get the same name.
    """
    names = {path: final_name(path, template.get("problem", [])) for path in files}
    dropped = {path for path, (_, problem) in names.items() if problem not in (None, context.get("problem"))}
    expanded = {path: {expand_variables(name, context) for name in (path, final)} for path, (final, _) in names.items()}
    for question, lists in template.get("_adds", {}).items():
        chosen = chosen_answers(template, context, question)
        answers = answers_of_files(question, lists, expanded, context)
        dropped |= {path for path in answers if not answers[path] & chosen}
    selected = {path: final for path, (final, _) in names.items() if path not in dropped}
    if len(set(selected.values())) < len(selected):
        raise ValueError("two files of the template get the same name: " + ", ".join(sorted(selected)))
    return selected


def answers_of_files(
    question: str, lists: dict[str, list[str]], expanded: dict[str, set[str]], context: dict[str, Any]
) -> dict[str, set[str]]:
    """Return, for each file that a question's lists name, the answers that add it.

    Args:
        question: The question, for the error.
        lists: The paths that each answer adds; a folder stands for all files below it.
        expanded: The names of each file with its variables expanded, by its path.
        context: The context of cookiecutter.

    Raises:
        ValueError: If a listed path is no file and no folder.
    """
    answers: dict[str, set[str]] = {}
    for answer, paths in lists.items():
        for listed in paths:
            wanted = expand_variables(listed, context).rstrip("/")
            matching = [
                path
                for path, names in expanded.items()
                if wanted in names or any(name.startswith(f"{wanted}/") for name in names)
            ]
            if not matching:
                raise ValueError(f"_adds lists {listed!r} for {question}={answer}, but the template has no such path")
            for path in matching:
                answers.setdefault(path, set()).add(answer)
    return answers


def list_files(folder: Path) -> list[str]:
    """Return the sorted paths of all files below a folder, with forward slashes and without those of .git."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in names if name != ".git"]
    return sorted(found)


def prune(folder: Path, template: dict[str, Any], context: dict[str, Any]) -> None:
    """Delete the files of other answers, give the rest their final names, and delete empty folders."""
    files = list_files(folder)
    selected = select_files(files, template, context)
    for path in files:
        if path not in selected:
            (folder / path).unlink()
        elif selected[path] != path:
            (folder / path).rename(folder / selected[path])
    for root, _, _ in os.walk(folder, topdown=False):
        if ".git" not in Path(root).relative_to(folder).parts:
            with contextlib.suppress(OSError):
                Path(root).rmdir()
    folder.mkdir(exist_ok=True)


def digest(folder: Path) -> str:
    """Return a hash of the names and contents of all files, the same for every kind of line ending."""
    total = hashlib.sha256()
    for path in list_files(folder):
        content = (folder / path).read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{path}\0{len(content)}\0".encode() + content)
    return total.hexdigest()
