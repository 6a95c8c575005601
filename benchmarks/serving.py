"""Requests a second and their times, at 1 to 128 clients: the service, other servers of the same model, a bare one.

One run, one machine, the same row and model, a server at a time, after a second of warming up. The bare server answers
the same bytes by the same uvicorn without a model: the limit. `uv run python benchmarks/serving.py [SECONDS]`. BentoML
has an environment of its own, made here; a server that cannot be run is left out, and said.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import MIDDLE, Project, free_port, generate

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5
CLIENTS = (1, 8, 32, 128)
PATIENCE = 180  # seconds until a server answers
CALL = """
import json, statistics, time
import pandas as pd
from {package}.registry.loading import load_served
version = load_served("classifier", "1")
rows = version.signature.typed(pd.DataFrame(version.signature.examples[:1]))
def milliseconds():
    start = time.perf_counter()
    version.module.predict(version.estimator, rows)
    return 1000 * (time.perf_counter() - start)
milliseconds()
answers = {{"model": "classifier", "version": "1", "predictions": version.responses(version.signature.examples[:1])}}
call = statistics.median(milliseconds() for _ in range(50))
print(json.dumps([call, rows.to_dict("records"), answers | {{"warnings": []}}]))
"""
SAVE = """
import cloudpickle
from {package}.registry.loading import load_served
import mlflow
model = load_served("classifier", "1").estimator
with open("{folder}/model.pkl", "wb") as file:
    cloudpickle.dump(model, file)
mlflow.sklearn.save_model(model, "{folder}/mlflow", serialization_format="cloudpickle", pip_requirements=[],
                          pyfunc_predict_fn="predict_proba")
"""
BARE = """
import sys
from {package}.serving import server
body = open(sys.argv[2], "rb").read()
start = {{"type": "http.response.start", "status": 200, "headers": [
    (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]}}
async def service(scope, receive, send):
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send(start)
        await send({{"type": "http.response.body", "body": body}})
server.run(service, "127.0.0.1", int(sys.argv[1]))
"""
BENTO = """
import bentoml, cloudpickle, pandas as pd
with open("{folder}/model.pkl", "rb") as file:
    MODEL = cloudpickle.load(file)
@bentoml.service(workers=1, traffic={{"timeout": 60}})
class Service:
    @bentoml.api({options})
    def predict(self, rows: list[dict]) -> list[list[float]]:
        return MODEL.predict_proba(pd.DataFrame(rows)).tolist()
"""
IN_BENTO = ("bentoml", "scikit-learn==1.9.1", "pandas[parquet]>=3", "pydantic-settings", "pyyaml", "jinja2")
BATCHING = "batchable=True, max_batch_size=100, max_latency_ms=100"


@dataclass
class Load:
    """What a number of clients were answered in some seconds."""

    times: list[float]
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.times) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the requests was answered."""
        return 1000 * sorted(self.times)[int(share * (len(self.times) - 1))]


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, request: bytes, until: float, load: Load, done: asyncio.Future) -> None:
        self.request, self.until, self.load, self.done = request, until, load, done
        self.found, self.length = b"", 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.found, self.length, self.start = b"", 0, time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.found += data
        if not self.length:
            head, end, _ = self.found.partition(b"\r\n\r\n")
            if not end:
                return
            self.length = len(head) + 4 + int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(self.found) < self.length:
            return
        self.load.times.append(time.perf_counter() - self.start)
        self.load.failed += not self.found.startswith(b"HTTP/1.1 200")
        if time.perf_counter() < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def load_of(port: int, path: str, body: bytes, clients: int, seconds: float) -> Load:
    """Ask by so many connections at a time for some seconds."""
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    loop, load, start = asyncio.get_running_loop(), Load([], 0, 0), time.perf_counter()
    waiting = []
    for _ in range(clients):
        waiting.append(loop.create_future())
        client = Client(head.encode() + body, start + seconds, load, waiting[-1])
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*waiting)
    load.seconds = time.perf_counter() - start
    return load


@contextmanager
def running(project: Project, *command: str, port: int, path: str, body: bytes) -> Iterator[None]:
    """Run a server, once it answers this request."""
    with project.server(*command) as process:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if not asyncio.run(load_of(port, path, body, 1, 0)).failed:
                    break
            except OSError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(process.log.read_text()[-400:])
            time.sleep(0.2)
        yield


