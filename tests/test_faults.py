"""Whatever ends a retrain, what served still serves and the next one completes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from projects import HIGHEST, Project, ask, eventually, free_port, generate, until

pytestmark = [
    pytest.mark.xdist_group("faults"),
    pytest.mark.skipif(sys.platform == "win32", reason="kills by signal and limits by the kernel"),
]
DISK = "64m"  # of the file system that fills up


@pytest.fixture(scope="session")
def first(home: Path) -> Project:
    """A project with a champion, and everything committed."""
    made = Project(generate(home / "faults", maturity_level=HIGHEST), home / f"environment {HIGHEST}")
    assert "version 1 serves" in made.just("retrain")
    made.commit()
    return made


@pytest.fixture
def own(first: Project, tmp_path: Path) -> Project:
    """A copy of that project with all that git does not keep."""
    shutil.copytree(first.folder, tmp_path / "own", symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    return Project(tmp_path / "own", first.environment)


def retrain(project: Project, **environment: str) -> subprocess.CompletedProcess[str]:
    return project.run("uv", "run", "python", "-m", project.package, "retrain", **environment)


def change(project: Project, rounds: int) -> None:
    """Something new to train."""
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("rounds: 100", f"rounds: {rounds}"))


def champion(project: Project) -> str:
    """The version that serves, proven to load."""
    code = f"""
from {project.package}.registry import loading, versions
from {project.package}.training.params import model_blocks
[model] = model_blocks([])
number = versions.champion(model)
loading.load_version(model, number).verify_examples()
print(number)
"""
    done = project.run("uv", "run", "python", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_killed_at_any_step_the_champion_serves_and_the_next_retrain_completes(own: Project) -> None:
    script = Path(__file__).with_name("killed.py")
    done = own.run("uv", "run", "python", str(script), own.package)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    steps, others = [line for line in lines if "last" in line], [line for line in lines if "last" not in line]
    assert len(steps) >= 18
    for step in steps:
        before, after, last = step["before"], step["after"], step["last"]
        assert step["status"] == -9, step["step"]
        assert after["champion"] in {before["champion"], last["champion"]}, step["step"]
        assert after["predicted"] == last["predicted"] == 3
        assert len(last["versions"]) == len(before["versions"]) + 1, step["step"]
        assert last["champion"] == str(max(last["versions"])), step["step"]
        assert step["outcome"][0] in {"promoted", "unchanged"}
        assert step["again"] == ["unchanged"], step["step"]
        assert last["stale"] == [], step["step"]
        done = [version for version, state in last["log"] if state == "FINISHED"]
        assert done == [str(number) for number in sorted(last["versions"])], step["step"]
        assert "RUNNING" not in {state for _, state in last["log"]}
    *killed, cleaned, restored = others
    check_others(killed)
    assert cleaned["clean"] == {"broken": 0, "freed": 0, "runs": 0, "code": 0, "unknown": 0}
    assert list(restored.values()) == [[], []]


def check_others(killed: list[dict]) -> None:
    """After a kill of another command the log names who serves, what serves predicts, and the data are whole."""
    assert {step["step"].partition(":")[0] for step in killed} == {"promote", "rollback", "clean", "data", "restore"}
    for step in killed:
        before, after = step["before"], step["after"]
        done = [version for version, state in after["log"] if state == "FINISHED"]
        assert step["status"] == -9, step["step"]
        assert "RUNNING" not in {state for _, state in after["log"]}, step["step"]
        assert after["champion"] == done[-1], step["step"]
        assert after["previous"] == after["rollback"] != after["champion"], step["step"]
        assert after["predicted"] == 3
        assert after["versions"] == before["versions"]
        if not step["step"].startswith(("promote", "rollback")):
            assert after["champion"] == before["champion"], step["step"]


def test_a_registry_that_does_not_answer_fails_the_retrain_and_nothing_else(own: Project) -> None:
    change(own, 81)
    done = retrain(own, MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")

    assert done.returncode == 1
    assert "the registry at http://127.0.0.1:9 (MLFLOW_TRACKING_URI) fails: " in done.stdout
    assert champion(own) == "1"
    assert retrain(own).returncode == 0


def test_a_broken_cache_and_a_remote_that_is_gone_stop_nothing(own: Project) -> None:
    for file in (own.folder / ".dvc" / "cache" / "files").rglob("*"):
        if file.is_file():
            file.chmod(0o600)
            file.write_bytes(b"broken")
    storage = own.folder / ".dvc-storage"
    shutil.rmtree(storage)
    storage.write_text("no folder")
    change(own, 82)
    done = retrain(own)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "not pushed" in done.stdout
    assert int(champion(own)) <= 2
    storage.unlink()
    assert "broken" in own.just("clean")
    assert "not pushed" not in retrain(own).stdout
    assert any(storage.rglob("*"))


def test_a_full_disk_fails_the_retrain_and_the_next_one_completes(own: Project, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        small = Project(Path(shutil.copytree(own.folder, disk / "project", symlinks=True)), own.environment)
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler = disk / "filler"
        for left in (0, 40_000, 300_000):
            filler.write_bytes(b"0" * (free - left))
            change(small, 83)
            done = retrain(small)
            assert done.returncode != 0, left
            filler.unlink()
            assert champion(small) == "1"
        done = retrain(small)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_locks_that_were_cut_off_are_made_again(own: Project) -> None:
    for name in ("dvc.lock", "data/raw.dvc"):
        file = own.folder / name
        file.write_bytes(file.read_bytes()[: len(file.read_bytes()) * 2 // 3])
    done = retrain(own)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "made again" in done.stdout
    assert "version 1 is settled" in done.stdout


def test_of_two_retrains_at_once_one_is_told(own: Project) -> None:
    change(own, 84)
    command = ["uv", "run", "python", "-m", own.package, "retrain"]
    with own.server(*command) as one, own.server(*command) as other:
        assert sorted((one.wait(), other.wait())) == [0, 1]
    assert int(champion(own)) <= 2


def test_a_clock_that_goes_back_does_not_reorder_versions_or_the_log(own: Project) -> None:
    code = f"""
