"""Which module of a generated project may import which, and how long a module may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from projects import TREE

SOURCE = TREE / "src" / "{{cookiecutter.__package}}"
FILES = sorted(SOURCE.rglob("*.py"))
ROWS = [  # the parts of the package in the order of the README's table: each may import those above it
    re.findall(r"`([\w.]+)/?`", line.split("|")[1])
    for line in (TREE / "README.md").read_text(encoding="utf-8").partition("## Where things are")[2].splitlines()
    if line.startswith("| ") and "`" in line.split("|")[1]
]
PARTS = ["root", *(name.removesuffix(".py") for row in ROWS for name in row if name != "__main__.py")]
NEVER = {("features", "data"), ("models", "data"), ("retraining", "serving")}  # above, but of no use to it
MAY_IMPORT = {part: {above for above in PARTS[:i] if (part, above) not in NEVER} for i, part in enumerate(PARTS)}
ROOM = {"__init__": "root", "_moved": "root", "__main__": "commands"}  # modules that are no part of their own
ONLY_IN = {
    "mlflow": "registry/",
    "dvc": "retraining/stages.py",
    "prefect": "flows.py",
    "PIL": "datasets/images.py",
    "onnxruntime": "features/",
}
TO_SERVE = {"artifact", "modules", "params", "workspace"}  # what of training/ a service may load
LONGEST_MODULE, LONGEST_FUNCTION = 350, 40  # lines


@dataclass(frozen=True)
class Imported:
    """One import of the package's own: the module, by its path without an ending, and whether only checkers run it."""

    module: str
    for_types: bool


def module_of(path: Path) -> str:
    """The module's name below the package, as in `training/contract`; a file of one problem is the file it becomes."""
    parts = path.relative_to(SOURCE).parts
    return "/".join([*parts[:-1], parts[-1].split(".")[0]])


def part_of(module: str) -> str:
    first = module.split("/")[0]
    return ROOM.get(first, first)


MODULES = {module_of(path) for path in FILES}


def own_imports(path: Path) -> Iterator[Imported]:
    """Every import of the package's modules in a file, those inside functions included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {id(each) for node in ast.walk(tree) if is_for_types(node) for each in ast.walk(node)}
    package = path.relative_to(SOURCE).parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            for alias in node.names:
                yield Imported(found_module([each for each in base if each], alias.name), id(node) in typing)


def found_module(base: list[str], name: str) -> str:
    """The module that `from base import name` runs."""
    for candidate in ([*base, name], [*base, name, "__init__"], base, [*base, "__init__"]):
        if "/".join(candidate) in MODULES:
            return "/".join(candidate)
    raise AssertionError(f"there is no module {'.'.join([*base, name])}")


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", getattr(node.test, "attr", "")) == "TYPE_CHECKING"


def graph() -> dict[str, set[str]]:
    """What each module imports to run."""
    found = {module: set() for module in MODULES}
    for path in FILES:
        found[module_of(path)] |= {each.module for each in own_imports(path) if not each.for_types}
    return found


def third_parties(path: Path) -> set[str]:
    """The top packages that a file imports absolutely, for type checkers or not."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_one_way(path):
    """Those inside functions and those for type checkers too."""
    own = part_of(module_of(path))
    later = {each.module for each in own_imports(path)} - {
        module for module in MODULES if part_of(module) in {*MAY_IMPORT[own], own}
    }

    assert not later, f"{own} may import {sorted(MAY_IMPORT[own])}"


def test_every_part_has_its_row_in_the_readme_and_every_row_its_part():
    assert {part_of(module) for module in MODULES} == set(MAY_IMPORT)
    assert len(PARTS) == len(MAY_IMPORT)


def test_no_modules_import_each_other_in_a_circle():
    """Over all files: so there is no circle inside a part either, through a function neither."""
    TopologicalSorter(graph()).prepare()


def test_of_training_only_the_contract_imports_the_teams_tables_and_the_service_loads_nothing_that_trains():
    known = graph()
    assert {module for module in known if part_of(module) == "training" and "data" in known[module]} == {
        "training/contract"
    }
    loaded, waiting = set(), [module for module in known if part_of(module) == "serving"]
    while waiting:
        module = waiting.pop()
        if module not in loaded:
            loaded.add(module)
            waiting += known[module]
    assert {module for module in loaded if part_of(module) == "training"} <= {f"training/{each}" for each in TO_SERVE}
    assert "data" not in loaded


@pytest.mark.parametrize("name", ONLY_IN)
def test_a_large_library_is_known_to_one_place(name):
    users = {path.relative_to(SOURCE).as_posix() for path in FILES if name in third_parties(path)}

    assert users
    assert all(user.startswith(ONLY_IN[name]) for user in users), users


def test_one_clock_dates_everything():
    """So that a simulation can set it; times of files, of MLflow's runs and of the processor are the machine's."""
    reads = re.compile(r"(datetime|date)\.(now|utcnow|today)\(|Timestamp\.now")

    assert [path for path in FILES if reads.search(path.read_text(encoding="utf-8"))] == [SOURCE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_no_module_and_no_function_is_long(path):
    text = path.read_text(encoding="utf-8")
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert len(text.splitlines()) <= LONGEST_MODULE
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
