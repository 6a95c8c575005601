"""What the three hooks do: answers are judged, files kept, a fresh project recorded and committed.

An existing project is left to `merging`, beside this file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import keyword
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

NAME = "mlops-ladder"
STATE = ".mlops-ladder.json"  # in the project, tracked: its answers, and what it was made from
RUN = ".ladder-run.json"  # in cookiecutter's temporary copy of the template: what pre_prompt found out
AIMED = "{{cookiecutter._folder if cookiecutter._here else cookiecutter.project_slug}}"
LEVEL = "maturity_level"  # the one question whose answers include those before them
CLEAN, REFUSED, CONFLICTS = 0, 1, 3

# Modules a generated project imports: a package of its own by such a name would hide them.
TAKEN = {
    *("catalog", "cookiecutter", "dvc", "fastapi", "hypothesis", "httpx", "jinja2", "joblib", "marimo", "matplotlib"),
    *("mlflow", "mlforecast", "notebooks", "numpy", "optuna", "pandas", "pandera", "pip", "pluggy", "polars"),
    *("prefect", "prometheus_client", "psycopg", "pyarrow", "pydantic", "pytest", "requests", "ruff", "scipy"),
    *("setuptools", "sklearn", "skops", "sqlalchemy", "src", "tests", "uv", "uvicorn", "yaml"),
}


class Refusal(Exception):  # noqa: N818 - a refusal is what it is for the user
    """Why nothing was changed, and what to do about it, in a line or two."""


def ending(copy: Path, work: Callable[[], int]) -> int:
    """The exit status of one hook; unless it is 0, the reason is said and cookiecutter's temporary copy is gone."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # an old Windows console cannot print every name
    try:
        status = work()
    except Refusal as refusal:
        print(f"{NAME}: {refusal}", file=sys.stderr)
        status = REFUSED
    if status and (copy / RUN).exists():
        shutil.rmtree(copy.parent, ignore_errors=True)
    return status


# --- answers


