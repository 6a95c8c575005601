"""Describe a merge to the user: what changes, what conflicts, and the commands that settle it."""

from __future__ import annotations

from typing import Any

from answers import LEVEL
from merge import Merge
from outcome import NAME


def describe(record: dict[str, Any]) -> str:
    """Return the version and the level that a record names."""
    return f"{record.get('version', '?')}, {record.get('answers', {}).get(LEVEL, '?')}"


def report(merge: Merge, state: dict[str, Any] | None, record: dict[str, Any], preview: bool = False) -> str:
    """Return the changes and the conflicts and, unless it is a preview, what to do next.

    Args:
        merge: The merge.
        state: The project's state before the merge, None if it had none.
        record: The project's record after the merge.
        preview: Whether the merge was not applied.
    """
    was = describe(state["template"]) if state else "not made by it"
    lines = [f"{NAME} {describe(record)} (was {was})"]
    for what, paths in (("added", merge.added), ("changed", merge.changed), ("removed", merge.removed)):
        lines += [f"  {what:8} {path}" for path in paths if path not in merge.stages]
    lines += [
        f"  kept     {path}: it is yours; the template's sample changed where you changed it" for path in merge.kept
    ]
    for path in merge.stages:
        meaning, command = explain_conflict(merge, path)
        lines += [f"  CONFLICT {path}: {meaning}", *([] if preview else [f"           {command}"])]
    if preview:
        return "\n".join(lines)
    left = f"Conflicts to settle as said above: {len(merge.stages)}. " if merge.stages else ""
    lines += [f"{left}All is staged, not committed: git diff --staged shows it, git reset --hard undoes it."]
    return "\n".join([*lines, "Next: uv sync, uv run just check, git commit -a"])


def explain_conflict(merge: Merge, path: str) -> tuple[str, str]:
    """Return what the conflict at a path means, and the command that settles it."""
    sides = {stage for _, _, stage in merge.stages[path]}
    kinds = merge.kinds.get(path, set())
    file = f'"{path}"' if " " in path else path
    either = f"git checkout --ours {file} (or --theirs), then git add {file}"
    if "binary" in kinds:
        return "both you and the template changed it, and it is not text", either
    if kinds <= {"contents", "add/add"} and sides >= {"2", "3"}:
        meaning = "both you and the template " + ("changed it" if "1" in sides else "have one")
        return meaning, f"edit it between <<<<<<< and >>>>>>>, then git add {file}; or {either}"
    if kinds <= {"modify/delete"} and sides == {"1", "3"}:
        command = f"git rm {file} (keep it deleted), or git add {file} (take the template's)"
        return "you deleted it, the template changed it", command
    if kinds <= {"modify/delete"} and sides == {"1", "2"}:
        meaning = "you changed it, the template deleted it"
        if place := merge.successors.get(path):
            return f"{meaning}; most like it is {place}", f"repeat your change there, then git rm {file}"
        return meaning, f"git add {file} (keep yours), or git rm {file} (delete it)"
    said = " ".join(merge.messages.get(path, ["both you and the template have something at this path"]))
    return said, f"put the content where it belongs, then git add {file} (or git rm {file})"
