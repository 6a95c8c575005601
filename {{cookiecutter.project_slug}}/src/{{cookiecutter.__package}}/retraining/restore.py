"""Make a version again from its code, data, parameters and locks, beside the project, and compare the two."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from .. import ROOT, Refused
from ..datasets import snapshots
from ..datasets.catalog import snapshot_path, store, write_lock
from ..registry import provenance
from ..registry.git import git, has_commit
from ..registry.learned import BASE
from ..registry.loading import load_version
from ..registry.settings import PROJECT
from ..registry.versions import FITTED, REFIT, Version, get_version, refit_name, run_artifacts, version_folder
from ..training import artifact
from ..training.workspace import Workspace
from .stages import checked_out, leaves

ENTRIES = {  # a file that tells a project's release and level, and the command that runs all stages there
    "commands/pipeline.py": (PROJECT, ["stage", "all"]),
    "commands/model.py": (PROJECT, ["train"]),
    "pipeline.py": (f"{PROJECT}.pipeline", ["stages"]),  # until 0.2
    "train.py": (f"{PROJECT}.train", []),
}

REFITS = """
import sys
from importlib import import_module
package, function, model = sys.argv[1:]
refit, contract = (import_module(f"{package}.training.{name}") for name in ("refit", "contract"))
getattr(refit, function)(contract.load_model(model))
"""  # no command of the level that made the version, which may have been below this one


def restore(model: str, number: str, target: Path | None = None) -> tuple[Path, list[str]]:
    """Make a version again.

    Args:
        model: Its model.
        number: The version.
        target: An empty or new folder; by default one below restored/, which is replaced.

    Returns:
        The folder, and what differs between the version as recorded and as made again.

    Raises:
        Refused: If its code, its data or its environment cannot be had.
    """
    version = get_version(model, number)
    if BASE in version.tags:
        return _restore_learned(model, version, target)
    folder = (target or ROOT / "restored" / f"{model}-{number}").resolve()
    with run_artifacts(model, number) as files:
        project = check_out(folder, version, files / provenance.PATCH, replace=target is None)
        for name, place in provenance.LOCKS.items():
            if (files / name).exists():
                shutil.copy(files / name, project / place)
        put_aside(project, files, model)
        fetch_data(project, json.loads(version.tags["data"]), f"the data of version {number}")
        run_stages(project, version, model)
        changed = differences(files / "metrics.json", project / "artifacts" / model, version)
        return folder, [*changed, *refit_differences(project, files, version, model)]


def _restore_learned(model: str, version: Version, target: Path | None) -> tuple[Path, list[str]]:
    """Make the version again that a version learned from, and put the latter's own file beside it, verified.

    What it learned from is in the log, which forgets: it cannot be learned again, and need not be.
    """
    load_version(model, version.number).verify_examples()
    folder, changed = restore(model, version.tags[BASE], target)
    artifacts = next(folder.rglob(f"artifacts/{model}"))
    shutil.copytree(version_folder(model, version.number), artifacts / "learned" / "model", dirs_exist_ok=True)
    return folder, changed


def put_aside(project: Path, files: Path, model: str) -> None:
    """Put the list of rows that were not learned from in place, or none where none was kept."""
    place = project / Workspace(model).set_aside.relative_to(ROOT)
    place.unlink(missing_ok=True)
    if (kept := files / place.name).exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(kept, place)


def check_out(folder: Path, version: Version, patch: Path, *, replace: bool) -> Path:
    """Add a git worktree with the code as it was when the version was made; return the project's folder in it."""
    commit = version.tags["commit"]
    if commit == "none":
        raise Refused(f"version {version.number} was made where nothing was committed: its code was not kept")
    if not has_commit(commit):
        raise Refused(f"commit {commit}, the code of version {version.number}, is not in this repository: git fetch it")
    if version.tags["dirty"] == "true" and not patch.exists():
        raise Refused(f"version {version.number} was made of uncommitted changes, and its {patch.name} is missing")
    if replace and folder.exists():
        remove_worktree(folder)
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise Refused(f"{folder} is not an empty folder: name another with --to")
    git("worktree", "prune")
    git("-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", str(folder), commit)
    if patch.exists():
        git("-C", str(folder), "apply", "--whitespace=nowarn", str(patch.resolve()))
    return folder / git("rev-parse", "--show-prefix").decode().strip()


