"""A template in three versions, projects made from it, and what an upgrade did to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = "{{cookiecutter.project_slug}}"
STATE = ".mlops-ladder.json"
LEVELS = {"D": "data-centric", "M": "model-centric", "P": "pipeline-centric"}
CLEAN, REFUSED, CONFLICTS = 0, 1, 3
LINES = [f"line {number} says something of its own\n" for number in range(1, 41)]


def run(*command: str, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """A finished command, run as a shell standing in that folder would run it."""
    done = subprocess.run(
        list(command),
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PWD": str(cwd)} | environment,
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def git(folder: Path, *arguments: str, **options) -> str:
    """What git prints."""
    return run("git", *arguments, cwd=folder, **options).stdout.strip()


def commit(folder: Path, message: str = "work") -> None:
    """Everything in the folder is committed."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", message)


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    """The folder holds these files."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)


def line(number: int, text: str, lines: list[str] = LINES) -> list[str]:
    """The lines with another text in one of them, counted from 1."""
    return [*lines[: number - 1], f"{text}\n", *lines[number:]]


def probes() -> dict[str, str | bytes]:
    """Files of the first version that later versions change in known ways."""
    return {
        "probe/lines.txt": "".join(LINES),
        "probe/gone.txt": "".join(f"gone {text}" for text in LINES[:9]),
        "probe/moved.txt": "".join(f"moved {text}" for text in LINES[:20]),
        "probe/image.bin": bytes(range(256)) * 8,
        "probe/tool.py": "print('a tool')\n",
        "probe/with space.txt": "".join(f"spaced {text}" for text in LINES[:9]),
        "probe/store/about.txt": "".join(f"store {text}" for text in LINES[:9]),
        "probe/name.txt": "{{cookiecutter.project_name}} | {{cookiecutter.description}}\n" + "".join(LINES[:9]),
        "probe/model.txt": "".join(f"model {text}" for text in LINES[:20]),
        "probe/pipeline.txt": "".join(f"pipeline {text}" for text in LINES[:20]),
        "src/{{cookiecutter.__package}}/probe_one.py": "".join(f"ONE_{n} = {n}\n" for n in range(20)),
        "src/{{cookiecutter.__package}}/probe_two.py": "".join(f"TWO_{n} = {n}\n" for n in range(20)),
    }


def make_template(folder: Path, source: Path) -> None:
    """A git repository with the template in three versions, tagged v1, v2 and v3; v3 no longer offers ci=none."""
    folder.mkdir(parents=True)
    names = git(HERE, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "hooks").split("\0")
    for path in filter(None, names):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(HERE / path, folder / path)
    shutil.copytree(source / ROOT, folder / ROOT, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    template = json.loads((source / "cookiecutter.json").read_text("utf-8"))
    adds = template["_adds"]["maturity_level"]
    adds["model-centric"].append("probe/model.txt")
    adds["pipeline-centric"].append("probe/pipeline.txt")
    root = folder / ROOT

    def release(version: int) -> None:
        template["_version"] = f"0.{version}.0"
        write(folder, {"cookiecutter.json": json.dumps(template, indent=2)})
        commit(folder, f"v{version}")
        git(folder, "tag", f"v{version}")

    git(folder, "init", "-q", "-b", "main")
    write(root, probes())
    release(1)
    write(
        root,
        {
            "probe/lines.txt": "".join(line(20, "the template's second version")),
            "probe/elsewhere.txt": (root / "probe/moved.txt").read_bytes(),
            "probe/image.bin": bytes(range(255, -1, -1)) * 8,
            "probe/with space.txt": "".join(line(5, "spaced two", [f"spaced {text}" for text in LINES[:9]])),
            "probe/store/about.txt": "".join(line(5, "store two", [f"store {text}" for text in LINES[:9]])),
            "probe/model.txt": "".join(line(10, "model two", [f"model {text}" for text in LINES[:20]])),
            "probe/new.txt": "new in the second version\n",
            "probe/pipeline.txt": "".join(line(10, "pipeline two", [f"pipeline {text}" for text in LINES[:20]])),
            "src/{{cookiecutter.__package}}/probe_two.py": "".join(f"TWO_{n} = {n * 2}\n" for n in range(20)),
            "src/{{cookiecutter.__package}}/probe_three.py": "".join(f"THREE_{n} = {n}\n" for n in range(20)),
        },
    )
    (root / "probe/gone.txt").unlink()
    (root / "probe/moved.txt").unlink()
    (root / "probe/tool.py").chmod(0o755)
    release(2)
    write(root, {"probe/lines.txt": "".join(line(30, "the third version", line(20, "the template's second version")))})
    template["ci"].remove("none")
    release(3)


def ordinary_edits(project: Path, package: str) -> dict[str, str]:
    """What a team does in its first weeks; each file with a line of theirs that must survive."""
    (project / f"src/{package}/data.py").write_text('"""Ours, from the first line to the last."""\n\nOURS = 1\n')
    for path, old, new in [
        ("pyproject.toml", "dependencies = []", 'dependencies = [\n  "requests>=2.32",\n]'),
        ("README.md", "## Start", "Our own introduction.\n\n## Start"),
        (".gitignore", "# secrets", "/our-scratch/\n\n# secrets"),
        ("justfile", "# lint, formatting", "# ours\nours:\n    uv run python -m ours\n\n# lint, formatting"),
        ("pyproject.toml", '"pytest>=', '"hypothesis>=6",\n  "pytest>='),
    ]:
        content = (project / path).read_text("utf-8")
        assert old in content, f"{path} has no {old!r} any more: change this edit"
        write(project, {path: content.replace(old, new, 1)})
    write(
        project,
        {f"src/{package}/ours.py": "OURS = 2\n", "tests/test_ours.py": "def test_ours():\n    assert True\n"},
    )
    return {
        f"src/{package}/data.py": "OURS = 1",
        f"src/{package}/ours.py": "OURS = 2",
        "tests/test_ours.py": "def test_ours",
        "pyproject.toml": "requests>=2.32",
        "README.md": "Our own introduction.",
        ".gitignore": "/our-scratch/",
        "justfile": "uv run python -m ours",
    }


def edit_params(project: Path) -> dict[str, str]:
    """Parameters are changed, which a model-centric project is the first to have."""
    content = (project / "params.yaml").read_text("utf-8")
    write(project, {"params.yaml": content.replace("seed: 0", "seed: 4711  # ours", 1)})
    return {"params.yaml": "seed: 4711"}


@dataclass
class Lab:
    """A template, and the projects made from it."""

    folder: Path
    source: Path = HERE
    made: dict[tuple, Path] = field(default_factory=dict)

    def template(self, version: int) -> Path:
        """A clone of the template that stands at that version."""
        origin = self.folder / "origin"
        if not origin.exists():
            make_template(origin, self.source)
        clone = self.folder / f"template-{version}"
        if not clone.exists():
            git(self.folder, "clone", "-q", str(origin), str(clone))
            git(clone, "checkout", "-q", f"v{version}")
        return clone

    def cookiecutter(self, cwd: Path, template: str | Path, *arguments: str, **environment: str):
        """A finished run of cookiecutter's own command line."""
        command = (sys.executable, "-m", "cookiecutter", str(template), "--no-input", *arguments)
        return run(*command, cwd=cwd, check=False, **environment)

    def project(self, where: Path, start: str = "D1", slug: str = "churn", **answers: str) -> Path:
        """A committed project at a level and a version, such as M2."""
        key = (start, slug, *sorted(answers.items()))
        if key not in self.made:
            level, version = LEVELS[start[0]], int(start[1])
            into = self.folder / f"made-{len(self.made)}"
            into.mkdir()
            given = [f"{name}={answer}" for name, answer in answers.items()]
            done = self.cookiecutter(
                into, self.template(version), f"project_slug={slug}", f"maturity_level={level}", *given
            )
            assert done.returncode == 0, done.stdout + done.stderr
            self.made[key] = into / slug
        shutil.copytree(self.made[key], where / slug, symlinks=True)
        git(where / slug, "status")  # a copy has other inodes: let git look once
        return where / slug

    def upgrade(self, project: Path, to: str = "M2", *arguments: str, **environment: str) -> Outcome:
        """What came of running cookiecutter in a project, with another level and version."""
        before = snapshot(project)
        level, version = LEVELS[to[0]], int(to[1])
        given = ("-f", f"maturity_level={level}", *arguments)
        done = self.cookiecutter(project, self.template(version), *given, **environment)
        return Outcome(project, before, done.returncode, done.stdout, done.stderr)


