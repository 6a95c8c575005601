"""Merging a newly rendered project into an existing one: BASE, NEW and HEAD, with git as the engine.

BASE (the template and answers the project was made with) and NEW (today's) are rendered into temporary folders and
merged with HEAD as trees, outside the project; only then, and only if nothing speaks against it, one new index and the
changed files are put in place, so that `git reset --hard` undoes all of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ladder import (
    CLEAN,
    CONFLICTS,
    IDENTITY,
    LEVEL,
    NAME,
    STATE,
    GitError,
    Refusal,
    address,
    by_kind,
    digest,
    files_in,
    git,
    prune,
    questions,
    read_state,
    record,
    root_folder,
    run_git,
    state_text,
)

# --- an existing project: what there is


@dataclass(frozen=True)
class Repository:
    """The user's repository and, in it, the project."""

    top: Path
    prefix: str  # of the project in the repository: "" or "packages/churn/"
    folder: Path  # where git keeps this working tree's index
    objects: Path
    head: str

    def git(self, *arguments: str, **options: Any) -> str:
        """git's output for one command at the top of the working tree."""
        return git(self.top, *arguments, **options)


def opened(project: Path) -> Repository:
    """The repository the project lies in; one that cannot be merged into is refused."""
    if not any((parent / ".git").exists() for parent in (project, *project.parents)):
        raise Refusal(f"{project} is not in a git repository: git init, commit what there is, and run again")
    paths = ("--git-path", "objects")
    top, prefix, folder, objects = git(
        project, "rev-parse", "--show-toplevel", "--show-prefix", "--absolute-git-dir", *paths
    ).split("\n")
    status, head = run_git(project, "rev-parse", "--quiet", "--verify", "HEAD", ok=(0, 1))
    if status:
        raise Refusal("the repository has files but no commit yet: commit what there is, and run again")
    if prefix and run_git(project, "check-ignore", "-q", ".", ok=(0, 1))[0] == 0:
        raise Refusal(f"the repository {top} ignores this folder: take it out of its .gitignore, commit, and run again")
    return Repository(Path(top), prefix, Path(folder), (project / objects).resolve(), head.decode().strip())


UNFINISHED = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


def not_clean(repository: Repository) -> str | None:
    """Why `git reset --hard` could not bring back exactly what is here now, if it could not."""
    for name, what in UNFINISHED.items():
        if (repository.folder / name).exists():
            return f"a {what} is in progress: finish it, or git {what} {'reset' if what == 'bisect' else '--abort'}"
    if (repository.folder / "index.lock").exists():
        return f"another git is at work, or died: if none is, delete {repository.folder / 'index.lock'}, and run again"
    asked = ("status", "--porcelain", "-z", "--untracked-files=all", "--ignore-submodules=none")
    changed = repository.git(*asked).split("\0")[:-1]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return f"there are changes that are not committed ({changed[0][3:]}{more}): commit or stash them, and run again"
    for line in repository.git("ls-files", "-v", "-z").split("\0"):
        if line[:1] == "S" or line[:1].islower():
            flag = "skip-worktree" if line[:1] in "Ss" else "assume-unchanged"
            return f"git is told not to look at {line[2:]} ({flag}): git update-index --no-{flag} it, and run again"
    return None


# --- BASE and NEW


def unpack(copy: Path, commit: str, into: Path) -> dict[str, Any]:
    """The template's cookiecutter.json at a commit; it and the project's folder are unpacked, byte for byte."""
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
    return json.loads((into / "cookiecutter.json").read_text("utf-8"))


def render(copy: Path, commit: str, answers: dict[str, Any], into: Path) -> Path:
    """A folder with the project that a commit of the template makes of the answers; no hook of it has run."""
    from cookiecutter.generate import generate_context, generate_files
    from cookiecutter.prompt import prompt_for_config

    template = unpack(copy, commit, into / "template")
    context = generate_context(str(into / "template" / "cookiecutter.json"), extra_context=answers)
    context["cookiecutter"].pop("_extensions", None)  # they serve the command line, and are not unpacked
    context["cookiecutter"].update(prompt_for_config(context, no_input=True))
    folder = Path(generate_files(into / "template", context, output_dir=into, accept_hooks=False))
    prune(folder, template, context["cookiecutter"])
    return folder