def measured(project: Project, name: str, command: list[str], port: int, path: str, body: bytes) -> dict[int, Load]:
    """Load a server by each number of clients, and print what it answered."""
    found = {}
    try:
        with running(project, *command, port=port, path=path, body=body):
            asyncio.run(load_of(port, path, body, 8, 1))
            for clients in CLIENTS:
                found[clients] = load = asyncio.run(load_of(port, path, body, clients, SECONDS))
                print(
                    f"{name:34} {clients:4} clients: {load.rate:8.0f}/s, p50 {load.percentile(0.5):7.2f} ms, "
                    f"p99 {load.percentile(0.99):7.2f} ms, {load.failed} failed",
                    flush=True,
                )
    except (OSError, RuntimeError, IndexError) as error:
        print(f"{name:34} left out: {str(error).strip().splitlines()[-1]}")
    return found


def environment(folder: Path, *packages: str) -> Path | None:
    """Make an environment with these packages; return its programs, None if it cannot be made."""
    made = subprocess.run(["uv", "venv", "-q", "--python", "3.11", str(folder)]).returncode
    target = os.environ | {"VIRTUAL_ENV": str(folder)}
    if made or subprocess.run(["uv", "pip", "install", "-q", *packages], env=target).returncode:
        print(f"{packages[0]} cannot be installed")
        return None
    return folder / ("Scripts" if os.name == "nt" else "bin")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        project = Project(generate(folder / "work", maturity_level=MIDDLE), folder / "environment")
        project.just("data")
        project.commit("Lock data and environment")
        project.just("train")
        project.just("promote", "1")
        python = str(project.environment / ("Scripts" if os.name == "nt" else "bin") / "python")

        def output(script: str) -> str:
            done = project.run(python, "-c", script.format(package=project.package, folder=folder.as_posix()))
            assert done.returncode == 0, done.stderr
            return done.stdout

        call, rows, answer = json.loads(output(CALL).splitlines()[-1])
        output(SAVE)
        (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
        (folder / "bare.py").write_text(BARE.format(package=project.package), encoding="utf-8")
        print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}; the model's own call: {call:.2f} ms a row")
        ours, port = json.dumps({"rows": rows}).encode(), free_port()
        bare = [python, str(folder / "bare.py"), str(port), str(folder / "answer.json")]
        limit = measured(project, "the bare server", bare, port, "/", ours)
        serve = [python, "-m", project.package, "serve", str(port)]
        service = measured(project, "this service", serve, port, "/models/classifier/predict", ours)
        path = os.pathsep.join([str(Path(python).parent), os.environ["PATH"]])
        mlflow = ["env", f"PATH={path}", "mlflow", "models", "serve", "-m", str(folder / "mlflow")]
        mlflow += ["--env-manager", "local", "-p", str(port)]
        records = json.dumps({"dataframe_records": rows}).encode()
        others = {
            "mlflow models serve": measured(project, "mlflow models serve", mlflow, port, "/invocations", records)
        }
        if programs := environment(folder / "bento", *IN_BENTO):
            for name, options in (("BentoML", ""), ("BentoML, adaptive batching", BATCHING)):
                (folder / "service.py").write_text(BENTO.format(folder=folder.as_posix(), options=options))
                command = ["env", f"PYTHONPATH={project.folder / 'src'}", f"HOME={folder}", str(programs / "bentoml")]
                command += ["serve", "service:Service", "--working-dir", str(folder), "--port", str(port)]
                others[name] = measured(project, name, command, port, "/predict", ours)
        again = measured(project, "the bare server, again", bare, port, "/", ours)
        for clients in CLIENTS:
            most = statistics.mean([limit[clients].rate, again[clients].rate])
            ratios = [f"{service[clients].rate / most:.2f} of the limit"]
            ratios += [
                f"{service[clients].rate / found[clients].rate:.0f} times {name}"
                for name, found in others.items()
                if clients in found
            ]
            print(f"{clients} clients: this service has {', '.join(ratios)}")
        own = service[1].percentile(0.5) / (call + limit[1].percentile(0.5))
        print(f"one client: p50 is {own:.2f} times the model's own call and the bare server's together")
        print(f"load of the machine at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
