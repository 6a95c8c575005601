"""Do the main job in one go: generate a pipeline-centric project, train, serve, retrain on new rows, roll back.

`uv run just demo` runs this; the project is left in the system's folder for temporary files, for a look around.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

HERE = Path(__file__).resolve().parent
HOME = Path(tempfile.gettempdir()) / "mlops-ladder-demo"  # not here: cookiecutter would copy it with the template
PROJECT = HOME / "my-ml-project"
SAMPLE = PROJECT / "data" / "sample" / "tumours.csv"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | {"SERVE_POLL_SECONDS": "0.5"}
PATIENCE = 120  # seconds a step may wait for the service


def main() -> None:
    """Do each step for real, and print its seconds and its result; the first that fails ends it."""
    start = time.perf_counter()
    step("generate the project", generate)
    step("install it", lambda: run("uv", "sync", "--quiet") or "its own environment in .venv")
    arrived, later = split_sample()
    step("take and check the first snapshot", lambda: last_line(just("data"), containing="rows,"))
    step("commit data and environment", lambda: commit("Lock data and environment"))
    step("retrain: stages, record, gate, promote", lambda: last_line(just("retrain"), containing="version"))
    port = free_port()
    with service(port):
        step("serve", lambda: f"version {wait_for(port, '1')} at http://127.0.0.1:{port}/docs")
        step("predict over HTTP", lambda: predict(port))
        SAMPLE.write_text(arrived + later, encoding="utf-8")
        step(
            f"retrain: {later.count(chr(10))} new rows have arrived",
            lambda: last_line(just("retrain"), containing="version"),
        )
        step("the service follows, without a restart", lambda: f"version {wait_for(port, '2')}")
        step("retrain again: nothing is new", lambda: last_line(just("retrain"), containing="nothing new, v"))
        step("roll back", lambda: last_line(just("rollback"), containing="serves again"))
        step("the service follows", lambda: f"version {wait_for(port, '1')}")
    place = PROJECT
    print(f"\nAll of it took {time.perf_counter() - start:.0f} s. Look around:")
    print(f"  {place}/reports/data.html, {place}/reports/classifier.html")
    print(f"  cd '{place}' && uv run mlflow ui --backend-store-uri sqlite:///mlflow.db")
    print(f"  cd '{place}' && uv run just")


def step(name: str, work: Callable[[], str]) -> None:
    """Print the name of the work, do it, print its seconds and its result."""
    print(f"- {name} ...", flush=True)
    start = time.perf_counter()
    result = work()
    print(f"    {time.perf_counter() - start:5.1f} s  {result}", flush=True)


def generate() -> str:
    """Make the project anew, by plain cookiecutter."""
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    answers = ["project_name=My ML project", "maturity_level=pipeline-centric"]
    run(sys.executable, "-m", "cookiecutter", str(HERE), "--no-input", *answers, folder=HOME)
    return f"{len(run('git', 'ls-files').splitlines())} files, one commit"


def split_sample() -> tuple[str, str]:
    """Leave only the first half of the sample in place; return it and the rows that arrive later."""
    lines = SAMPLE.read_text(encoding="utf-8").splitlines(keepends=True)
    cut = len(lines) // 2
    SAMPLE.write_text("".join(lines[:cut]), encoding="utf-8")
    return "".join(lines[:cut]), "".join(lines[cut:])


def commit(message: str) -> str:
    """Commit everything that is not ignored."""
    run("git", "add", "--all")
    run("git", "-c", "user.name=demo", "-c", "user.email=demo@localhost", "commit", "--quiet", "-m", message)
    return run("git", "log", "--oneline", "-1").strip()


def just(*arguments: str) -> str:
    """Run a command of the project; return what it prints, shown as it comes."""
    return run("uv", "run", "just", *arguments, show=True)


def run(*command: str, folder: Path = PROJECT, show: bool = False) -> str:
    """Return what a command prints; one that fails ends the demo with all it said."""
    pipe, joined = subprocess.PIPE, subprocess.STDOUT
    with subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdout=pipe, stderr=joined, text=True, encoding="utf-8"
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if show:
                print(f"        | {line}", end="", flush=True)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{''.join(lines)}")
    return "".join(lines)


def last_line(output: str, containing: str) -> str:
    """Return the last line that contains this text; its absence ends the demo."""
    found = [line.strip() for line in output.splitlines() if containing in line]
    return found[-1] if found else sys.exit(f"expected {containing!r} in:\n{output}")


@contextmanager
def service(port: int):
    """Run the project's service inside the block."""
    command = ["uv", "run", "python", "-m", "my_ml_project", "serve", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT, env=ENVIRONMENT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int, version: str) -> str:
    """Wait until this version serves; return it."""
    deadline = time.monotonic() + PATIENCE
    serving = None
    while time.monotonic() < deadline:
        try:
            serving = ask(port, "/version")["classifier"]["version"]
        except OSError:
            serving = None  # not listening yet
        if serving == version:
            return version
        time.sleep(0.2)
    sys.exit(f"the service should serve version {version}, but serves {serving}")


def predict(port: int) -> str:
    """Return what the service answers to the sample's first row."""
    names, values = (line.split(",") for line in SAMPLE.read_text(encoding="utf-8").splitlines()[:2])
    row = {name: float(value) for name, value in zip(names[1:-1], values[1:-1], strict=True)}
    return json.dumps(ask(port, "/models/classifier/predict", {"rows": [row]})["predictions"][0])


def ask(port: int, path: str, body: dict | None = None) -> dict:
    content = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{port}{path}", data=content, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


if __name__ == "__main__":
    main()
