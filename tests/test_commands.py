"""Every command of a generated project, run as its user would, at every level and for every problem."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml
from projects import HIGHEST, LEVELS, LOWEST, MIDDLE, OF_MODELS, Project, ask, end, eventually, free_port, until

COMMANDS = {
    "data-centric": {"check", "data", "explore", "upgrade", "preview"},
    "model-centric": {
        "train",
        "evaluate",
        "promote",
        "rollback",
        "withdraw",
        "predict",
        "forecast",
        "labels",
        "forget",
        "serve",
        "recover",
    },
    "pipeline-centric": {"retrain", "learn", "up", "watch", "simulate", "history", "lineage", "restore", "clean"},
}
SIMULATED = ("classification", "regression")  # problems whose rows can be drawn
LOADED = """
import sys
from importlib import import_module
from pkgutil import iter_modules
import_module(f"{sys.argv[1]}.serving.app")
models = import_module(f"{sys.argv[1]}.models")
for module in iter_modules(models.__path__):
    import_module(f"{models.__name__}.{module.name}")
print(*(name for name in ("matplotlib", "pandera", "dvc") if name in sys.modules))
"""
WATCH = """
import os, socket
connect = socket.socket.connect
def watched(self, address):
    if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
        with open(os.environ["CALLS"], "a") as calls:
            calls.write(f"{address}\\n")
    return connect(self, address)
socket.socket.connect = watched
"""


def at_least(level: str, wanted: str) -> None:
    if LEVELS.index(level) < LEVELS.index(wanted):
        pytest.skip(f"{level} has no such command")


def test_just_lists_the_commands_of_the_level(project, level):
    words = {line.split()[0] for line in project.just().splitlines()[1:] if line.strip()}

    expected = set().union(*(COMMANDS[each] for each in LEVELS[: LEVELS.index(level) + 1]))
    assert expected <= words
    assert not words & set().union(*(COMMANDS[each] for each in LEVELS[LEVELS.index(level) + 1 :]), set())


def test_a_fresh_project_passes_its_own_checks_and_is_left_clean(project, level, problem):
    if problem == "classification" and level in (LOWEST, HIGHEST):
        project.just("check")
    elif level == MIDDLE and problem != "classification":  # the level above has the same tests
        project.check_models(*OF_MODELS)
    else:
        project.check_models()
    project.commit("uv.lock")

    assert project.run("git", "status", "--porcelain").stdout == ""


def test_data_takes_snapshots_and_writes_a_report(project):
    project.just("data")
    report = (project.folder / "reports" / "data.html").read_text(encoding="utf-8")

    assert "all checks hold" in report
    assert "<svg " in report
    assert "http" not in report
    assert "unchanged" in project.just("data")
    project.commit("data/catalog.lock")


@pytest.mark.parametrize(("level", "problem"), [(LOWEST, "classification")])
def test_the_reports_counts_and_its_page_on_odd_tables(project, tmp_path):
    project.just("data")
    copy = shutil.copy(Path(__file__).parent / "own" / "page.py", tmp_path / "test_page.py")
    done = project.run("uv", "run", "pytest", "-q", "-W", "error", f"--rootdir={tmp_path}", str(copy))

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_runs_as_a_script_and_opens(project):
    project.just("data")
    done = project.run("uv", "run", "python", "notebooks/explore.py")
    assert done.returncode == 0, done.stderr

    with project.server("uv", "run", "just", "explore", BROWSER="true") as process:
        [address] = until(lambda: re.findall(r"http://\S+\?\S+", process.log.read_text(encoding="utf-8")))
        place = urlsplit(address)
        assert eventually(place.port, f"/api/status?{place.query}", process)


def test_the_steps_of_the_workflow_pass(project, level):
    """The generated workflow's own commands, in their order."""
    workflow = yaml.safe_load((project.folder / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))
    steps = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]

    assert steps[0] == "pip install uv"
    assert workflow["permissions"] == {"contents": "read"}
    for step in steps[1:]:
        if level == LOWEST or step != "uv run just check":  # that one has its own test
            done = project.run(*step.split())
            assert done.returncode == 0, done.stdout + done.stderr