def wrong_answer(context: dict[str, Any]) -> str | None:
    """What is wrong with the first answer no project can be made of, if any."""
    for key, value in questions(context).items():
        if not str(value).strip():
            return f"{key} is empty: say something"
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in str(value)):
            return f"{key} has a line break or a control character in it: keep it to one plain line"
        if any(mark in str(value) for mark in ("'''", "{{", "}}", "{%", "%}", "{#")):
            return (
                f"{key} may not contain ''' or doubled or marked braces such as {{{{ or {{%: they mean something else"
            )
    slug, package = context["project_slug"], context["__package"]
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", slug) or len(slug) > 50:
        return (
            f"project_slug {slug!r} cannot be a folder and a package: use at most 50 small letters, digits, - and _,"
            " a letter first (project_slug=churn-model)"
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in TAKEN:
        return f"the package {package!r} would hide a module of that name: choose another project_slug ({slug}-model)"
    return None


def questions(context: dict[str, Any]) -> dict[str, Any]:
    """The answers a person gave, without what is private or derived."""
    return {key: value for key, value in context.items() if not key.startswith("_")}


def by_kind(answers: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """The answers in the order of the questions, free text before choices."""
    free = {key: answers[key] for key, default in template.items() if key in answers and not isinstance(default, list)}
    return free | {key: answers[key] for key in template if key in answers}


# --- keep: which files of the superset belong to the answers


def wanted(template: dict[str, Any], answers: dict[str, Any], question: str) -> set[str]:
    """The answers that count as chosen: the one given and, for the level, all before it."""
    chosen = answers[question]
    if question != LEVEL:
        return {chosen}
    levels = template[LEVEL]
    return set(levels[: levels.index(chosen) + 1])


def final_name(path: str, problems: Iterable[str]) -> tuple[str, str | None]:
    """A file's name without the problem it is for, and that problem: a/name.<problem>.ext is a/name.ext."""
    first, *parts = PurePosixPath(path).name.split(".")
    problem = next((part for part in parts if part in problems), None)
    if problem is None:
        return path, None
    parts.remove(problem)
    return str(PurePosixPath(path).with_name(".".join([first, *parts]))), problem


def filled(path: str, context: dict[str, Any]) -> str:
    """The path with its variables filled in."""
    return re.sub(r"\{\{\s*cookiecutter\.(\w+)\s*\}\}", lambda found: str(context[found[1]]), path)


def kept(files: Iterable[str], template: dict[str, Any], context: dict[str, Any]) -> dict[str, str]:
    """Each file, rendered or not, that belongs to the answers, with its name; a listed path that is no file fails."""
    names = {path: final_name(path, template.get("problem", [])) for path in files}
    places = {path: (filled(path, context), filled(final, context)) for path, (final, _) in names.items()}
    dropped = {path for path, (_, problem) in names.items() if problem not in (None, context.get("problem"))}
    for question, lists in template.get("_adds", {}).items():
        chosen = wanted(template, context, question)
        matches: dict[str, set[str]] = {}
        for answer, paths in lists.items():
            for listed in paths:
                path = filled(listed, context).rstrip("/")
                below = {
                    name for name, (own, final) in places.items() if path in (own, final) or own.startswith(f"{path}/")
                }
                if not below:
                    raise ValueError(
                        f"_adds lists {listed!r} for {question}={answer}, but the template has no such path"
                    )
                for name in below:
                    matches.setdefault(name, set()).add(answer)
        dropped |= {name for name, answers in matches.items() if not answers & chosen}
    result = {path: final for path, (final, _) in names.items() if path not in dropped}
    if len(set(result.values())) < len(result):
        raise ValueError("two files of the template get the same name: " + ", ".join(sorted(result)))
    return result


def files_in(folder: Path) -> list[str]:
    """Every file below a folder, by its path with forward slashes, sorted, a repository's own folder left out."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        found += [(Path(root) / name).relative_to(folder).as_posix() for name in names if name != ".git"]
    return sorted(found)


def prune(folder: Path, template: dict[str, Any], context: dict[str, Any]) -> None:
    """The folder holds the files of these answers only, by their final names, and no empty folder."""
    files = files_in(folder)
    keep = kept(files, template, context)
    for path in files:
        if path not in keep:
            (folder / path).unlink()
        elif keep[path] != path:
            (folder / path).rename(folder / keep[path])
    for root, _, _ in os.walk(folder, topdown=False):
        if ".git" not in Path(root).relative_to(folder).parts:
            with contextlib.suppress(OSError):
                Path(root).rmdir()
    folder.mkdir(exist_ok=True)


def digest(folder: Path) -> str:
    """A hash of the names and contents of a rendered project, the same on every system's line endings."""
    total = hashlib.sha256()
    for path in files_in(folder):
        content = (folder / path).read_bytes().replace(b"\r\n", b"\n")
        total.update(f"{path}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


# --- the record


def read_state(project: Path) -> dict[str, Any] | None:
    """What the project says it was made from; None if it was never generated."""
    path = project / STATE
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text("utf-8"))
        if not all(isinstance(state[part], dict) for part in ("default_context", "template")):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{STATE} cannot be read (conflict markers?): settle it, commit, and run again") from None
    return state


def state_text(old: dict[str, Any] | None, answers: dict[str, Any], made_from: dict[str, Any]) -> str:
    """The state file's text: also readable by `cookiecutter --config-file`, which is YAML."""
    state = (old or {}) | {
        "default_context": answers,
        "abbreviations": {"ladder": made_from["address"]},
        "template": made_from,
    }
    return json.dumps(state, indent=2, ensure_ascii=False) + "\n"


def inside_project(folder: Path) -> Path | None:
    """The generated project a folder lies in, as far as its repository reaches."""
    for parent in (folder, *folder.parents):
        if (parent / STATE).exists():
            return parent
        if (parent / ".git").exists():
            return None
    return None


# --- git


class GitError(Exception):
    """git stopped; the text is its own last line."""


KEPT = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG", "GIT_SSH", "GIT_ASKPASS", "GIT_EXEC_PATH", "GIT_TRACE")
SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.quotePath": "false",
    "merge.renames": "true",
    "merge.directoryRenames": "true",
    "rerere.enabled": "false",
    "submodule.recurse": "false",
    "color.ui": "false",
    "gc.auto": "0",
}
IDENTITY = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", NAME), ("EMAIL", f"{NAME}@localhost"))
}


def run_git(
    folder: Path, *arguments: str, ok: tuple[int, ...] = (0,), data: bytes | None = None, **environment: str
) -> tuple[int, bytes]:
    """git's status and output for one command in a folder, whatever the caller's own git settings are."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(KEPT)}
    settings = [item for key, value in SETTINGS.items() for item in ("-c", f"{key}={value}")]
    try:
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=folder,
            input=data if data is not None else b"",
            capture_output=True,
            env=inherited | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | environment,
        )
    except FileNotFoundError:
        raise GitError("git is not installed") from None
    if done.returncode not in ok:
        lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        named = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
        raise GitError(named or f"git {arguments[0]} failed")
    return done.returncode, done.stdout


def git(folder: Path, *arguments: str, **options: Any) -> str:
    """git's output for one command, without the newline at its end."""
    return os.fsdecode(run_git(folder, *arguments, **options)[1]).removesuffix("\n")