def snapshot(project: Path) -> dict[str, tuple[int, bytes]]:
    """Everything on the disk, git-ignored files included, and where HEAD is."""
    found: dict[str, tuple[int, bytes]] = {}
    for root, folders, names in os.walk(project):
        folders[:] = [name for name in folders if name != ".git"]
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in [*names, *links]:
            path = Path(root) / name
            if name == ".git":
                continue
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found[path.relative_to(project).as_posix()] = (path.lstat().st_mode, content)
    return found


@dataclass
class Outcome:
    """What an upgrade did."""

    project: Path
    before: dict[str, tuple[int, bytes]]
    status: int
    output: str
    error: str

    def __getitem__(self, path: str) -> str:
        return (self.project / path).read_bytes().decode()

    @property
    def said(self) -> str:
        """All that was printed."""
        return self.output + self.error

    @property
    def unmerged(self) -> set[str]:
        """The paths git has conflicts for."""
        listed = git(self.project, "ls-files", "-u", "-z").split("\0")
        return {entry.split("\t", 1)[1] for entry in listed if entry}

    def check(self, wanted: int) -> None:
        """The status is the wanted one and true, and `git reset --hard` gives back what was there."""
        assert self.status == wanted, f"{self.status} instead of {wanted}\n{self.said}"
        assert "Traceback" not in self.said, self.said
        if wanted == REFUSED:
            assert snapshot(self.project) == self.before, self.said
            assert len(self.error.strip().splitlines()) <= 2, self.error
            return
        assert bool(self.unmerged) == (wanted == CONFLICTS), self.unmerged
        assert not git(self.project, "ls-files", "-o", "--exclude-standard"), "an untracked file is left"
        if wanted == CLEAN:
            assert not git(self.project, "diff", "--name-only"), "something is not staged"
        assert not (self.project / ".git/mlops-ladder").exists()

    def undone(self) -> None:
        """After `git reset --hard` everything is as it was, git-ignored files included."""
        git(self.project, "reset", "-q", "--hard")
        now = snapshot(self.project)
        assert now.keys() == self.before.keys(), now.keys() ^ self.before.keys()
        assert now == self.before, [path for path in now if now[path] != self.before[path]]
