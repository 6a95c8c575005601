"""Draft a schema from the rows there are: Python for data.py, and what it would change of the one there is."""

import re
from ast import literal_eval
from collections.abc import Iterator
from itertools import combinations
from keyword import iskeyword
from string import Template

import pandas as pd

from .. import Refused
from . import catalog, personal
from .checks import shown
from .table import Table

VALUES, UNSEEN = 20, 0.005  # allowed values at most; share of rows with a value of their own up to which they are all
LONGEST, WIDTH = 60, 120  # characters of an allowed value, and of a line
TRIED = 8  # first columns that are tried as keys of two
TARGETS = ("target", "label", "class", "outcome", "y")  # names of what is to be predicted
MODULE = Template('''\
"""Snapshots -> rows: what a row is, what is predicted, and what makes a row good. This file is yours."""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
${imports}from .datasets.table import Table


def ${load}() -> pd.DataFrame:
    """One row per $row."""
    return catalog.read($source)${numbered}


TABLES = [
    Table(
        name=$source,
        load=$load,
        key=$key,$keys
        target=$target,  # a guess: name what is to be predicted
${facts}        schema=pa.DataFrameSchema(
            {
$columns
            },
            strict=True,  # a column that is not described here is an error
            coerce=True,
        ),
    ),
]''')
SCHEMA = Template("schema = pa.DataFrameSchema(\n    {\n$columns\n    },\n    strict=True,\n    coerce=True,\n)")


def draft(name: str, tables: list[Table]) -> str:
    """Return a schema for a table of data.py, or a whole data.py for a source that none is of.

    Args:
        name: The table's, or the source's in data/catalog.yaml.
        tables: Those of data.py.

    Raises:
        Refused: If there is neither, or no snapshot yet.
    """
    for table in tables:
        if table.name == name:
            return _drafted_again(table)
    sources = [source.name for source in catalog.sources()]
    if name not in sources:
        known = ", ".join(dict.fromkeys([*(table.name for table in tables), *sources]))
        raise Refused(f"there is no table or source {name!r}, only {known}")
    return drafted_module(name, catalog.read(name), _references(name))


def drafted_module(source: str, rows: pd.DataFrame, references: dict[str, tuple[str, pd.Series]]) -> str:
    """Return a data.py for the rows of a source."""
    keys, numbered = candidate_keys(rows), ""
    if not keys:  # rows are numbered as they come
        keys, numbered = [("row",)], '.reset_index(names="row")  # no column, nor two, tell the rows apart'
        rows = rows.reset_index(names="row")
    times = [name for name in rows if kind(rows[name]).startswith("datetime") and not personal.named(str(name))]
    key, time = keys[0], next((name for name in times if rows[name].notna().all()), None)
    group = next((name for name in key if name != time), None) if time in key and len(key) > 1 else None
    full = [name for name in rows if rows[name].notna().all() and kind(rows[name]) != "object"]
    others = [name for name in full if name not in {*key, time} and rows[name].nunique() > 1] or full or [*rows]
    target = next((name for name in others if str(name).lower() in TARGETS), others[-1])
    more = [" and ".join(each) for each in keys[1:4]]
    facts = f"        time={_quoted(time)},  # the newest rows are held out\n" if time else ""
    facts += f"        group={_quoted(group)},\n" if group else ""
    columns = _lines(drafted_columns(rows, {*key, time, group, target}, target, references), 16)
    return MODULE.substitute(
        imports="from .datasets.relations import found_in\n" if "found_in(" in columns else "",
        load=f"load_{source}" if f"load_{source}".isidentifier() and not iskeyword(source) else "load_rows",
        row=" and ".join(map(str, key)),
        source=_quoted(source),
        numbered=numbered,
        key=_quoted(key[0] if len(key) == 1 else key),
        keys=f"  # or {', or '.join(more)}" if more else "",
        target=_quoted(target),
        facts=facts,
        columns=columns,
    )