def rendered_base(copy: Path, made_from: dict[str, Any], into: Path) -> Path:
    """BASE: the very files the project was made with; a record that does not give them is refused."""
    commit = made_from.get("commit")
    if not commit:
        raise Refusal(
            "the version this project was made with cannot be rendered again:"
            f" {made_from.get('why', 'no commit is recorded')}. To merge without it, delete {STATE}, commit,"
            " and adopt (docs/upgrading.md)"
        )
    if run_git(copy, "cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128))[0]:
        raise Refusal(
            f"the template has no commit {commit[:12]}, which this project was made with:"
            " use the address it came from, or one with its whole history"
        )
    try:
        folder = render(copy, commit, made_from["answers"], into)
        same = digest(folder) == made_from["digest"]
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


# --- the merge, outside the project


@dataclass
class Merge:
    """What git makes of BASE, NEW and HEAD: nothing of it is in the project yet."""

    tree: str
    labels: dict[str, str] = field(default_factory=dict)  # commit -> how a person calls it
    stages: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)  # conflicting path -> mode, blob, stage
    messages: dict[str, list[str]] = field(default_factory=dict)  # path -> what git says of it
    kinds: dict[str, set[str]] = field(default_factory=dict)  # path -> the kinds of conflict it is part of
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def named(self, text: str) -> str:
        """The text with names in place of the commits."""
        for commit, name in self.labels.items():
            text = text.replace(commit, name)
        return text


def tree_of(repository: Repository, worktree: Path, index: Path, settings: list[str], **environment: str) -> str:
    """HEAD's tree with the project's folder replaced by what the work tree has there."""
    where = {
        "GIT_DIR": str(repository.folder),
        "GIT_WORK_TREE": str(worktree),
        "GIT_INDEX_FILE": str(index),
        "GIT_LITERAL_PATHSPECS": "1",
    } | environment
    git(worktree, "read-tree", "HEAD", **where)
    git(worktree, *settings, "add", "-A", "-f", "--", repository.prefix or ".", **where)
    return git(worktree, "write-tree", **where)


def merged(repository: Repository, base: Path, new: Path, scratch: Path, theirs: str) -> tuple[Merge, dict[str, str]]:
    """The merge, and the environment in which git finds its objects, all of which are in the scratch folder."""
    (scratch / "objects").mkdir()
    objects = str(repository.objects)
    quoted = '"' + objects.replace("\\", "\\\\").replace('"', '\\"') + '"' if os.pathsep in objects else objects
    store = {"GIT_OBJECT_DIRECTORY": str(scratch / "objects"), "GIT_ALTERNATE_OBJECT_DIRECTORIES": quoted}
    settings = ["-c", "core.safecrlf=false"]
    if os.name != "nt":
        settings += ["-c", "core.fileMode=true"]
    attributes = [repository.top / ".gitattributes", repository.top / repository.prefix / ".gitattributes"]
    if any(file.is_file() for file in attributes):
        lines = [file.read_text("utf-8") for file in dict.fromkeys(attributes) if file.is_file()]
        (scratch / "attributes").write_text("\n".join(lines), "utf-8")
        settings += ["-c", f"core.attributesFile={scratch / 'attributes'}"]
    commits = {"ours": f"{repository.head}^{{tree}}"}
    for name, folder in (("base", base), ("new", new)):
        worktree = scratch / f"{name}-tree"
        (worktree / repository.prefix).parent.mkdir(parents=True, exist_ok=True)
        folder.rename(worktree / repository.prefix)
        commits[name] = tree_of(repository, worktree, scratch / "index", settings, **store)
    base_commit = repository.git("commit-tree", "-m", "base", commits["base"], **IDENTITY, **store)
    ours, other = (
        repository.git("commit-tree", "-p", base_commit, "-m", name, commits[name], **IDENTITY, **store)
        for name in ("ours", "new")
    )
    labels = {ours[:16]: "yours", other[:16]: theirs, base_commit[:16]: "before"}
    status, output = run_git(
        repository.top, "merge-tree", "--write-tree", "-z", ours[:16], other[:16], ok=(0, 1, 129), **store
    )
    if status == 129:
        raise Refusal(f"git 2.38 or newer is needed to merge, this is {git(repository.top, 'version')}")
    merge = read_merge(os.fsdecode(output), labels)
    raw = repository.git("diff-tree", "-r", "-z", "--raw", "--no-renames", repository.head, merge.tree, **store)
    parts = raw.split("\0")[:-1]
    for line, path in zip(parts[::2], parts[1::2], strict=True):
        {"A": merge.added, "D": merge.removed}.get(line[-1], merge.changed).append(path)
    return merge, store


def read_merge(output: str, labels: dict[str, str]) -> Merge:
    """The merge that `git merge-tree -z` describes."""
    tree, *parts = output.split("\0")
    merge = Merge(tree, labels)
    fields = iter(parts)
    for line in fields:
        if not line:
            break
        described, path = line.split("\t", 1)
        mode, blob, stage = described.split(" ")
        merge.stages.setdefault(path, []).append((mode, blob, stage))
    for count in fields:
        if not count:
            break
        paths = [next(fields) for _ in range(int(count))]
        kind, message = next(fields), next(fields).strip()
        if kind.startswith("CONFLICT"):
            for path in paths:
                merge.messages.setdefault(path, []).append(merge.named(message))
                merge.kinds.setdefault(path, set()).add(kind.removeprefix("CONFLICT (").rstrip(")"))
    return merge


