"""Render the template at any of its commits: BASE is what a project was made from, NEW what an upgrade brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine_git import GitError, git, run_git
from keep import digest, prune
from outcome import Refusal
from record import STATE
from template import read_template, root_folder


def unpack(copy: Path, commit: str, into: Path) -> None:
    """Write the template at a commit to a folder, byte for byte: all that is rendered, and cookiecutter.json."""
    names = git(copy, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")[:-1]
    blobs = [(name.split("\t", 1)[1], *name.split("\t", 1)[0].split(" ")[::2]) for name in names]
    root = root_folder(path.split("/")[0] for path, _, _ in blobs)
    blobs = [blob for blob in blobs if blob[0].split("/")[0] in (root, "cookiecutter.json", "templates")]
    contents = run_git(copy, "cat-file", "--batch", data="".join(f"{blob}\n" for _, _, blob in blobs).encode())[1]
    start = 0
    for path, mode, _ in blobs:
        line = contents.index(b"\n", start)
        size = int(contents[start:line].split()[-1])
        start = line + 1 + size + 1
        file = into / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents[line + 1 : line + 1 + size])
        if mode == "100755":
            file.chmod(0o755)


def render(copy: Path, commit: str, answers: dict[str, Any], into: Path) -> Path:
    """Render the template at a commit, without running any hook of it.

    Args:
        copy: A clone of the template.
        commit: The commit to render.
        answers: The answers to render it with.
        into: The folder for the template and the project.

    Returns:
        The folder of the project.
    """
    from cookiecutter.generate import generate_context, generate_files  # slow to import: only an upgrade needs them
    from cookiecutter.prompt import prompt_for_config

    unpack(copy, commit, into / "template")
    context = generate_context(str(into / "template" / "cookiecutter.json"), extra_context=answers)
    context["cookiecutter"].pop("_extensions", None)  # they serve the command line, and are not unpacked
    context["cookiecutter"].update(prompt_for_config(context, no_input=True))
    folder = Path(generate_files(into / "template", context, output_dir=into, accept_hooks=False))
    prune(folder, read_template(into / "template"), context["cookiecutter"])
    return folder


def render_new(copy: Path, commit: str, answers: dict[str, Any], into: Path) -> Path:
    """Return the folder of NEW, rendered as `render` does.

    Raises:
        Refusal: If the template cannot be rendered.
    """
    from cookiecutter.exceptions import CookiecutterException
    from jinja2.exceptions import TemplateError

    try:
        return render(copy, commit, answers, into)
    except (TemplateError, CookiecutterException) as error:
        raise Refusal(f"this version of the template cannot be rendered, nothing was changed: {error}") from None


def render_base(copy: Path, record: dict[str, Any], into: Path) -> Path:
    """Return the folder of BASE: the very files that a project was made with.

    Raises:
        Refusal: If the record names no commit the template has, or does not give the files it was made for.
    """
    commit = record.get("commit")
    if not commit:
        raise Refusal(
            "the version this project was made with cannot be rendered again:"
            f" {record.get('why', 'no commit is recorded')}. To merge without it, delete {STATE}, commit,"
            " and adopt (docs/upgrading.md)"
        )
    if run_git(copy, "cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128))[0]:
        raise Refusal(
            f"the template has no commit {str(commit)[:12]}, which this project was made with:"
            " use the address it came from, or one with its whole history (docs/upgrading.md, The template moved)"
        )
    try:
        folder = render(copy, commit, record["answers"], into)
        same = digest(folder) == record["digest"]
    except (GitError, OSError):
        raise
    except Exception:
        same = False  # answers that no version of the template could have been given
    if not same:
        raise Refusal(
            f"the record in {STATE} was changed by hand, it no longer gives the files the project began with:"
            f" restore it (git log -p {STATE}), commit, and run again"
        )
    return folder
