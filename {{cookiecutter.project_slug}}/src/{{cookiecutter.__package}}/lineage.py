"""What a version was made of: told, restored and proven by making it again, and kept from being cleaned away."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import chdir, suppress
from pathlib import Path
from typing import Any

import yaml

from . import ROOT, Refused, artifact, catalog, first_line, registry, run, state
from .registry import Version

HASH = 12  # characters shown of a hash
WIDTH = 100  # characters shown of a reason
CHANGED = 10  # differences shown after a restore
SUB = subprocess.run


def main(arguments: list[str]) -> None:
    """`lineage [VERSION] [MODEL]`, `history [MODEL ...]`, `restore VERSION [MODEL] [--to FOLDER]` or `clean`."""
    command, rest = arguments[0], [each for each in arguments[1:] if each]
    if command == "history":
        for model in rest or names():
            print("\n".join(history(model)))
    elif command == "clean":
        clean()
    elif command == "restore":
        restore_by_hand(rest)
    else:
        number = rest.pop(0) if rest and rest[0].isdigit() else None
        for model in rest or names():
            print("\n".join(told(model, number or newest(model))))


def names() -> list[str]:
    """The models of params.yaml."""
    from .models import blocks

    return list(blocks([]))


def newest(model: str) -> str:
    """The champion, or the newest version where nothing serves yet."""
    if number := registry.champion(model):
        return number
    if known := registry.versions(model):
        return known[0].number
    raise Refused(f"{model} has no version yet: uv run just retrain {model}")


def told(model: str, number: str) -> list[str]:
    """What the version was made of, a line each."""
    version = registry.version(model, number)
    tags = version.tags
    facts = {
        "made": f"{version.made:%Y-%m-%d %H:%M} UTC, while version {tags.get('parent') or 'none'} served",
        "code": f"commit {tags['commit']}{' and the changes in ' + state.PATCH if tags['dirty'] == 'true' else ''}",
        **{f"data {name}": digest[:HASH] for name, digest in json.loads(tags["data"]).items()},
        "parameters": ", ".join(f"{name} {value}" for name, value in sorted(registry.parameters(version).items())),
        "environment": f"Python {tags['python']}, uv.lock {tags['uv.lock'][:HASH]}",
        "model file": tags["sha256"][:HASH],
        "predictions": tags["prediction_hash"][:HASH],
        "scores": ", ".join(f"{name} {value:.4g}" for name, value in sorted(registry.scores(version).items())),
        "verdict": f"{tags.get('verdict', 'not judged')}: {tags.get('reason', 'only trained')}",
        "served": ", ".join(f"{line.when:%Y-%m-%d %H:%M}" for line in _served(model, number)) or "never",
        **({"rolled back": tags["rolled_back"]} if "rolled_back" in tags else {}),
        "run": version.run,
    }
    serves = " serves" if registry.champion(model) == number else ""
    return [f"{model} version {number}{serves}", *(f"  {name:<14}{fact}" for name, fact in facts.items())]


def history(model: str) -> list[str]:
    """Every version with its score and verdict, then every deployment: which, when, by whom and why."""
    serving = registry.champion(model)
    lines = [f"{model}", "  versions"]
    for version in registry.versions(model):
        mark, tags = "*" if version.number == serving else " ", version.tags
        verdict = f"{tags.get('verdict', 'not judged')}: {tags.get('reason', 'only trained')}"[:WIDTH]
        lines.append(f"  {mark}{version.number:>4}  {version.made:%Y-%m-%d %H:%M}  {tags.get('score', '')}  {verdict}")
    lines.append("  deployments")
    for line in reversed(registry.deployments(model)):
        broken = "" if line.state == "FINISHED" else " (broken off)"
        after = f" after {line.before}" if line.before else ""
        words = f"version {line.version}{after}{broken}, by {line.by}: {line.reason}"
        lines.append(f"   {line.number:>4}  {line.when:%Y-%m-%d %H:%M}  {words[: WIDTH + 20]}")
    return lines


def restore_by_hand(arguments: list[str]) -> None:
    """The version stands in a folder of its own, made again, and is proven identical; or what differs is said."""
    from .models import blocks

    target = None
    if "--to" in arguments:
        place = arguments.index("--to")
        arguments, target = arguments[:place] + arguments[place + 2 :], Path(*arguments[place + 1 : place + 2])
    if not arguments:
        raise Refused("say which version: `uv run just history` lists them")
    known = blocks(arguments[1:])
    if len(known) > 1:
        raise Refused(f"say which model: {', '.join(known)}")
    [model], number = known, arguments[0]
    start = time.perf_counter()
    folder, changed = restore(model, number, target)
    print(f"{model} version {number} stands in {folder} ({time.perf_counter() - start:.1f} s)")
    print(f"  when done with it: git worktree remove --force {folder}")
    if changed:
        shown = "\n".join(f"  {line}" for line in changed[:CHANGED])
        raise Refused(f"{model} version {number}, made again, is not the same:\n{shown}")
    print("  identical: model file, predictions and every metric")


def restore(model: str, number: str, target: Path | None = None) -> tuple[Path, list[str]]:
    """A folder with code, data, parameters and locks of the version, and what differs now that it is made again."""
    version = registry.version(model, number)
    folder = (target or ROOT / "restored" / f"{model}-{number}").resolve()
    with registry.kept(model, number) as files:
        project = worktree(folder, version, files / state.PATCH, replace=target is None)
        for name, place in state.LOCKS.items():
            if (files / name).exists():
                shutil.copy(files / name, project / place)
        fetch(project, version)
        remake(project, model, version)
        return folder, differences(files / "metrics.json", project / "artifacts" / model, version)


def worktree(folder: Path, version: Version, patch: Path, *, replace: bool) -> Path:
    """The code as it was when the version was made, in a git worktree; returns the project's folder in it."""
    commit = version.tags["commit"]
    if commit == "none":
        raise Refused(f"version {version.number} was made where nothing was committed: its code was not kept")
    if git("cat-file", "-e", commit + "^{commit}").returncode:
        raise Refused(f"commit {commit}, the code of version {version.number}, is not in this repository: git fetch it")
    if version.tags["dirty"] == "true" and not patch.exists():
        raise Refused(f"version {version.number} was made of uncommitted changes, and its {patch.name} is missing")
    if replace and folder.exists():
        git("worktree", "remove", "--force", str(folder))
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and any(folder.iterdir()):
        raise Refused(f"{folder} is not empty: name another with --to")
    git("worktree", "prune")
    steps = [["-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", str(folder), commit]]
    if patch.exists():
        steps.append(["-C", str(folder), "apply", "--whitespace=nowarn", str(patch)])
    for step in steps:
        if (done := git(*step)).returncode:
            raise Refused(f"git cannot restore the code: {done.stderr.strip().splitlines()[-1]}")
    return folder / git("rev-parse", "--show-prefix").stdout.strip()