# --- the merge, put in place


def in_the_way(repository: Repository, merge: Merge) -> str | None:
    """What on the disk keeps the merge from being put in place without a loss, if anything does."""
    gone, top = set(merge.removed), repository.top
    for path in merge.added + merge.changed:
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            if (top / parent).is_symlink():
                return f"{parent} is a link to another place, and {path} would have to go there: make it a folder first"
            if (top / parent).is_file() and str(parent) not in gone:
                return f"{parent} is a git-ignored file, and {path} needs a folder there: move it away, and run again"
    for path in merge.added:
        if os.path.lexists(top / path):
            inside = files_in(top / path) if (top / path).is_dir() else [""]
            if any(f"{path}/{name}".rstrip("/") not in gone for name in inside):
                return f"{path} is there already, git-ignored, and the upgrade brings a file of that name: move it away"
    for path in merge.added + merge.changed + merge.removed:
        parents = (top / path, *(top / path).parents)
        existing = next(place for place in parents[1:] if place.exists())
        for place in (existing, top / path):
            if place.exists() and not place.is_symlink() and not os.access(place, os.W_OK):
                return f"{place} cannot be written to: make it writable, and run again"
    return None


def too_little_space(folder: Path, needed: int) -> str | None:
    """How much room is missing, if any is."""
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return f"the disk of {folder} is too full: {needed // 1024 + 1} KB are needed, {free // 1024} KB are free"


def room_for(folder: Path) -> int:
    """The bytes that writing a folder's files three times takes, with 4 KB for each file."""
    return sum(3 * path.stat().st_size + 4096 for path in folder.rglob("*") if path.is_file())


def put_in_place(repository: Repository, merge: Merge, scratch: Path, store: dict[str, str]) -> None:
    """The merge is staged and on the disk; if that fails half way, all is as it was.

    The index comes first, and in one step: from then on it names every path that the merge brings, so that
    `git reset --hard` takes back whatever a killed run has left.
    """
    desk = repository.folder / NAME
    shutil.rmtree(desk, ignore_errors=True)
    desk.mkdir()
    try:
        for found in (scratch / "objects").glob("??/*"):
            there = repository.objects / found.parent.name / found.name
            if not there.exists():
                there.parent.mkdir(exist_ok=True)
                shutil.copy2(found, desk / found.name)
                (desk / found.name).replace(there)
        shutil.copy2(repository.folder / "index", desk / "plain")
        plain = {"GIT_INDEX_FILE": str(desk / "plain")}
        repository.git("read-tree", "-i", "-m", merge.tree, **plain)
        replace_index(repository, with_conflicts(repository, merge, desk))
        for path in merge.removed:
            remove(repository.top, path)
        paths = "\0".join([*merge.added, *merge.changed])
        repository.git("checkout-index", "-f", "-u", "-z", "--stdin", data=os.fsencode(paths), **plain)
        for path in merge.stages:
            name_the_sides(repository.top / path, merge.labels)
        replace_index(repository, with_conflicts(repository, merge, desk))
    except BaseException as error:
        restore(repository, merge, error)
        raise
    finally:
        shutil.rmtree(desk, ignore_errors=True)


def with_conflicts(repository: Repository, merge: Merge, desk: Path) -> Path:
    """An index like the plain one, in which conflicting paths have their stages instead of a result."""
    index = desk / "index"
    index.unlink(missing_ok=True)
    shutil.copy2(desk / "plain", index)
    lines = []
    for path, stages in merge.stages.items():
        lines += [f"0 {'0' * len(merge.tree)}\t{path}\0"]
        lines += [f"{mode} {blob} {stage}\t{path}\0" for mode, blob, stage in stages]
    if lines:
        data = os.fsencode("".join(lines))
        repository.git("update-index", "-z", "--index-info", data=data, GIT_INDEX_FILE=str(index))
    return index


def replace_index(repository: Repository, index: Path) -> None:
    """The repository has this index; git's own lock was held, for two system calls."""
    lock = repository.folder / "index.lock"
    try:
        os.link(index, lock)
    except FileExistsError:
        raise GitError(f"{lock} exists: another git is at work") from None
    except OSError:  # a file system without hard links
        with lock.open("xb") as file:
            file.write(index.read_bytes())
    lock.replace(repository.folder / "index")


def remove(top: Path, path: str) -> None:
    """The file is gone, and so are the folders it leaves empty."""
    (top / path).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        for parent in PurePosixPath(path).parents[:-1]:
            (top / parent).rmdir()