def test_train_promote_predict_serve_roll_back(project, level, problem, tmp_path):
    at_least(level, "model-centric")
    if level == HIGHEST and problem != "classification":
        pytest.skip("the level below has the same commands")
    project.just("data")
    project.just("train")
    for model in project.models:
        assert "version 1 is served" not in project.just("evaluate", model)
        report = (project.folder / "reports" / f"{model}.html").read_text(encoding="utf-8")
        assert "naive" in report and 'src="data:image/png;base64,' in report
        project.just("promote", "1", model)
        rows = holdout(project, model, tmp_path / f"{model}.parquet")
        project.just("predict", str(rows), str(tmp_path / f"{model}.csv"), model)
        with (tmp_path / f"{model}.csv").open(encoding="utf-8", newline="") as predictions:
            assert next(csv.DictReader(predictions))["prediction"]

    assert "nothing newer is lost" in project.just("recover")
    refused = project.run("uv", "run", "just", "rollback", project.models[0])
    assert refused.returncode != 0
    assert "no earlier champion" in refused.stderr
    assert "nothing serves until one is promoted" in project.just("withdraw", project.models[0])
    project.just("promote", "1", project.models[0])
    image = built(project, project.environment.with_name("image")) if level == MIDDLE else None
    answered = serve_and_ask(project, image or ["uv", "run", "just", "serve"])
    labels = tmp_path / "labels.csv"
    for model, identity in answered.items():
        labels.write_text(f"prediction_id,label\n{identity},1\n", encoding="utf-8")
        assert "1 labels stored" in project.just("labels", str(labels), model)
        assert "0 logged predictions deleted" in project.just("forget", "nobody", model)


def holdout(project: Project, model: str, target: Path) -> Path:
    """The model's held-out rows, without what is to be predicted, in a file."""
    code = (
        "import sys, pandas as pd; from importlib import import_module as i; p, m, t = sys.argv[1:];"
        "model = i(p + '.training.contract').load_model(m); rows = pd.read_parquet(model.files.holdout);"
        "rows.drop(columns=model.table.target).to_parquet(t)"
    )
    done = project.run("uv", "run", "python", "-c", code, project.package, model, str(target))
    assert done.returncode == 0, done.stderr
    return target