def fetch(project: Path, version: Version) -> None:
    """The version's snapshots stand in the project's data/raw: from DVC's cache or remote, or from data/raw here."""
    trouble = checked_out(project) if (project / "data" / "raw.dvc").exists() else "it kept no data/raw.dvc"
    for name, digest in json.loads(version.tags["data"]).items():
        wanted, here = (catalog.place(name, digest, root) for root in (project, ROOT))
        if not wanted.exists() and not here.exists():
            where = f"neither in DVC's cache nor at its remote nor in data/raw here: {trouble}"
            raise Refused(f"snapshot {name}/{wanted.name}, the data of version {version.number}, is {where}")
        if not wanted.exists():
            wanted.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, wanted)


def checked_out(project: Path) -> str:
    """DVC has put the project's data/raw there, by the cache and the remotes of this one; or says why it could not."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo(str(ROOT)) as here:
        cache, core, remotes = here.cache.local.path, dict(here.config["core"]), dict(here.config["remote"])
    with Repo(str(project)) as repo, repo.config.edit("local") as config:
        config["cache"] = {"dir": cache}
        config["core"] = {"remote": core["remote"]} if "remote" in core else {}
        config["remote"] = {name: dict(remote) for name, remote in remotes.items()}
    with Repo(str(project)) as repo:
        target = str(project / "data" / "raw.dvc")
        try:
            with suppress(DvcException):
                repo.checkout([target], force=True)
                return ""
            repo.pull([target], force=True)
        except Exception as error:  # each kind of remote has errors of its own
            return first_line(error)
    return ""


def remake(project: Path, model: str, version: Version) -> None:
    """The model stands in the project's folder, made by its own code in its own environment."""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    environment.pop("MLFLOW_TRACKING_URI", None)  # what is made to compare is nobody's new version
    same = state.tags()["uv.lock"] == version.tags["uv.lock"]
    python = [sys.executable]
    if not same:
        if not (uv := shutil.which("uv")):
            raise Refused("the environment of this version differs from this one, and uv is not here to make it")
        environment.pop("VIRTUAL_ENV", None)
        python = [uv, "run", "--frozen", "--project", str(project), "python"]
    whole = (project / "src" / __package__ / "pipeline.py").exists()
    command = [f"{__package__}.pipeline", "stages", model] if whole else [f"{__package__}.train", model]
    made = SUB([*python, "-m", *command], cwd=project, env=environment, capture_output=True, text=True)
    if made.returncode:
        raise Refused(f"the restored code in {project} does not run: {(made.stderr.strip() or '?').splitlines()[-1]}")


