"""What versions were made of and which of them served, in lines for people."""

import json

from .. import Refused
from ..datasets.snapshots import short_hash
from ..registry import provenance
from ..registry.deployments import Deployment, deployments
from ..registry.learned import AFTER, BASE
from ..registry.versions import REFIT, champion, get_version, recorded_parameters, recorded_scores, versions

HASH = 12  # characters shown of a hash
WIDTH = 100  # characters shown of a reason


def newest(model: str) -> str:
    """Return the champion's number, or the newest version's where nothing serves yet."""
    if number := champion(model):
        return number
    if known := versions(model):
        return known[0].number
    raise Refused(f"{model} has no version yet: uv run just retrain {model}")


def describe_version(model: str, number: str) -> list[str]:
    """Return what the version was made of, a line per fact."""
    version = get_version(model, number)
    tags = version.tags
    patched = f" and the changes in {provenance.PATCH}" if tags["dirty"] == "true" else ""
    facts = {
        "made": f"{version.made:%Y-%m-%d %H:%M} UTC, while version {tags.get('parent') or 'none'} served",
        **({"because": tags["why"]} if "why" in tags else {}),
        **_learned(tags),
        "code": f"commit {tags['commit']}{patched}, models/{version.module}.py",
        **{f"data {name}": short_hash(digest) for name, digest in json.loads(tags["data"]).items()},
        **({"set aside": f"{tags['set_aside']} rows, listed with the run"} if "set_aside" in tags else {}),
        "parameters": ", ".join(f"{name} {value}" for name, value in sorted(recorded_parameters(version).items())),
        "environment": f"Python {tags['python']}, uv.lock {tags['uv.lock'][:HASH]}",
        "model file": tags["sha256"][:HASH],
        **({"served file": f"{tags[REFIT][:HASH]}, fitted on all rows"} if tags.get(REFIT) else {}),
        "predictions": tags["prediction_hash"][:HASH],
        "scores": ", ".join(f"{name} {value:.4g}" for name, value in sorted(recorded_scores(version).items())),
        "verdict": f"{tags.get('verdict', 'not judged')}: {tags.get('reason', 'only trained')}",
        "served": ", ".join(f"{each.when:%Y-%m-%d %H:%M}" for each in _finished(model, number)) or "never",
        **version.out_of_service,
        "run": version.run,
    }
    serves = " serves" if champion(model) == number else ""
    width = max(map(len, facts)) + 2
    return [f"{model} version {number}{serves}", *(f"  {name:<{width}}{fact}" for name, fact in facts.items())]


def _learned(tags: dict[str, str]) -> dict[str, str]:
    """Return what a version has learned from the log, if it has."""
    if AFTER not in tags:
        return {}
    span = f"predictions {tags['learned_from']} to {tags['learned_to']}"
    words = f"{tags['learned_rows']} logged rows, {span}, after version {tags[AFTER]}"
    return {"learned from": words, "fitted as": f"version {tags[BASE]}, on the data below; it is what `restore` makes"}


def history(model: str) -> list[str]:
    """Return every version with its score and verdict, then every deployment: which, when, by whom and why.

    Held-out rows are numbered where scores are on different ones, `?` where that was not recorded. A gain over the
    champion is on the same rows in any case.
    """
    serving, known = champion(model), versions(model)
    holdouts = list(dict.fromkeys(version.tags.get("holdout", "?") for version in reversed(known)))
    numbers = {"?": "?"} | {each: str(i) for i, each in enumerate([one for one in holdouts if one != "?"], 1)}
    several = len(holdouts) > 1
    note = " (scores compare only on the same rows, which are numbered; a gain is on the same rows)" if several else ""
    lines = [f"{model}", f"  versions{note}"]
    for version in known:
        mark, tags = "*" if version.number == serving else " ", version.tags
        verdict = f"{tags.get('verdict', 'not judged')}: {tags.get('reason', 'only trained')}"[:WIDTH]
        verdict = "; ".join([*version.out_of_service, verdict])
        on = f" on rows {numbers[tags.get('holdout', '?')]}" if several else ""
        score = tags.get("score", "") + on
        score += f", {tags['gain']} over the champion" if "gain" in tags else ""
        lines.append(f"  {mark}{version.number:>4}  {version.made:%Y-%m-%d %H:%M}  {score}  {verdict}")
    lines.append("  deployments")
    for line in reversed(deployments(model)):
        broken = "" if line.state == "FINISHED" else " (broken off)"
        after = f" after {line.before}" if line.before else ""
        version = f"version {line.version}" if line.version else "no version"
        words = f"{version}{after}{broken}, by {line.by}: {line.reason}"
        lines.append(f"   {line.number:>4}  {line.when:%Y-%m-%d %H:%M}  {words[: WIDTH + 20]}")
    return lines


def _finished(model: str, number: str) -> list[Deployment]:
    return [each for each in deployments(model) if each.version == number and each.state == "FINISHED"]