def built(project: Project, environment: Path) -> list[str]:
    """The command of the image, in an environment made by the commands of its Dockerfile."""
    lines = (project.folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
    for command in [line.removeprefix("RUN ").split() for line in lines if line.startswith("RUN uv sync ")]:
        done = project.run(*command, UV_PROJECT_ENVIRONMENT=str(environment))
        assert done.returncode == 0, done.stderr
    folder = environment / ("Scripts" if os.name == "nt" else "bin")
    assert not list(environment.rglob("site-packages/matplotlib"))
    program, *rest = json.loads(lines[-1].removeprefix("CMD "))
    return [str(folder / program), *rest[:-1]]


def serve_and_ask(project: Project, command: list[str]) -> dict[str, str]:
    """The service answers each model's own examples; by model, the id of one prediction."""
    port, answered = free_port(), {}
    with project.server(*command, str(port)) as process:
        eventually(port, "/ready", process)
        for name, serving in ask(port, "/version")[1].items():
            folder = next((project.folder / "artifacts" / name / "model").glob("signature.json"))
            examples = json.loads(folder.read_text(encoding="utf-8"))["examples"]
            status, answer = ask(port, f"/models/{name}/predict", {"rows": examples})
            assert (status, answer.get("version")) == (200, serving["version"]), answer
            answered[name] = answer["prediction_ids"][0]
            feedback = {"labels": [{"prediction_id": answered[name], "label": 1}]}
            assert ask(port, f"/models/{name}/feedback", feedback)[1]["stored"] == 1
            assert ask(port, f"/models/{name}/predict", {"rows": [{}]})[0] == 422
        if sys.platform != "win32":
            process.terminate()  # of all that runs, only the outermost
            process.wait(timeout=60)
            until(lambda: is_gone(port), patience=30)
    return answered


def is_gone(port: int) -> bool:
    """Whether nothing listens at the port any more."""
    try:
        ask(port, "/health")
    except OSError:
        return True
    return False


def test_what_serves_loads_nothing_that_only_draws_or_checks(project, level):
    """Each of these takes a tenth of a second to a second, and memory for as long as the service runs."""
    at_least(level, "model-centric")
    done = project.run("uv", "run", "python", "-c", LOADED, project.package)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_retrain_gates_promotes_and_finds_nothing_new(project, level):
    at_least(level, HIGHEST)
    first = project.just("retrain")
    again = project.just("retrain")

    for model in project.models:
        assert f"{model}: version" in first or f"{model}: nothing new" in first
        assert f"{model}: nothing new" in again
        champion = project.just("lineage", "", model)
        assert re.match(rf"{model} version \d+ serves", champion)
        assert project.just("lineage", "1", model).startswith(f"{model} version 1")
        assert re.search(r"\n  data \w+ +[0-9a-f]{12}\n", champion) and "\n  verdict " in champion
    assert "no model learns from the log" in project.just("learn")
    assert "cannot tell" in project.just("watch")
    assert "cannot tell" in project.just("watch", "--retrain")
    assert project.run("uv", "run", "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    done = project.run("uv", "run", "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert "Running stage" not in done.stdout


def test_simulate_finds_a_broken_column_and_leaves_nothing_behind(project, level, problem, tmp_path):
    """A short one to its end for one problem, one that is stopped for another."""
    at_least(level, HIGHEST)
    project.just("data")
    if problem not in SIMULATED:
        done = project.run("uv", "run", "just", "simulate")
        assert done.returncode == 1 and done.stderr.count("error: simulate ") == 1, done.stderr
        return
    before = project.run("git", "status", "--porcelain").stdout
    if problem == SIMULATED[0]:
        said = project.just("simulate", "8", "--rows", "40", "--no-control")
        check_simulation(json.loads((project.folder / "reports" / "simulation.json").read_text(encoding="utf-8")), said)
    else:
        with project.server("uv", "run", "just", "simulate", "8", TMPDIR=str(tmp_path)) as process:
            until(lambda: len([*tmp_path.glob("simulation*/project/reports/simulation.log")]) == 2)
            end(process, signal.SIGINT)
        until(lambda: not [*tmp_path.glob("simulation*")])  # `uv` may end before what it ran
    assert project.run("git", "status", "--porcelain").stdout == before


def check_simulation(facts: dict, said: str) -> None:
    """The broken column is found and never learned, a retrain goes on after it, and no row is lost."""
    counted, days = facts["findings"], facts["faults"]["days"]
    [broken] = counted["found"]
    assert 0 < broken["detected"] <= 2, said
    assert (counted["lost"], counted["learned"], counted["by_hand"]) == (0, 0, 0), said
    assert facts["faults"]["sent"] == 8 * 40
    assert any(day["versions"] for day in days[broken["fault"]["first"] + 3 :]), said


def test_nothing_calls_home(project, level, tmp_path):
    at_least(level, HIGHEST)
    (tmp_path / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    calls = tmp_path / "calls"
    watched = {"PYTHONPATH": str(tmp_path), "CALLS": str(calls)}
    for command in ("data", "train", "retrain"):
        project.just(command, **watched)

    assert not calls.exists(), calls.read_text(encoding="utf-8")


def test_up_starts_server_schedule_and_service_and_ends_them(project, level, problem):
    at_least(level, HIGHEST)
    if problem != "classification":
        pytest.skip("flows are the same whatever the problem")
    if sys.platform == "win32":
        pytest.skip("a console signal would reach the tests too")
    port, prefect = free_port(), free_port()
    with project.server(
        "uv", "run", "just", "up", str(port), PREFECT_API_URL=f"http://127.0.0.1:{prefect}/api"
    ) as process:
        eventually(port, "/health", process)
        deployment = until(lambda: {each["name"]: each for each in deployments(prefect, process)}.get("nightly"))
        assert deployment["schedules"][0]["schedule"]["cron"]
        run = told(prefect, deployment["id"])
        assert run["parameters"]["reason"] == "event: new data"
        assert finished(prefect, run["id"]) == "COMPLETED", process.log.read_text()
        [shown] = [each["data"] for each in ask(prefect, "/api/artifacts/filter", {})[1] if each["key"] == "retrain"]
        assert shown.startswith("| model | outcome | what |")
        process.terminate()  # of all that runs, only the outermost
        process.wait(timeout=60)
    assert is_gone(port) and is_gone(prefect)


def deployments(port: int, process: subprocess.Popen) -> list[dict]:
    """The deployments the server knows, once there is one."""
    eventually(port, "/api/health", process)
    return until(lambda: ask(port, "/api/deployments/filter", {})[1])


def told(port: int, deployment: str) -> dict:
    """The run of a deployment that an event starts; a server whose database is busy says 503, and is told again."""
    until(lambda: ask(port, "/api/automations/filter", {})[1])
    moment = datetime.now(UTC).isoformat()
    event = {"id": str(uuid4()), "occurred": moment, "event": "new-data", "payload": {}, "related": []}
    event["resource"] = {"prefect.resource.id": "orders"}
    until(lambda: ask(port, "/api/events", [event])[0] == 204)
    wanted = {"deployments": {"id": {"any_": [deployment]}}}

    def run() -> dict | None:
        found = ask(port, "/api/flow_runs/filter", wanted)[1]
        return next((each for each in found if each["parameters"].get("reason", "").startswith("event")), None)

    return until(run)


def finished(port: int, run: str) -> str:
    """The state a flow run ends in."""
    ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    def state() -> str | None:
        found = ask(port, f"/api/flow_runs/{run}")[1]["state_type"]
        return found if found in ended else None

    return until(state)