def name_the_sides(file: Path, labels: dict[str, str]) -> None:
    """The conflict markers in a file say whose side is whose, not which commit."""
    if file.is_file() and not file.is_symlink():
        content = file.read_bytes()
        for commit, name in labels.items():
            content = re.sub(rb"(?m)^([<>|]{7} )" + commit.encode(), rb"\g<1>" + name.encode(), content)
        file.write_bytes(content)


def restore(repository: Repository, merge: Merge, error: BaseException) -> None:
    """The project is as it was before; if not even that works, the refusal says what does."""
    why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
    try:
        for path in merge.added:
            remove(repository.top, path)
        repository.git("read-tree", "--reset", "-u", "HEAD")
    except (GitError, OSError):
        raise Refusal(
            f"stopped half way ({why}): git reset --hard brings everything back (make room first, if it must)"
        ) from None
    raise Refusal(f"stopped half way ({why}): everything is as it was before") from None


# --- upgrading


def upgrade(copy: Path, project: Path, context: dict[str, Any], run: dict[str, Any]) -> int:
    """The project holds the merge, staged, or a preview of it was printed; the status says whether it is clean."""
    from cookiecutter.exceptions import CookiecutterException
    from jinja2.exceptions import TemplateError as JinjaError

    preview = bool(context.get("_preview"))
    if not run["commit"]:
        raise Refusal(f"merging needs the template at a git commit, but {run['why']}: commit there, or use its address")
    repository = opened(project)
    problem = not_clean(repository)
    if problem and not preview:
        raise Refusal(problem)
    state = read_state(project)
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder).resolve()
        template = json.loads(git(copy, "show", f"{run['commit']}:cookiecutter.json"))
        answers = by_kind(questions(context), template)
        try:
            new = render(copy, run["commit"], answers, scratch / "new")
        except (JinjaError, CookiecutterException) as error:
            raise Refusal(f"this version of the template cannot be rendered, nothing was changed: {error}") from None
        made_from = record(run, context, answers, address(copy, run, context), digest(new))
        if state and state["template"] == made_from and state["default_context"] == answers:
            print(f"{NAME}: nothing to do, this is {described(made_from)} already")
            return CLEAN
        base = rendered_base(copy, state["template"], scratch / "base") if state else scratch / "empty"
        base.mkdir(exist_ok=True)
        needed = room_for(new)
        if state:
            shutil.copyfile(project / STATE, base / STATE)
        (new / STATE).write_text(state_text(state, answers, made_from), "utf-8", newline="\n")
        merge, store = merged(repository, base, new, scratch, f"{NAME} {context['_version']}")
        problem = problem or in_the_way(repository, merge) or too_little_space(repository.top, needed)
        if preview:
            print(report(merge, repository, state, made_from, preview=True))
            print(f"An upgrade now would be refused: {problem}." if problem else "Nothing was changed.")
            return CLEAN
        if problem:
            raise Refusal(problem)
        put_in_place(repository, merge, scratch, store)
    print(report(merge, repository, state, made_from))
    return CONFLICTS if merge.stages else CLEAN


def described(made_from: dict[str, Any]) -> str:
    """Version and level in a few words."""
    return f"{made_from.get('version', '?')}, {made_from.get('answers', {}).get(LEVEL, '?')}"


def report(
    merge: Merge, repository: Repository, state: dict[str, Any] | None, made_from: dict[str, Any], preview: bool = False
) -> str:
    """What changes, what is left to settle and how, and what comes next."""
    was = described(state["template"]) if state else "not made by it"
    lines = [f"{NAME} {described(made_from)} (was {was})"]
    for what, paths in (("added", merge.added), ("changed", merge.changed), ("removed", merge.removed)):
        lines += [f"  {what:8} {path}" for path in paths if path not in merge.stages]
    for path in merge.stages:
        meaning, command = settling(merge, path)
        lines += [f"  CONFLICT {path}: {meaning}", *([] if preview else [f"           {command}"])]
    if preview:
        return "\n".join(lines)
    left = f"{len(merge.stages)} to settle, as said above. " if merge.stages else ""
    lines += [f"{left}All is staged, not committed: git diff --staged shows it, git reset --hard undoes it."]
    return "\n".join([*lines, "Next: uv sync, uv run just check, git commit -a"])


def settling(merge: Merge, path: str) -> tuple[str, str]:
    """What a conflict means, and the command that settles it."""
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
        return "you deleted it, the template changed it", f"git rm {file} (stay without), or git add {file} (take it)"
    if kinds <= {"modify/delete"} and sides == {"1", "2"}:
        return "you changed it, the template deleted it", f"git add {file} (keep yours), or git rm {file} (let it go)"
    said = " ".join(merge.messages.get(path, ["both you and the template have something there"]))
    return said, f"put the content where it belongs, then git add {file} (or git rm {file})"