def differences(metrics: Path, made: Path, version: Version) -> list[str]:
    """Where what was made again is not what was recorded."""
    before, now = flat(json.loads(metrics.read_text(encoding="utf-8"))), flat(_json(made / "metrics.json"))
    before["model file"] = version.tags["sha256"]
    now["model file"] = artifact.signature(made / "model").sha256
    changed = [path for path in sorted({*before, *now}) if before.get(path) != now.get(path)]
    return [f"{path}: was {before.get(path)}, is {now.get(path)}" for path in changed]


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of nested lists and dictionaries by its path."""
    if not isinstance(content, dict | list):
        return {path: content}
    items = content.items() if isinstance(content, dict) else enumerate(content)
    return {leaf: value for key, each in items for leaf, value in flat(each, f"{path}.{key}".strip(".")).items()}


def clean() -> None:
    """DVC's cache holds, whole, what stands here and the data of every version; runs without a version are deleted."""
    from .models import alone

    with alone():
        broken = [file for file in _cached() if _md5(file) != _named(file).removesuffix(".dir")]
        for file in broken:
            file.unlink()
        try:
            refill()
        except Exception as error:  # what is broken here may be missing everywhere
            raise Refused(f"DVC's cache lacks what it should hold: {first_line(error)}") from error
        needed = used(ROOT)
        for model in names():
            for version in registry.versions(model):
                with registry.kept(model, version.number) as files:
                    needed |= used(files)
        unknown = {name for name in needed if name.endswith(".dir")} - {_named(file) for file in _cached()}
        freed = [] if unknown else [file for file in _cached() if _named(file) not in needed]
        for file in freed:
            file.unlink()
        lost = registry.orphans()
        for identity in lost:
            registry.forget(identity)
    print(f"DVC's cache: {len(broken)} broken files mended or dropped, {len(freed)} freed that no version needs")
    if unknown:
        print(f"  nothing is freed while the contents of {len(unknown)} folders are unknown here: uv run dvc fetch")
    print(f"MLflow: {len(lost)} runs deleted that made no version")


def refill() -> None:
    """DVC's cache holds the snapshots, and what is up to date of every stage, as they stand here."""
    from .pipeline import Repo, track

    with chdir(ROOT), Repo() as repo:
        track(repo)
        stale = repo.status()
        for stage in repo.index.stages:
            if stage.addressing not in stale:
                repo.commit(stage.addressing, force=True)


def used(folder: Path) -> set[str]:
    """The names in DVC's cache of what the locks in this folder (the project's, or a run's files) name as outputs."""
    paths = [ROOT / "data" / "raw.dvc", ROOT / "dvc.lock"] if folder == ROOT else [folder / "raw.dvc"]
    found = set()
    for path in paths:
        if path.exists():
            facts = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
            found |= {value for name, value in facts.items() if "outs." in name and name.endswith("md5")}
    for digest in [each for each in found if each.endswith(".dir")]:
        listing = _cache() / digest[:2] / digest[2:]
        if listing.exists():
            found |= {entry["md5"] for entry in _json(listing)}
    return found


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return SUB(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def _served(model: str, number: str) -> list[registry.Deployment]:
    return [line for line in registry.deployments(model) if line.version == number and line.state == "FINISHED"]


def _cache() -> Path:
    return ROOT / ".dvc" / "cache" / "files" / "md5"


def _cached() -> list[Path]:
    return list(_cache().glob("??/*"))


def _named(file: Path) -> str:
    return file.parent.name + file.name


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run(main)
