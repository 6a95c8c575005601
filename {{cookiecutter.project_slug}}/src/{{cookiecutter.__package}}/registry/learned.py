"""Versions that went on learning from logged rows: from which version and rows, and what it predicted before."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..training import artifact
from ..training.params import module_name
from . import provenance
from .loading import LoadedVersion, running_code
from .provenance import Provenance
from .versions import (
    Version,
    get_version,
    has_file,
    record_version,
    recorded_parameters,
    run_artifacts,
    served_folder,
    versions,
)

if TYPE_CHECKING:
    from ..training.contract import Learning

AFTER, BASE = "learned_after", "learned_base"  # tags: the version it went on from, and the one fitted on the table
DAY = "learned_on"  # tag: the day on which it was made
FILE, PROFILE = "stream.parquet", "profile.json"
ROW, LEARNED = (
    "prediction_id",
    "learned",
)  # columns of FILE: a logged row, and whether it was learned from; then answers


def learner(model: "Learning") -> Version | None:
    """Return the version to go on from: the newest that learned, else the newest, of today's code and parameters.

    One that a person took out of service, or that went on from one, is not gone on from.
    """
    known = {each.number: each for each in versions(model.name)}
    code = running_code(module_name(model.name), model.preparation)
    wanted = {name: str(value) for name, value in asdict(model.params).items()}

    def fits(version: Version) -> bool:
        chain = [version, *_ancestors(version, known)]
        if version.tags.get("code") != code or any(each.out_of_service for each in chain):
            return False
        return recorded_parameters(version) == wanted

    candidates = sorted(known.values(), key=lambda each: AFTER not in each.tags)  # else newest first, as they come
    return next(filter(fits, candidates), None)


def base_of(model: str, number: str) -> Version:
    """Return the version fitted on the table that a version went on from, itself if it only was fitted."""
    version = get_version(model, number)
    return get_version(model, version.tags[BASE]) if BASE in version.tags else version


def read_stream(model: str, number: str) -> pd.DataFrame:
    """Return the logged rows that a version was tested on, with what was predicted before any of it was learned from.

    Returns:
        ROW, LEARNED and the columns of the predictions; the rows not learned from were predicted by the version itself.
    """
    if AFTER not in get_version(model, number).tags:
        return pd.DataFrame({ROW: pd.Series(dtype=str), LEARNED: pd.Series(dtype=bool)})
    with run_artifacts(model, number, FILE) as file:
        return pd.read_parquet(file)


def learned_rows(model: str, number: str) -> set[str]:
    """Return the ids of the logged rows that a version has learned from, of those that labels may still come for."""
    stream = read_stream(model, number)
    return {*stream.loc[stream[LEARNED], ROW]}


def rejected_rows(model: str) -> set[str]:
    """Return the ids of the logged rows that versions learned from which a person took out of service."""
    bad = [each.number for each in versions(model) if each.out_of_service and AFTER in each.tags]
    return {row for number in bad for row in learned_rows(model, number)}


def record(
    model: "Learning",
    after: str,
    newer: LoadedVersion,
    stream: pd.DataFrame,
    learned: pd.Series,
    scores: dict[str, Any],
    day: str,
) -> str:
    """Record a version that learned from logged rows, in one step, and return its number.

    Args:
        model: The model; the files of the version are written to its workspace.
        after: The version it went on from.
        newer: That version with what it has become.
        stream: As `read_stream` returns it.
        learned: The hashes of the keys of the rows newly learned from, by their ids, oldest first; 0 without a key.
        scores: On the rows of the stream.
        day: Today.
    """
    files, parent = model.files, get_version(model.name, after)
    files.rows.mkdir(parents=True, exist_ok=True)
    kept = {FILE: _parquet(stream)}
    with run_artifacts(model.name, after) as run:
        for each in (files.table_facts, files.holdout_keys):
            shutil.copy(run / each.name, each)
        np.save(files.train_keys, np.union1d(np.load(run / files.train_keys.name), learned[learned > 0]))
        if has_file(model.name, after, PROFILE):
            kept[PROFILE] = (run / PROFILE).read_bytes()
    described = vars(newer.signature) | {"predictions": newer.responses(newer.signature.examples)}
    del described["sha256"], described["lookups"]
    lookups = artifact.read_lookups(served_folder(model.name, after))
    artifact.save(files.model, newer.estimator, described, newer.trusted, lookups=lookups)
    stream.drop(columns=[ROW, LEARNED]).to_parquet(files.predictions)
    files.metrics.write_text(json.dumps(scores, indent=1), encoding="utf-8")
    made_of = provenance.current(model.name, model.preparation)
    tags = {AFTER: after, BASE: base_of(model.name, after).number, DAY: day, "data": parent.tags["data"]}
    tags |= {"learned_rows": str(len(learned)), "learned_from": learned.index[0], "learned_to": learned.index[-1]}
    number, _ = record_version(model, scores, Provenance(made_of.tags | tags, made_of.files | kept))
    return number


def _ancestors(version: Version, known: dict[str, Version]) -> Iterator[Version]:
    while (after := version.tags.get(AFTER)) in known:
        version = known[after]
        yield version


def _parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    return content.getvalue()
