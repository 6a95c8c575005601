"""Random changes of a project's params.yaml and catalog.yaml, each read in-process: `settings.py PROJECT EXAMPLES`.

Each is valid, or refused in one line; anything else is raised, with the smallest file that shows it.
"""

import sys
from importlib import import_module
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PROJECT, EXAMPLES = Path(sys.argv[1]), int(sys.argv[2])
sys.path.insert(0, str(PROJECT / "src"))
PACKAGE = next(path.parent.name for path in PROJECT.glob("src/*/__init__.py"))
package = import_module(PACKAGE)
catalog = import_module(f"{PACKAGE}.datasets.catalog")
contract = import_module(f"{PACKAGE}.training.contract")
limits = import_module(f"{PACKAGE}.retraining.limits")

FILES = {name: (PROJECT / name).read_text(encoding="utf-8") for name in ("params.yaml", "data/catalog.yaml")}
NAMES = sorted(
    {"models", "seed", "rounds", "learning_rate", "../x", ""}
    | {*contract.Settings.model_fields, *limits.Limits.model_fields, *catalog.Source.model_fields}
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4)
) | st.sampled_from([*NAMES, "1e-3", ".nan", "~"])
KEYS = st.sampled_from(NAMES) | SCALARS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def read(name):
    if name == "params.yaml":
        for model in contract.load_models([]):
            limits.limits(model)
    else:
        catalog.sources(PROJECT)


def paths(content, path=()):
    """The path of every value in nested lists and dictionaries, but not of the whole."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, each in items:
        yield (*path, key)
        yield from paths(each, (*path, key))


@st.composite
def other_values(draw, name):
    """The file with up to three values set, added or dropped."""
    content = yaml.safe_load(FILES[name])
    for _ in range(draw(st.integers(1, 3))):
        known = list(paths(content))
        if not known or draw(st.integers(0, 9)) == 0:
            return yaml.safe_dump(draw(VALUES)).encode()
        *above, key = draw(st.sampled_from(known))
        parent = content
        for each in above:
            parent = parent[each]
        change = draw(st.sampled_from(["set", "add", "drop"]))
        if change == "drop":
            del parent[key]
        else:
            parent[draw(KEYS) if change == "add" and isinstance(parent, dict) else key] = draw(VALUES)
    return yaml.safe_dump(content).encode()


@st.composite
def other_bytes(draw, name):
    """The file with a few bytes replaced by others."""
    content = FILES[name].encode()
    start = draw(st.integers(0, len(content)))
    end = draw(st.integers(start, min(start + 20, len(content))))
    return content[:start] + draw(st.binary(max_size=4) | st.text(max_size=4).map(str.encode)) + content[end:]


def check(name, content):
    (PROJECT / name).write_bytes(content)
    try:
        read(name)
    except package.Refused as refusal:
        assert str(refusal).strip(), "the refusal is empty"
        assert "\n" not in str(refusal), str(refusal)


for file in FILES:
    read(file)
    for contents in (other_values(file), other_bytes(file)):
        bounded = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        bounded(given(st.just(file), contents)(check))()
    (PROJECT / file).write_text(FILES[file], encoding="utf-8")
