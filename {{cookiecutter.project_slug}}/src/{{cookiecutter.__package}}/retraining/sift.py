"""Set aside the rows that are not what the champion learned from: a broken day is not learned, the others are."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .. import Refused, now
from ..datasets.table import key_hashes
from ..registry.versions import champion, run_artifacts
from ..training import aside
from ..training.contract import Model
from .limits import limits
from .profiles import Profile, known_profile
from .quality import FEW, concerned, problems

MOST = 0.5  # share of all rows that may be set aside
REMEDY = "mend the source or, if it is right, set `gate: {steady_columns: false}` in params.yaml"


def sift(model: Model) -> bool:
    """List the bad rows of each batch that is new, or was bad before; return whether the list has changed.

    A batch is the rows that came since the last retrain, of those with a time each day for itself, or the rows that a
    watch suspects. Rows that were mended are taken off the list.

    Raises:
        Refused: If too many rows are bad, or those left are still not of the champion's kind.
    """
    number, path = champion(model.name), model.files.set_aside
    before = aside.read(path)
    if not limits(model).steady_columns:
        aside.write(path, before.head(0))
        return len(before) > 0
    if number is None or (profile := known_profile(model, number)) is None:
        return False
    kept, known = _kept(model, number)
    before, rows = before if len(before) or model.files.sifted.exists() else kept, model.table.rows()
    keys, hashes = aside.keys_of(model.table, rows), key_hashes(model.table, rows)
    lines = [_still_bad(profile, rows, keys, own) for _, own in before.groupby("batch", sort=False)]
    listed = pd.concat([before.head(0), *lines], ignore_index=True)
    judged = ~keys.isin(before["key"]).to_numpy() & ~np.isin(hashes, known)
    for batch, part in _batches(model, rows[judged]):
        found = _bad(profile, part, keys, batch)
        listed = pd.concat([listed, found], ignore_index=True).drop_duplicates("key")
        for words, own in found.groupby("why", sort=False):
            print(f"{model.name}: {len(own):,} rows are set aside, {batch}: {words}", flush=True)
    left = rows[~keys.isin(listed["key"])]
    _check(model, profile, number, left, len(rows))
    aside.write(path, listed)
    if judged.sum() >= FEW or not model.files.sifted.exists():
        model.files.folder.mkdir(parents=True, exist_ok=True)
        np.save(model.files.sifted, np.sort(hashes))
    return {*listed["key"]} != {*before["key"]}


def _kept(model: Model, number: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the list that the champion was made with, and the keys that it, or an earlier retrain, found good.

    A fresh clone has no other list. Keys are hashes, (keys,).
    """
    own = model.files
    with run_artifacts(model.name, number) as files:
        paths = [*(files / each.name for each in (own.train_keys, own.holdout_keys)), own.sifted]
        found = [np.load(path, allow_pickle=False) for path in paths if path.exists()]
        listed = aside.read(files / own.set_aside.name)
    return listed, np.concatenate(found) if found else np.array([], np.uint64)


def _batches(model: Model, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield new rows by the days of their time, if several days have enough of them, and then all together."""
    times = rows[model.table.time] if model.table.time else pd.Series(dtype=object)
    if pd.api.types.is_datetime64_any_dtype(times):
        days = [(day, own) for day, own in rows.groupby(times.dt.date) if len(own) >= FEW]
        if len(days) > 1:
            yield from ((f"of {day}", own) for day, own in days)
    yield f"arrived {now():%Y-%m-%d}", rows


def _bad(profile: Profile, part: pd.DataFrame, keys: pd.Series, batch: str) -> pd.DataFrame:
    """Return a line for each bad row of a batch; for all columns of these, the first that is bad is named."""
    found = []
    for name, column in profile.columns.items():
        for problem in problems(column, column.count(part[name])) if name in part else []:
            bad = keys[part.index[concerned(problem, column, part[name])]].dropna()
            found.append(pd.DataFrame({"key": bad, "batch": batch, "column": name, "why": problem.words}))
    return pd.concat([pd.DataFrame(columns=aside.FIELDS), *found], ignore_index=True).drop_duplicates("key")


def _still_bad(profile: Profile, rows: pd.DataFrame, keys: pd.Series, listed: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of a batch that stay: none if its rows are good now, all while too few of them are here."""
    part = rows[keys.isin(listed["key"])]
    if len(part) < FEW:
        return listed
    found = _bad(profile, part, keys, listed["batch"].iloc[0])
    to_come = listed[~listed["key"].isin(keys)]
    return pd.concat([found, to_come], ignore_index=True) if len(found) else found


def _check(model: Model, profile: Profile, number: str, left: pd.DataFrame, total: int) -> None:
    """Raise Refused if the rows that are left are too few, or as a whole not what the version learned from."""
    place = f"beside version {number}: nothing is learned from them; {REMEDY}"
    if len(left) < (1 - MOST) * total:
        raise Refused(f"{total - len(left):,} of {total:,} rows are not what they were {place}")
    for name, column in profile.columns.items():
        for problem in problems(column, column.count(left[name])) if name in left else []:
            first, *_, last = aside.keys_of(model.table, left.iloc[[0, -1]])
            raise Refused(f"{problem.words}, in all {len(left)} rows (keys {first} to {last}) {place}")
