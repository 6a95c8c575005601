"""A fitted model <-> a folder: a model file without pickle, and its signature."""

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from .. import BadRows, Refused
from ..datasets import columns, ranges
from ..datasets.catalog import content_hash
from ..datasets.columns import Input

TRUSTED = (  # types of scikit-learn's and NumPy's own that hold no code, which skops does not know yet
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils._bunch.Bunch",
)
FILE, SIGNATURE, LOOKUP = "model.skops", "signature.json", "lookup_{}.parquet"
EXAMPLES = 5  # rows kept with the model, for people to see and for the service to verify


@dataclass(frozen=True)
class Signature:
    """What a model takes, the SHA-256 of its file, and examples with their predictions.

    Attributes:
        model: The model's name.
        table: The table's name.
        inputs: The columns of a request.
        sha256: Of the model file.
        examples: A few requests.
        predictions: The answers to them.
        out_of_range: "warn" or "refuse": what becomes of a request that breaks a check of `inputs`.
        preparation: The function that makes rows of requests, as in "preparation:flights"; or empty.
        lookups: The SHA-256 of each table that it looks something up in, by name; they lie beside the model file.
        keys: The columns that identify a row: the prediction log keeps them where a request has them.
    """

    model: str
    table: str
    inputs: list[Input]
    sha256: str
    examples: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    out_of_range: str = "warn"
    preparation: str = ""
    lookups: dict[str, str] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def typed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with the kinds that the model learned from.

        Raises:
            BadRows: If they do not fit, or are out of range and the table refuses that.
        """
        rows = columns.typed(rows, self.inputs)
        if self.out_of_range == "refuse" and (wrong := ranges.sentences(rows, self.inputs)):
            raise BadRows(wrong[0])
        return rows


def save(
    folder: Path,
    estimator: Any,
    signature: dict[str, Any],
    trusted: tuple[str, ...],
    packages: tuple[str, str] | None = None,
    lookups: dict[str, pd.DataFrame] | None = None,
) -> None:
    """Write the model file, so that equal models have equal bytes, and its signature.

    Args:
        folder: Where to write them.
        estimator: The fitted model.
        signature: The fields of Signature but `sha256` and `lookups`.
        trusted: The types the file may hold besides those skops knows; Refused names any other.
        packages: The package that the estimator's types are of, and the one to name in the file instead.
        lookups: The tables that the preparation of requests needs, by name.
    """
    import skops.io  # a second that a rollback does not wait for

    content = canonical(skops.io.dumps(estimator))
    _check_types(content, trusted)
    if packages:
        content = _in_package(content, *packages)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(content)
    hashes = {}
    for name, lookup in (lookups or {}).items():
        hashes[name] = content_hash(lookup)
        lookup.to_parquet(folder / LOOKUP.format(name))
    described = Signature(**(signature | {"sha256": sha256(content).hexdigest(), "lookups": hashes}))
    (folder / SIGNATURE).write_text(json.dumps(asdict(described), indent=1, default=str), encoding="utf-8")


def read_lookups(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables beside a model file that its preparation needs, verified by their hashes."""
    found = {}
    for name, digest in signature(folder).lookups.items():
        try:
            found[name] = pd.read_parquet(folder / LOOKUP.format(name))
        except (OSError, ValueError) as error:
            raise Refused(f"{folder / LOOKUP.format(name)} cannot be read: train again, or roll back") from error
        if content_hash(found[name]) != digest:
            raise Refused(f"{folder / LOOKUP.format(name)} is not the file that was saved: roll back, or train again")
    return found


def signature(folder: Path) -> Signature:
    """Return the signature of the model in this folder."""
    try:
        content = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))
        return Signature(**(content | {"inputs": [Input(**column) for column in content["inputs"]]}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Refused(f"{folder} holds no readable {SIGNATURE}: train again, or restore the version") from error


def load(folder: Path, trusted: tuple[str, ...], packages: tuple[str, str] | None = None) -> Any:
    """Return the estimator in this folder, after its bytes were verified by their hash.

    Args:
        folder: What `save` wrote.
        trusted: The types the file may hold besides those skops knows.
        packages: The package named in the file, and the one to take its types from instead.
    """
    import skops.io

    described = signature(folder)
    try:
        content = (folder / FILE).read_bytes()
    except OSError as error:
        raise Refused(f"{folder / FILE} cannot be read: train again, or roll back") from error
    if sha256(content).hexdigest() != described.sha256:
        raise Refused(f"{folder / FILE} is not the file that was saved (its hash differs): roll back, or train again")
    if packages:
        content = _in_package(content, *packages)
    try:
        return skops.io.loads(content, trusted=_allowed(trusted))
    except skops.io.exceptions.UntrustedTypesFoundException:
        _check_types(content, trusted)
        raise


def holds(folder: Path, digest: str) -> bool:
    """Return whether the folder's model file and signature are whole, and the file has this SHA-256."""
    try:
        return sha256((folder / FILE).read_bytes()).hexdigest() == digest == signature(folder).sha256
    except (OSError, Refused):
        return False


def canonical(content: bytes) -> bytes:
    """Return the skops file without what differs from run to run: addresses, times, cores, the order of its parts."""
    parts, schema = _unpacked(content)
    numbers: dict[int, int] = {}
    fresh = iter(range(1, 2**62))
    schema = _renumbered(schema, numbers, fresh)
    return _packed({_renamed(name, numbers): body for name, body in parts.items()}, schema)


def _unpacked(content: bytes) -> tuple[dict[str, bytes], Any]:
    """Return the parts of a skops file by name, and its schema."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    return parts, json.loads(parts.pop("schema.json"))


def _packed(parts: dict[str, bytes], schema: Any) -> bytes:
    """Return the skops file of these parts and this schema."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name, body in [*sorted(parts.items()), ("schema.json", json.dumps(schema, sort_keys=True).encode())]:
            target.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), body)
    return buffer.getvalue()


def _in_package(content: bytes, package: str, other: str) -> bytes:
    """Return the skops file with the types of one package taken from another."""
    parts, schema = _unpacked(content)

    def moved(node: Any) -> Any:
        if isinstance(node, list):
            return [moved(item) for item in node]
        if not isinstance(node, dict):
            return node
        names = {key: node[key] for key in ("__module__", "module_path") if isinstance(node.get(key), str)}
        renamed = {key: other + name[len(package) :] for key, name in names.items() if name.startswith(f"{package}.")}
        return {key: renamed.get(key) or moved(value) for key, value in node.items()}

    return _packed(parts, moved(schema))


def _check_types(content: bytes, trusted: tuple[str, ...]) -> None:
    """Raise Refused if the file holds a type that is not allowed."""
    import skops.io

    if unknown := sorted(set(skops.io.get_untrusted_types(data=content)) - {*_allowed(trusted)}):
        raise Refused(f"the model holds {', '.join(unknown)}: if you trust that, add it to TRUSTED in its module")


def _allowed(trusted: tuple[str, ...]) -> list[str]:
    """Return the types that a model file of this module may hold, besides those that skops knows."""
    return sorted({*TRUSTED, *trusted})


def _renumbered(node: Any, numbers: dict[int, int], fresh: Any) -> Any:
    """Return the schema with small numbers for addresses; plain values share none, whatever Python interned."""
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
