"""Time upgrades side by side: this template, `cruft update` and `copier update`, in turn, on the same content.

    uv run --with cruft==2.16.0 --with copier==9.19.1 python benchmarks/upgrade.py [ROUNDS]

Each tool has the same pipeline-centric project, made from the same files at a first version, with one edit of the
user's, and takes the same second version. cruft renders our template through its own cookiecutter, without our
merge; for copier the files are rendered the copier way. What counts is the ratio of the medians: machines differ.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from upgrading import HERE, ROOT, commit, git, write

BIN = Path(sys.executable).parent
TOP = "pipeline-centric"


def timed(*command: str, cwd: Path) -> float:
    """Return the seconds of a command that ends well."""
    start = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=os.environ | {"PWD": str(cwd)}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return time.perf_counter() - start


def our_template(folder: Path) -> Path:
    """Return the real template in two versions, the second with a new file and a changed line; v1 is checked out."""
    folder.mkdir()
    shutil.copytree(HERE / "hooks", folder / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(HERE / ROOT, folder / ROOT, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    shutil.copy(HERE / "cookiecutter.json", folder)
    git(folder, "init", "-q", "-b", "main")
    two_versions(folder, folder / ROOT, "")
    return folder


def two_versions(folder: Path, root: Path, suffix: str) -> None:
    """Tag the template 1.0.0 and, with a change, 2.0.0."""
    commit(folder)
    git(folder, "tag", "1.0.0")
    readme = root / f"README.md{suffix}"
    readme.write_text(readme.read_text() + "\nNew in the second version.\n")
    write(root, {"new.txt": "new\n"})
    commit(folder)
    git(folder, "tag", "2.0.0")
    git(folder, "checkout", "-q", "1.0.0")


def copier_template(ours: Path, folder: Path) -> Path:
    """Return the same pipeline-centric files with the same variables, as copier names and marks them."""
    template = json.loads((ours / "cookiecutter.json").read_text())
    root = folder / "template"
    for path in sorted((ours / ROOT).rglob("*")):
        name = str(path.relative_to(ours / ROOT)).replace("cookiecutter.__package", "package")
        name = name.replace(".classification", "")
        if path.is_dir() or any(f".{problem}." in name for problem in template["problem"]):
            continue
        content = path.read_bytes()
        if b"cookiecutter" in content and path.suffix != ".just":
            content = content.replace(b"cookiecutter.__package", b"package").replace(b"cookiecutter.", b"")
            name += ".jinja"
        write(root, {name: content})
    questions = {
        "_subdirectory": "template",
        "_templates_suffix": ".jinja",
        "_envops": template["_jinja2_env_vars"] | {"keep_trailing_newline": True},
        "project_name": {"type": "str", "default": "My ML project"},
        "project_slug": {"type": "str", "default": "churn"},
        "description": {"type": "str", "default": "What it predicts"},
        "maturity_level": {"type": "str", "default": TOP},
        "problem": {"type": "str", "default": "classification"},
        "ci": {"type": "str", "default": "github"},
        "package": {"type": "str", "default": "churn"},
    }
    write(folder, {"copier.yml": json.dumps(questions)})
    write(root, {"{{ _copier_conf.answers_file }}.jinja": "{{ _copier_answers|to_nice_yaml }}"})
    git(folder, "init", "-q", "-b", "main")
    readme = "README.md" if (root / "README.md").exists() else "README.md.jinja"
    two_versions(folder, root, readme.removeprefix("README.md"))
    return folder


def edited(project: Path) -> Path:
    """Return the project, committed, with an edit of the user's."""
    if not (project / ".git").exists():
        git(project, "init", "-q", "-b", "main")
    write(project, {"pyproject.toml": (project / "pyproject.toml").read_text() + "\n# ours\n"})
    commit(project)
    return project


def main(rounds: int) -> None:
    """Print the medians, and their ratios to ours."""
    answers = ["project_slug=churn", f"maturity_level={TOP}"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        ours = our_template(folder / "ours")
        for name in ("a", "b", "c"):
            (folder / name).mkdir()
        timed(BIN / "cookiecutter", ours, "--no-input", *answers, cwd=folder / "a")
        plain = folder / "plain"  # cruft would run our hooks and prune twice: it gets the template without them
        git(folder, "clone", "-q", str(ours), str(plain))
        shutil.rmtree(plain / "hooks")
        template = json.loads((plain / "cookiecutter.json").read_text())
        del template["_extensions"]
        write(plain, {"cookiecutter.json": json.dumps(template)})
        git(plain, "tag", "-d", "1.0.0", "2.0.0")
        two_versions(plain, plain / ROOT, "")
        extra = json.dumps(dict(answer.split("=") for answer in answers))
        create = ("create", str(plain), "--no-input", "--extra-context", extra, "--checkout", "1.0.0")
        timed(BIN / "cruft", *create, cwd=folder / "b")
        copied = copier_template(ours, folder / "copied")
        timed(BIN / "copier", "copy", "-q", "--defaults", "--vcs-ref=1.0.0", copied, "churn", cwd=folder / "c")
        project, crufted, copiered = (edited(folder / name / "churn") for name in "abc")
        git(ours, "checkout", "-q", "2.0.0")
        run = (BIN / "cookiecutter", ours, "--no-input", "-f")
        runs = {
            "upgrade": (run, project),
            "preview": ((*run, "_preview=yes"), project),
            "cruft update": ((BIN / "cruft", "update", "-y", "--checkout", "2.0.0"), crufted),
            "copier update": ((BIN / "copier", "update", "-q", "--defaults", "--vcs-ref=2.0.0"), copiered),
        }
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, (command, where) in runs.items():
                times[name].append(timed(*command, cwd=where))
                if name != "preview":
                    assert (where / "new.txt").exists(), name
                git(where, "reset", "-q", "--hard")
                git(where, "clean", "-q", "-fdx")
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{rounds} rounds in turn, medians")
    for name, median in medians.items():
        print(f"  {name:14} {median:6.2f} s   upgrade is {medians['upgrade'] / median:4.2f} x of it")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