# --- the three hooks


def prepare(copy: Path, pwd: str | None) -> int:
    """pre_prompt: where this run stands and which template it is are written down; an existing project is aimed at."""
    run = source(copy) | {"here": pwd}
    if pwd and Path(pwd).is_dir():
        template = json.loads((copy / "cookiecutter.json").read_text("utf-8"))
        state = read_state(Path(pwd))
        template |= {"_folder": pwd, "_here": "yes" if state else ""}  # _here=yes can be asked for, too
        if state:
            run["stale"] = recall(template, state["template"].get("answers", {}) | state["default_context"])
        (copy / "cookiecutter.json").write_text(json.dumps(template, ensure_ascii=False), "utf-8")
        (copy / root_folder(path.name for path in copy.iterdir())).rename(copy / AIMED)
    (copy / RUN).write_text(json.dumps(run), "utf-8")
    return CLEAN


def begin(copy: Path, project: Path, context: dict[str, Any]) -> int:
    """pre_gen: wrong answers are refused; a project that exists is merged here, and cookiecutter renders nothing."""
    run = json.loads((copy / RUN).read_text("utf-8")) if (copy / RUN).exists() else None
    if problem := no_longer_offered(run or {}, context) or wrong_answer(context) or not_checked_out(copy, run, context):
        raise Refusal(problem)
    if problem := wrong_place(run or {}, project, context):
        raise Refusal(problem)
    if is_fresh(project):
        if context.get("_preview"):
            raise Refusal("there is no project here to preview an upgrade of: run it inside one")
        if run:  # the copy is cookiecutter's own: what is not wanted need not be rendered
            template = json.loads((copy / "cookiecutter.json").read_text("utf-8"))
            prune(copy / root_folder(path.name for path in copy.iterdir()), template, context)
        return CLEAN
    if run is None:
        raise Refusal("this cookiecutter ran no pre_prompt hook: merging needs cookiecutter 2.6 or newer")
    from merging import upgrade

    try:
        status = upgrade(copy, project, context, run)
    except (GitError, OSError) as error:
        raise Refusal(f"nothing was changed: {error}") from None
    root = copy / root_folder(path.name for path in copy.iterdir())
    shutil.rmtree(root)
    root.mkdir()
    (copy / "hooks" / "post_gen_project.py").unlink()
    return status


def finish(copy: Path, project: Path, context: dict[str, Any]) -> int:
    """post_gen: a fresh project holds what was asked for, its record, and one commit."""
    template = json.loads((copy / "cookiecutter.json").read_text("utf-8"))
    if (copy / RUN).exists():  # and the copy was pruned before it was rendered
        run = json.loads((copy / RUN).read_text("utf-8"))
    else:
        run = source(copy)
        prune(project, template, context)
    answers = by_kind(questions(context), template)
    made_from = record(run, context, answers, address(copy, run, context), digest(project))
    (project / STATE).write_text(state_text(None, answers, made_from), "utf-8", newline="\n")
    said = first_commit(project, f"Start from {NAME} {context['_version']}, {context[LEVEL]}")
    start = "uv run just data" if context[LEVEL] == template[LEVEL][0] else "uv run just"
    there = "" if context.get("_here") else f"  cd {project.name}\n"
    print(f"\n{project.name} is ready ({context[LEVEL]}){said}.\n{there}  {start}")
    return CLEAN


# --- the template


def root_folder(names: Iterable[str]) -> str:
    """The template's folder that becomes the project."""
    return next(name for name in names if "cookiecutter" in name and "{{" in name and "}}" in name)


def source(copy: Path) -> dict[str, Any]:
    """The commit this template stands at, or why none can be named."""
    if not (copy / ".git").exists():
        return {"commit": None, "why": "the template is not a git repository"}
    root = root_folder(path.name for path in copy.iterdir())
    try:
        commit = git(copy, "rev-parse", "HEAD")
        paths = [f":(literal){path}" for path in (root, "cookiecutter.json")]
        changed = git(copy, "status", "--porcelain", "--ignored", "--untracked-files=all", "--", *paths)
    except GitError as error:
        return {"commit": None, "why": f"the template's commit could not be read ({error})"}
    if changed:
        return {
            "commit": None,
            "why": f"the template has uncommitted changes ({changed.split(maxsplit=1)[1].splitlines()[0]})",
        }
    return {"commit": commit}


