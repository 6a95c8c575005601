"""A fitted model <-> a folder: a model file without pickle and what one must know to feed it."""

import base64
import io
import json
import zipfile
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import BadRows, Refused

if TYPE_CHECKING:
    from .table import Table

TRUSTED = (  # types of scikit-learn's and NumPy's own that hold no code, which skops does not know yet
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils._bunch.Bunch",
)
FILE, SIGNATURE = "model.skops", "signature.json"
EXAMPLES = 5  # rows kept with the model, as an example for people and a test for the service
SHOWN, WIDTH = 3, 60  # bad values shown in a message, and characters of each


@dataclass(frozen=True)
class Input:
    """A column that a model takes."""

    name: str
    kind: str
    nullable: bool
    optional: bool = False  # may be left out of a row altogether


@dataclass(frozen=True)
class Signature:
    """What a model takes and is: inputs, a hash of its file, examples with their predictions."""

    model: str
    table: str
    inputs: list[Input]
    sha256: str
    examples: list[dict[str, Any]]
    predictions: list[dict[str, Any]]

    def typed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows' input columns with the kinds the model learned from; raises BadRows. Other columns are kept."""
        return typed(rows, self.inputs)


def typed(rows: pd.DataFrame, inputs: list[Input]) -> pd.DataFrame:
    """The rows with these columns as the kinds that models learn from; raises BadRows. Other columns are kept."""
    found = {}
    for column in inputs:
        if column.name not in rows and not column.optional:
            raise BadRows(f"column {column.name!r} is missing")
        found[column.name] = _typed(rows.get(column.name, pd.Series(None, rows.index, object)), column)
    return rows.assign(**found)


def inputs(rows: pd.DataFrame, table: "Table", names: list[str] | None = None) -> list[Input]:
    """The features of the table, or the columns named, their kinds read from good rows."""
    found = []
    for name in table.features if names is None else names:
        values = rows[name]
        found.append(Input(name, _kind(values), bool(table.schema.columns[name].nullable)))
    return found


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON knows them: numbers, texts, booleans, ISO dates, null; files in base64."""
    files = {name: rows[name].map(_base64, na_action="ignore") for name in rows if _kind(rows[name]) == "file"}
    rows = rows.assign(**files)
    return json.loads(rows.to_json(orient="records", date_format="iso", double_precision=15))


def save(folder: Path, estimator: Any, signature: dict[str, Any], trusted: tuple[str, ...]) -> None:
    """The folder holds the model file, written so that equal models have equal bytes, and its signature."""
    import skops.io  # a second that a rollback does not wait for

    content = canonical(skops.io.dumps(estimator))
    _prove(content, trusted)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(content)
    described = Signature(sha256=sha256(content).hexdigest(), **signature)
    (folder / SIGNATURE).write_text(json.dumps(asdict(described), indent=1, default=str), encoding="utf-8")


def signature(folder: Path) -> Signature:
    """The signature of the model in this folder."""
    try:
        content = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))
        return Signature(**(content | {"inputs": [Input(**column) for column in content["inputs"]]}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Refused(f"{folder} holds no readable {SIGNATURE}: train again, or restore the version") from error


def load(folder: Path, trusted: tuple[str, ...]) -> Any:
    """The estimator in this folder, its bytes proven by their hash before anything is made of them."""
    import skops.io

    described = signature(folder)
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise Refused(f"{folder / FILE} cannot be read: train again, or roll back") from error
    if sha256(content).hexdigest() != described.sha256:
        raise Refused(f"{folder / FILE} is not the file that was saved (its hash differs): roll back, or train again")
    try:
        return skops.io.loads(content, trusted=_allowed(trusted))
    except skops.io.exceptions.UntrustedTypesFoundException:
        _prove(content, trusted)
        raise


def holds(folder: Path, digest: str) -> bool:
    """Whether the folder's model file and signature are whole, and the file has this SHA-256."""
    try:
        return sha256((folder / FILE).read_bytes()).hexdigest() == digest == signature(folder).sha256
    except (OSError, Refused):
        return False