import time, mlflow.utils.time as clock
past = lambda: 1_000_000
clock.get_current_time_millis = past
import mlflow.store.tracking.sqlalchemy_store as runs, mlflow.store.model_registry.sqlalchemy_store as versions
runs.get_current_time_millis = versions.get_current_time_millis = past
from {own.package}.registry import deployments, versions
from {own.package}.retraining import gate, retrain
from {own.package}.training.params import model_blocks
gate.judge = lambda *_, **__: gate.Verdict(True, "open", [])
retrain.retrain([], "past")
[model] = model_blocks([])
print(versions.versions(model)[0].number, deployments.deployments(model)[-1].version)
print(versions.champion(model), deployments.rollback(model, "past"))
"""
    change(own, 85)
    done = own.run("uv", "run", "python", "-c", code)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-4:] == ["2", "2", "2", "1"]


def test_three_versions_are_identical_after_five_more_retrains_and_on_a_fresh_clone(own: Project) -> None:
    for rounds in range(81, 88):
        params = own.folder / "params.yaml"
        lines = [f"    rounds: {rounds}" if "rounds" in line else line for line in params.read_text().splitlines()]
        params.write_text("\n".join(lines) + "\n")
        assert retrain(own).returncode == 0
    for version in ("1", "2", "3"):
        assert "identical" in own.just("restore", version)
    clone = Project(own.folder.parent / "clone", own.environment)
    subprocess.run(["git", "clone", "-q", str(own.folder), str(clone.folder)], check=True)
    assert "has no version 2" in clone.run("uv", "run", "just", "restore", "2").stderr
    reach = {"MLFLOW_TRACKING_URI": f"sqlite:///{own.folder / 'mlflow.db'}"}
    lost = clone.run("uv", "run", "just", "restore", "2", **reach)
    assert "neither in DVC's cache nor at its remote nor in data/raw here" in lost.stderr
    remote = ["uv", "run", "dvc", "remote", "modify", "--local", "storage", "url", str(own.folder / ".dvc-storage")]
    assert clone.run(*remote).returncode == 0
    assert "identical" in clone.just("restore", "2", **reach)


def test_the_service_follows_a_promotion_and_stays_on_the_old_model_when_the_new_one_is_broken(own: Project) -> None:
    port = free_port()
    change(own, 86)
    with own.server("uv", "run", "just", "serve", str(port), SERVE_POLL_SECONDS="0.2") as process:
        [name] = eventually(port, "/ready", process) and own.models
        assert ask(port, "/version")[1][name]["version"] == "1"
        own.just("train")
        own.just("promote", "2")
        until(lambda: ask(port, "/version")[1][name]["version"] == "2")
        own.just("rollback")
        until(lambda: ask(port, "/version")[1][name]["version"] == "1")
        [broken] = [file for file in (own.folder / "mlruns").rglob("model.skops") if version_of(own, file) == "2"]
        broken.write_bytes(broken.read_bytes()[:-1])
        assert own.run("uv", "run", "just", "promote", "2").returncode == 1
        moved = "from mlflow import MlflowClient as C; C('sqlite:///mlflow.db').set_registered_model_alias"
        own.run("uv", "run", "python", "-c", f"{moved}('{own.package}.{name}', 'champion', '2')")
        until(lambda: "not the one recorded" in (ask(port, "/version")[1][name]["error"] or ""))
        assert ask(port, "/version")[1][name]["version"] == "1"


def version_of(project: Project, file: Path) -> str:
    """The version whose run keeps this file."""
    code = f"""
from {project.package}.registry import versions
from {project.package}.training.params import model_blocks
[model] = model_blocks([])
print([each.number for each in versions.versions(model) if each.run == {file.parents[2].name!r}][0])
"""
    return project.run("uv", "run", "python", "-c", code).stdout.split()[-1]


def test_up_refuses_a_port_that_is_taken_and_starts_nothing(own: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port, prefect = taken.getsockname()[1], free_port()
        address = f"http://127.0.0.1:{prefect}/api"
        done = own.run("uv", "run", "just", "up", str(port), PREFECT_API_URL=address)

    assert done.returncode != 0
    assert f"error: port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert "service:" not in done.stdout and "Traceback" not in done.stderr
    with pytest.raises(OSError):
        ask(prefect, "/api/health")


def test_a_service_that_ends_stops_what_was_started_with_it(own: Project) -> None:
    port, prefect = free_port(), free_port()
    server = f"http://127.0.0.1:{prefect}/api"
    with own.server("uv", "run", "just", "up", str(port), PREFECT_API_URL=server) as process:
        until(lambda: "service: http://" in process.log.read_text(), patience=300)
        listed = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
        [service] = [line.split()[0] for line in listed.splitlines() if line.endswith(f" serve {port}")]
        os.kill(int(service), signal.SIGKILL)
        assert process.wait(timeout=60) != 0
        assert "error: the service ended" in process.log.read_text()
    with pytest.raises(OSError):
        ask(prefect, "/api/health")