def remove_worktree(folder: Path) -> None:
    """Remove a git worktree; leave a folder that is none, or was moved with its project."""
    with suppress(Refused):
        git("worktree", "remove", "--force", str(folder))


def fetch_data(project: Path, data: dict[str, str], whose: str) -> None:
    """Put snapshots, by source and hash, in place: from DVC's cache or remote, from data/raw here or the store."""
    problem = checked_out(project) if (project / "data" / "raw.dvc").exists() else "it kept no data/raw.dvc"
    for name, digest in data.items():
        wanted, here = (snapshot_path(name, digest, root) for root in (project, ROOT))
        if not wanted.exists() and not snapshots.bring_back(here, store(), ROOT):
            where = f"neither in DVC's cache nor at its remote nor in data/raw here, nor in a store: {problem}"
            raise Refused(f"snapshot {name}/{wanted.name}, {whose}, is {where}")
        if not wanted.exists():
            wanted.parent.mkdir(parents=True, exist_ok=True)
            for file in snapshots.parts(here):
                shutil.copy(file, wanted.parent)


def run_stages(project: Path, version: Version, model: str, refit: str = "") -> None:
    """Run all stages, or a function of training/refit, by the code of another folder, in its environment."""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)  # what is made to compare is not recorded
    python = [sys.executable]
    if provenance.environment_hash() != version.tags["uv.lock"]:
        if not (uv := shutil.which("uv")):
            raise Refused("the environment of this version differs from this one, and uv is not here to make it")
        environment.pop("VIRTUAL_ENV", None)
        environment.pop("UV_PROJECT_ENVIRONMENT", None)
        python = [uv, "run", "--frozen", "--project", str(project), "python"]
    source = project / "src" / PROJECT
    found = [entry for file, entry in ENTRIES.items() if (source / file).exists()]
    if not found:
        raise Refused(f"the restored code in {project} has no command that trains")
    module, arguments = found[0]
    command = [*python, *(["-c", REFITS, PROJECT, refit] if refit else ["-m", module, *arguments]), model]
    made = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if made.returncode:
        raise Refused(f"the restored code in {project} does not run: {(made.stderr.strip() or '?').splitlines()[-1]}")


def refit_differences(project: Path, files: Path, version: Version, model: str) -> list[str]:
    """Make what the version serves with again, its refit and the newest update of that; return where they differ."""
    tags, changed = version.tags, []
    steps = {"refit": tags[FITTED]} if tags.get(FITTED) else {}
    steps |= {"update": tags[REFIT]} if tags.get(REFIT) != tags.get(FITTED) else {}
    for stage, wanted in steps.items():
        if stage == "update":
            data = json.loads(tags["refit_data"])
            write_lock({name: {"sha256": digest} for name, digest in data.items()}, project)
            if (tracked := files / refit_name(wanted) / "raw.dvc").exists():
                shutil.copy(tracked, project / "data" / "raw.dvc")
            put_aside(project, files / refit_name(wanted), model)
            fetch_data(project, data, f"the newest data that version {version.number} knows")
        run_stages(project, version, model, stage)
        found = artifact.signature(project / "artifacts" / model / "refit").sha256
        changed += [f"{stage}: was {wanted}, is {found}"] if found != wanted else []
    return changed


def differences(metrics: Path, made: Path, version: Version) -> list[str]:
    """Return where what was made again is not what was recorded, a line each."""
    before = leaves(json.loads(metrics.read_text(encoding="utf-8")))
    now = leaves(json.loads((made / "metrics.json").read_text(encoding="utf-8")))
    before["model file"] = version.tags["sha256"]
    now["model file"] = artifact.signature(made / "model").sha256
    changed = [path for path in sorted({*before, *now}) if before.get(path) != now.get(path)]
    return [f"{path}: was {before.get(path)}, is {now.get(path)}" for path in changed]