def canonical(content: bytes) -> bytes:
    """The same skops file without what differs from run to run: addresses, times, cores, the order of its parts."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    numbers: dict[int, int] = {}
    fresh = iter(range(1, 2**62))
    schema = _renumbered(json.loads(parts.pop("schema.json")), numbers, fresh)
    renamed = {_renamed(name, numbers): body for name, body in parts.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name, body in [*sorted(renamed.items()), ("schema.json", json.dumps(schema, sort_keys=True).encode())]:
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), body)
    return buffer.getvalue()


def _prove(content: bytes, trusted: tuple[str, ...]) -> None:
    """The file holds no type but those allowed; raises Refused for one that nobody trusts."""
    import skops.io

    if unknown := sorted(set(skops.io.get_untrusted_types(data=content)) - {*_allowed(trusted)}):
        raise Refused(f"the model holds {', '.join(unknown)}: if you trust that, add it to TRUSTED in its module")


def _allowed(trusted: tuple[str, ...]) -> list[str]:
    """The types that a model file of this module may hold, besides those that skops knows."""
    return sorted({*TRUSTED, *trusted})


def _renumbered(node: Any, numbers: dict[int, int], fresh: Any) -> Any:
    """The schema with small numbers for addresses; plain values share none, whatever Python interned."""
    if isinstance(node, list):
        return [_renumbered(item, numbers, fresh) for item in node]
    if not isinstance(node, dict):
        return node
    own = {}
    if "__id__" in node:
        plain = node.get("is_json", False)
        own["__id__"] = next(fresh) if plain else numbers.setdefault(node["__id__"], len(numbers) + 2**62)
    rest = {key: _renumbered(value, numbers, fresh) for key, value in node.items() if key != "__id__"}
    if node.get("__class__") == "_BinMapper":  # boosted trees keep how many cores the machine had that fitted them
        rest["content"]["content"]["n_threads"]["content"] = "1"
    if isinstance(rest.get("file"), str):
        rest["file"] = _renamed(rest["file"], numbers)
    return rest | own


def _renamed(name: str, numbers: dict[int, int]) -> str:
    stem, _, ending = name.partition(".")
    return f"{numbers.get(int(stem), stem)}.{ending}" if stem.isdigit() else name


def _typed(values: pd.Series, column: Input) -> pd.Series:
    """The values as the column's kind; raises BadRows for those that are not."""
    present = values.notna()
    if not column.nullable and not present.all():
        raise BadRows(f"column {column.name!r} may not be empty, but is in {(~present).sum()} rows")
    if column.kind == "number":
        numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
        typed = values if numeric else pd.to_numeric(values.where(~values.map(_is_words)), errors="coerce")
        typed = typed.astype("Float64").astype(float)
    elif column.kind == "date":
        stamps = values.where(~values.map(_is_number))
        typed = pd.to_datetime(stamps, errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)
    elif column.kind == "file":
        typed = values.map(_bytes).astype(object)
    elif column.kind == "list of numbers":
        typed = values.map(_numbers).astype(object)
    elif column.kind == "boolean":
        typed = values.where(values.isin([True, False])).astype("boolean")
    else:
        typed = values.where(values.map(lambda value: isinstance(value, str))).astype("str")
    if (wrong := present & typed.isna()).any():
        shown = ", ".join(repr(value)[:WIDTH] for value in values[wrong].head(SHOWN))
        kind = "file in base64" if column.kind == "file" else column.kind
        raise BadRows(f"column {column.name!r} must be a {kind}, but {wrong.sum()} rows hold e.g. {shown}")
    return typed


def _kind(values: pd.Series) -> str:
    """What the values are, in the words of a signature."""
    plain = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    if pd.api.types.is_bool_dtype(plain):
        return "boolean"
    if pd.api.types.is_numeric_dtype(plain):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(plain):
        return "date"
    return "file" if pd.api.types.infer_dtype(plain, skipna=True) == "bytes" else "text"


def _numbers(value: Any) -> list[float | None] | None:
    """The numbers, gaps among them as None; None for what is no list of numbers."""
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    plain = [None if item is None or item != item else item for item in value]
    good = all(item is None or (isinstance(item, int | float) and not isinstance(item, bool)) for item in plain)
    return [item if item is None else float(item) for item in plain] if good else None


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(value: Any) -> bytes | None:
    """The bytes, also from base64; None for what is neither."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_words(value: Any) -> bool:
    return isinstance(value, str | bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
