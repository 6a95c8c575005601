"""Make a project from this template and run its commands as a user would."""

from __future__ import annotations

import ast
import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[1]
TREE = ROOT / "{{cookiecutter.project_slug}}"
QUESTIONS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
LEVELS, PROBLEMS = QUESTIONS["maturity_level"], QUESTIONS["problem"]
LOWEST, MIDDLE, HIGHEST = LEVELS
PATIENCE = 120  # seconds to wait for a server
LEFT_OUT = {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "GIT_DIR", "GIT_WORK_TREE"}


@cache
def template() -> Path:
    """A clean clone of the template as it stands here, committed or not: what a user of it gets."""
    clone = Path(tempfile.mkdtemp(prefix="template")) / "mlops-ladder"
    atexit.register(shutil.rmtree, clone.parent, ignore_errors=True)
    for name, content in files(ROOT).items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(content)
        shutil.copymode(ROOT / name, clone / name)
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
    for command in (["init", "-q"], ["add", "-A", "-f"], [*identity, "commit", "-q", "-m", "template"]):
        subprocess.run(["git", *command], cwd=clone, check=True)
    return clone


def cookiecutter(folder: Path, *arguments: str, **answers: str) -> subprocess.CompletedProcess[str]:
    """Plain cookiecutter, run in a folder."""
    given = [f"{question}={answer}" for question, answer in answers.items()]
    command = [sys.executable, "-m", "cookiecutter", str(template()), "--no-input", *arguments, *given]
    environment = os.environ | {"PWD": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")


def generate(folder: Path, **answers: str) -> Path:
    """A new project below the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    done = cookiecutter(folder, **answers)
    assert done.returncode == 0, done.stdout + done.stderr
    [made] = folder.iterdir()
    return made


def files(folder: Path) -> dict[str, bytes]:
    """Every file git knows of, or would if asked, with its content."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return {name: (folder / name).read_bytes() for name in listed.stdout.split("\0") if (folder / name).is_file()}


OF_ANY_WATCH = ("few", "without", "a_broken", "answers", "a_day", "labels_that", "an_old", "counts", "the_mean")
OF_ANY_LOG = ("ids", "labels", "a_label", "what", "a_log", "a_queue", "without", "another", "a_key")
OF_MODELS = (
    "tests/test_data.py",
    "tests/models",
    "tests/training",
    "tests/serving/test_app.py",
    "tests/serving/test_batch.py",
)
WHATEVER_THE_MODELS = [  # run with one problem
    "tests/datasets",
    "tests/monitoring/test_learning.py",
    *(f"tests/monitoring/test_watch.py::test_{name}" for name in OF_ANY_WATCH),
    "tests/registry/test_database.py",
    "tests/registry/test_deployments.py",
    "tests/registry/test_loading.py",
    "tests/retraining/test_latency.py",
    "tests/retraining/test_leakage.py",
    "tests/retraining/test_retrain.py",
    "tests/serving/test_canary.py",
    *(f"tests/serving/test_prediction_log.py::test_{name}" for name in OF_ANY_LOG),
    "tests/serving/test_protection.py",
    "tests/serving/test_switches.py",
]


@dataclass
class Project:
    """A project made by the template, and the environment its commands run in."""

    folder: Path
    environment: Path

    @property
    def package(self) -> str:
        return next(path.parent.name for path in self.folder.glob("src/*/__init__.py"))

    @property
    def models(self) -> list[str]:
        """The names of the models in params.yaml, in its order."""
        lines = (self.folder / "params.yaml").read_text(encoding="utf-8").splitlines()
        return [line.strip(" :") for line in lines if line.startswith("  ") and line[2] not in " #"]

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command run in the project's folder, whatever it comes to."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables(environment),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def just(self, *arguments: str, **environment: str) -> str:
        """What a command of the project prints; it must succeed."""
        done = self.run("uv", "run", "just", *arguments, **environment)
        assert done.returncode == 0, f"just {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def check_models(self, *tests: str) -> None:
        """Check the project, by all tests or these, but those that are the same whatever the models are."""
        for lint in (["check"], ["format", "--check"]):
            done = self.run("uv", "run", "ruff", *lint)
            assert done.returncode == 0, done.stdout
        done = self.run("uv", "run", "pytest", "-q", *tests, *(f"--deselect={name}" for name in WHATEVER_THE_MODELS))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def variables(self, more: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
        shared = {"UV_PROJECT_ENVIRONMENT": str(self.environment), "OMP_NUM_THREADS": "1"}  # two workers, two cores
        return kept | shared | more

    def commit(self, message: str = "work") -> None:
        """Everything that is not ignored is committed."""
        identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
        for command in (["add", "-A"], [*identity, "commit", "-q", "--allow-empty", "-m", message]):
            done = self.run("git", *command)
            assert done.returncode == 0, done.stderr

    @contextmanager
    def server(self, *command: str, **environment: str) -> Iterator[subprocess.Popen]:
        """A command that runs meanwhile and is asked to end afterwards; `log` is the file of what it prints."""
        log = self.folder.parent / f"{time.monotonic_ns()}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.variables(environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            process.log = log
            try:
                yield process
            finally:
                end(process)


@cache
def recipes_run() -> set[str]:
    """The recipes that functions of these tests run: `.just("NAME"` and `"just", "NAME"` in a call or a list."""
    found = set()
    functions = (
        node
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    for node in (inner for function in functions for inner in ast.walk(function)):
        if not isinstance(node, ast.Call | ast.List | ast.Tuple):
            continue
        parts = node.args if isinstance(node, ast.Call) else node.elts
        words = [part.value if isinstance(part, ast.Constant) else None for part in parts]
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "just":
            words = ["just", *(words or [""])]  # alone, it lists the recipes
        found |= {name for word, name in pairwise(words) if word == "just" and isinstance(name, str)}
    return found


def end(process: subprocess.Popen, how: int = signal.SIGTERM) -> None:
    """The process and all it started are gone: `uv` and `just` pass no signal on to what they run."""
    if process.poll() is None:
        os.killpg(process.pid, how) if hasattr(os, "killpg") else process.terminate()
    process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port: int, path: str, body: dict | None = None) -> tuple[int, dict]:
    """Status and JSON that a server on this machine answers."""
    content = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{port}{path}", data=content, headers={"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except HTTPError as error:
        return error.code, json.loads(error.read())


def eventually(port: int, path: str, process: subprocess.Popen | None = None) -> dict:
    """What the server answers once it says 200."""
    deadline = time.monotonic() + PATIENCE
    found = None
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            status, found = ask(port, path)
            if status == 200:
                return found
        except OSError as error:
            found = error
        time.sleep(0.2)
    raise AssertionError(f"{path} did not answer 200: {found}")


def until(found: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """What the function returns once that is something."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError("it did not happen")


def copy(project: Project, folder: Path) -> Project:
    """The project as git knows it, with its history, at another place and in the same environment."""
    shutil.copytree(
        project.folder, folder, ignore=shutil.ignore_patterns(".venv", "__pycache__", "artifacts", "mlruns")
    )
    return Project(folder, project.environment)