def address(copy: Path, run: dict[str, Any], context: dict[str, Any]) -> str:
    """Where the template can be had again: an absolute path, or where its clone came from."""
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


def record(
    run: dict[str, Any], context: dict[str, Any], answers: dict[str, Any], where: str, base: str
) -> dict[str, Any]:
    """What a project was made from: enough to render BASE again, and to notice if it is not the same."""
    why = {"why": run["why"]} if run.get("why") else {}
    return {
        "address": where,
        "version": context["_version"],
        "commit": run["commit"],
        **why,
        "answers": answers,
        "digest": base,
    }


def recall(template: dict[str, Any], answers: dict[str, Any]) -> dict[str, Any]:
    """Recorded answers are the defaults; choices no longer offered are returned, with those that are, to be refused."""
    stale = {}
    for key, value in questions(answers).items():
        if isinstance(template.get(key), list):
            if value not in template[key]:
                stale[key] = (value, template[key])
            template[key] = [value, *(choice for choice in template[key] if choice != value)]
        elif key in template:
            template[key] = value
    return stale


def no_longer_offered(run: dict[str, Any], context: dict[str, Any]) -> str | None:
    """Which recorded choice the template has given up, if it was left as it is."""
    for key, (old, choices) in run.get("stale", {}).items():
        if context.get(key) == old:
            instead = " or ".join(f"{key}={choice}" for choice in choices)
            return f"{key}={old} is no longer offered: run again with {instead}, or put one into {STATE} and commit it"
    return None


def not_checked_out(copy: Path, run: dict[str, Any] | None, context: dict[str, Any]) -> str | None:
    """Why `-c` had no effect, if it had none: cookiecutter takes a local template as it stands."""
    asked = context.get("_checkout")
    if not asked or not run or not run["commit"]:
        return None
    status, found = run_git(copy, "rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}", ok=(0, 1, 128))
    if status == 0 and found.decode().strip() != run["commit"]:
        return f"a local template is taken as it stands, and it does not stand at {asked}: check that out there first"
    return None


def wrong_place(run: dict[str, Any], project: Path, context: dict[str, Any]) -> str | None:
    """Why this run may not touch this folder, if it may not."""
    here = Path(run["here"]).resolve() if run.get("here") else None
    output = Path(context["_output_dir"]).resolve()
    if context.get("_here") and output not in (here, here.parent):
        return f"you stand in {here}, but -o points to {output}: drop -o, or start outside the project"
    if is_fresh(project):
        outer = inside_project(output)
        return outer and f"{output} lies in the project {outer}: to upgrade that one, run this in {outer} itself"
    if here != project.resolve():
        if (project / STATE).exists():
            return f"{project} is a project already: to upgrade it, go there (cd {project}) and run this again"
        return f"{project} exists already: to adopt it, go there (cd {project}) and run this again with _here=yes"
    return None


def is_fresh(project: Path) -> bool:
    """Whether there is nothing in the folder but, at most, a repository without a commit."""
    if any(path.name != ".git" for path in project.iterdir()):
        return False
    return not (project / ".git").exists() or not has_commit(project)


def has_commit(folder: Path) -> bool:
    """Whether the repository there has a commit to stand on."""
    return run_git(folder, "rev-parse", "--quiet", "--verify", "HEAD", ok=(0, 1, 128))[0] == 0


# --- a fresh project


def first_commit(project: Path, message: str) -> str:
    """The project is a repository with one commit; where that could not be, the text says why."""
    try:
        if not (project / ".git").exists():
            with contextlib.suppress(GitError):
                outer = git(project.parent, "rev-parse", "--show-toplevel")
                return (
                    f"; it lies inside the repository {outer}: commit it there"
                    " (or, to make that repository the project, delete it and run again there with -f _here=yes)"
                )
            named = run_git(project, "config", "init.defaultBranch", ok=(0, 1))[1].decode().strip()
            git(project, "init", "-q", f"--initial-branch={named or 'main'}")
        known = all(run_git(project, "config", f"user.{part}", ok=(0, 1))[1].strip() for part in ("name", "email"))
        git(project, "add", "-A", "-f", ".")
        git(
            project,
            "-c",
            "commit.gpgSign=false",
            "commit",
            "-q",
            "--no-verify",
            "-m",
            message,
            **({} if known else IDENTITY),
        )
    except GitError as error:
        return f"; it is not committed ({error}): climbing needs git"
    return ", committed"