def drafted_columns(
    rows: pd.DataFrame, needed: set[str], target: str, references: dict[str, tuple[str, pd.Series]] | None = None
) -> dict[str, list[str]]:
    """Return by column the arguments of its description, as Python.

    Args:
        rows: The rows.
        needed: The columns that may not be missing in any row: key, time, group and targets.
        target: The one of them whose values may be told apart.
        references: What columns of other sources may be referred to, see `_references`.
    """
    found, private = {}, personal.suspected(rows)
    for name in rows:
        values, identifies = rows[name].dropna(), (name in needed and name != target) or str(name) in private
        foreign = [] if identifies else [*_foreign(name, values, references or {})]
        checks = foreign or [*_checks(values, kind(rows[name]), identifies)]
        missing = ["nullable=True"] if rows[name].isna().any() and name not in needed else []
        found[name] = [_python(kind(rows[name])), *checks, *missing]
    return found


def candidate_keys(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return columns, or else two of the first ones, that tell all rows apart: what is called an id comes first."""
    usable = [name for name in rows if rows[name].notna().all() and kind(rows[name]) not in ("float", "object", "bool")]
    single = [(name,) for name in usable if not kind(rows[name]).startswith("datetime") and rows[name].is_unique]
    if single:
        return sorted(single, key=lambda each: not str(each[0]).lower().endswith(("id", "key", "number", "path")))
    return [pair for pair in combinations(usable[:TRIED], 2) if not rows.duplicated([*pair]).any()]


def kind(values: pd.Series) -> str:
    """Return the type that a schema gives a column, as text."""
    if values.isna().all():
        return "float"
    if pd.api.types.is_bool_dtype(values):
        return "boolean" if values.isna().any() else "bool"
    if pd.api.types.is_datetime64_any_dtype(values):
        return "datetime64[ns, UTC]" if values.dt.tz else "datetime64[ns]"
    if pd.api.types.is_integer_dtype(values):
        return "Int64" if values.isna().any() else "int"
    if pd.api.types.is_float_dtype(values):
        return "float"
    held = pd.api.types.infer_dtype(values, skipna=True)
    if held == "string":
        return _kind_of_text(values.dropna())
    return {"boolean": "boolean", "decimal": "float", "date": "datetime64[ns]"}.get(held, "object")


def _kind_of_text(values: pd.Series) -> str:
    """Return the type of texts: times if each is one as ISO 8601 writes it."""
    if not values.head(100).astype(str).str.match(r"\d{4}-\d\d-\d\d([ T]|$)").all():
        return "str"
    zoned = values.astype(str).str.contains(r":\d\d.*(?:Z|[+-]\d\d:?\d\d)$", regex=True)
    if pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True).isna().any() or zoned.nunique() > 1:
        return "str"
    return "datetime64[ns, UTC]" if zoned.iloc[0] else "datetime64[ns]"


def _python(kind: str) -> str:
    return kind if kind in ("int", "float", "bool", "str", "object") else f'"{kind}"'


def _checks(values: pd.Series, kind: str, identifies: bool) -> Iterator[str]:
    """Yield what the values suggest, of no key and no person: a bound on one side, a share, or the allowed values."""
    if kind == "str" and not identifies:
        counts = values.value_counts()
        alone, longest = (counts == 1).sum(), max(map(len, map(str, counts.index)), default=0)
        if len(counts) <= VALUES and alone <= UNSEEN * len(values) and longest <= LONGEST:
            yield f"pa.Check.isin({_quoted(sorted(map(str, counts.index)))})"
    elif kind in ("int", "Int64", "float") and len(values) and not identifies:
        low, high = values.min(), values.max()
        if kind == "float" and low >= 0 and high <= 1 and not (values % 1 == 0).all():
            yield "pa.Check.in_range(0, 1)"
        elif low >= 0:
            yield "pa.Check.ge(0)"


def _references(source: str) -> dict[str, tuple[str, pd.Series]]:
    """Return by column the other source of which it is the one key, and its values: what others may refer to."""
    found = {}
    for other in catalog.locked():
        if other != source:
            rows = catalog.read(other)
            found |= {key[0]: (other, rows[key[0]]) for key in candidate_keys(rows) if len(key) == 1}
    return found


def _foreign(name: str, values: pd.Series, references: dict[str, tuple[str, pd.Series]]) -> Iterator[str]:
    """Yield a check if a column has the name of another source's key, and no value but those."""
    if name in references:
        other, known = references[name]
        if len(values) and values.isin(known).all():
            yield f"found_in({_quoted(other)}, {_quoted(name)})"


def _lines(columns: dict[str, list[str]], indent: int) -> str:
    """Return a line for each column, or several where one would be too long."""
    lines = []
    for name, arguments in columns.items():
        line = f"{' ' * indent}{_quoted(name)}: pa.Column({', '.join(arguments)}),"
        if len(line) > WIDTH:
            pad = " " * (indent + 4)
            inner = "".join(_wrapped(each, indent + 4) for each in arguments)
            line = f"{' ' * indent}{_quoted(name)}: pa.Column(\n{inner}{pad[4:]}),"
        lines.append(line)
    return "\n".join(lines)


def _wrapped(argument: str, indent: int) -> str:
    """Return an argument on a line, or with a line for each value that is allowed."""
    pad, start = " " * indent, "pa.Check.isin("
    if len(pad + argument) < WIDTH or not argument.startswith(start):
        return f"{pad}{argument},\n"
    values = "".join(f"{pad}        {_quoted(each)},\n" for each in literal_eval(argument[len(start) : -1]))
    return f"{pad}{start}\n{pad}    [\n{values}{pad}    ]\n{pad}),\n"


def _quoted(value: object) -> str:
    """Return a value as Python, text in double quotes as far as that needs no escape."""
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_quoted, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    text = repr(value)
    return f'"{text[1:-1]}"' if text.startswith("'") and '"' not in text else text


def _drafted_again(table: Table) -> str:
    """Return the schema that the rows of a table suggest now, and as comments what it would change."""
    rows = table.loaded()
    rows = rows.drop(columns=[name for name in table.requested if name not in table.schema.columns and name in rows])
    needed = {*table.keys, table.time, table.group, table.target, *table.targets}
    columns = drafted_columns(rows, needed, table.target)
    lines = [f"# {line}" for line in changes(table, rows)] or [
        "# nothing: the schema in data.py says what the rows suggest"
    ]
    told = "# What this would change today, besides bounds:"
    return "\n".join([SCHEMA.substitute(columns=_lines(columns, 8)), "", told, *lines])


def changes(table: Table, rows: pd.DataFrame) -> Iterator[str]:
    """Yield how the rows differ from the table's schema: columns, types, missing values and allowed values."""
    declared = table.schema.columns
    yield from (f"{name}: new" for name in rows if name not in declared)
    yield from (f"{name}: gone" for name in declared if name not in rows)
    for name in [each for each in declared if each in rows]:
        was, now = (_family(each) for each in (str(declared[name].dtype), kind(rows[name])))
        if was != now and declared[name].dtype is not None:
            yield f"{name}: {now} (now {was})"
        missing = int(rows[name].isna().sum())
        if bool(missing) != declared[name].nullable:
            yield f"{name}: " + (
                f"nullable, {missing:,} values are missing" if missing else "not nullable, none is missing"
            )
        for check in declared[name].checks:
            if allowed := (check.statistics or {}).get("allowed_values"):
                there = set(rows[name].dropna())
                unused, others = sorted(map(str, set(allowed) - there)), sorted(map(str, there - set(allowed)))
                yield from (f"{name}: no row has {shown(each, name)}" for each in unused[:VALUES])
                yield from (f"{name}: also {shown(each, name)}" for each in others[:VALUES])


def _family(kind: str) -> str:
    """Return a type without its width, unit and zone."""
    return re.sub("string", "str", re.sub(r"\d+$|\[.*", "", kind.lower()))
