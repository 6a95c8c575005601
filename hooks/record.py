"""The state file of a project: the answers, and a record of the template it was last rendered from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outcome import Refusal

STATE = ".mlops-ladder.json"  # tracked in the project


def read_state(project: Path) -> dict[str, Any] | None:
    """Return the state of a project, None if it has no state file.

    Raises:
        Refusal: If the file is not valid.
    """
    path = project / STATE
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text("utf-8"))
        parts = (state["default_context"], state["template"], state.get("abbreviations", {}))
        if not all(isinstance(part, dict) for part in parts):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise Refusal(
            f"{STATE} cannot be read (conflict markers?): take the side with the higher level"
            f" (git checkout --ours {STATE}, or --theirs), commit, and run again"
        ) from None
    return state


def write_state(project: Path, old: dict[str, Any] | None, record: dict[str, Any]) -> None:
    """Write the state file; it is JSON that `cookiecutter --config-file` can read as YAML, too.

    Args:
        project: The folder to write it to.
        old: The state before, whose other keys are kept; None if there was none.
        record: What `make_record` returned.
    """
    state = (old or {}) | {
        "default_context": record["answers"],
        "abbreviations": {"ladder": record["address"]},
        "template": record,
    }
    text = json.dumps(state, indent=2, ensure_ascii=False) + "\n"
    (project / STATE).write_text(text, "utf-8", newline="\n")


def make_record(
    run: dict[str, Any], context: dict[str, Any], answers: dict[str, Any], address: str, digest: str
) -> dict[str, Any]:
    """Return the record of a rendered project: enough to render it again and to notice a difference.

    Args:
        run: The commit of the template, or why it has none; see `template_commit`.
        context: The whole context of cookiecutter.
        answers: The answers the project was rendered with, in the order cookiecutter should read them.
        address: Where the template can be had again.
        digest: The digest of the rendered project.
    """
    why = {"why": run["why"]} if run.get("why") else {}
    return {
        "address": address,
        "version": context["_version"],
        "commit": run["commit"],
        **why,
        "answers": answers,
        "digest": digest,
    }


def enclosing_project(folder: Path) -> Path | None:
    """Return the generated project that a folder lies in, without leaving the folder's repository."""
    for parent in (folder, *folder.parents):
        if (parent / STATE).exists():
            return parent
        if (parent / ".git").exists():
            return None
    return None
