"""The code a model predicts with: its hash, and the package as it was at a commit, imported beside today's."""

import ast
import importlib.util
import re
import sys
import tokenize
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import ROOT, Refused
from .git import git
from .settings import PROJECT

SOURCE = ROOT / "src" / PROJECT


def code_hash(module: str, source: Path = SOURCE, preparation: str = "") -> str:
    """Return the SHA-256 of a model's code: all that it imports from its package, and the data beside it.

    Args:
        module: Its module in models/.
        source: The package's folder.
        preparation: What prepares its requests, as in "preparation:flights", if anything does.
    """
    digest, files = sha256(), imported_files(module, source, preparation)
    for path in sorted(files | data_files(files, source)):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(source).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def imported_files(module: str, source: Path = SOURCE, preparation: str = "") -> set[Path]:
    """Return the files that an import of a model's code runs, but for imports for type checkers only."""
    found: set[Path] = set()
    moved = _moved_places(source)
    waiting = [source / "models" / f"{module}.py"]
    if preparation:
        place = source.joinpath(*preparation.partition(":")[0].split("."))
        waiting += [place.with_name(f"{place.name}.py"), place / "__init__.py"]
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        waiting += [folder / "__init__.py" for folder in path.parents if folder == source or source in folder.parents]
        for place in _imported_names(path, source):
            for each in (place, _place_now(place, moved)):
                waiting += [each.with_name(f"{each.name}.py"), each / "__init__.py"]
    return found


def data_files(files: set[Path], source: Path = SOURCE) -> set[Path]:
    """Return the files below the folders of these that are not Python; not for the package's own folder, nor hidden."""
    folders = {path.parent for path in files} - {source}
    beside = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path for path in beside if path.suffix not in (".py", ".pyc") and not path.name.startswith(".")}


def package_at(
    commit: str, patch: Path | None, module: str, expected: str | None, folder: Path, preparation: str = ""
) -> str:
    """Import the package as it was at a commit, under another name.

    Args:
        commit: Of this repository.
        patch: The changes that were not committed, if any.
        module: The model's module, whose code is checked.
        expected: The `code_hash` recorded with the version, if one was.
        folder: Where to keep the code.
        preparation: What prepares its requests, whose code is checked, too.

    Returns:
        The name to import it by.

    Raises:
        Refused: If commit and patch do not give the recorded code.
    """
    name = f"{PROJECT}_{folder.name}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as scratch:
            source = _check_out(commit, patch, Path(scratch))
            if expected not in (None, code_hash(module, source, preparation)):
                raise Refused(f"commit {commit[:12]} does not give the code that was recorded with the version")
            for path in source.rglob("*.py"):
                _rename_imports(path, name)
            try:
                source.rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster
                    raise
    if name not in sys.modules:
        _import_package(folder, name)
    return name


def _import_package(folder: Path, name: str) -> None:
    """Import the package in a folder under a name."""
    init = folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(folder)])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
        sys.modules[name].ROOT = ROOT  # files of the project that a model reads are found where they are
    except BaseException:
        del sys.modules[name]
        raise


def _check_out(commit: str, patch: Path | None, scratch: Path) -> Path:
    """Write the package's files at a commit, with a patch applied, and return their folder."""
    index = {"GIT_INDEX_FILE": str(scratch / "index")}
    git("read-tree", commit, **index)
    if patch:
        git("apply", "--cached", "--whitespace=nowarn", str(patch.resolve()), **index)
    files = git("ls-files", "-z", "--", f"src/{PROJECT}", **index).decode().split("\0")[:-1]
    if not files:
        raise Refused(f"commit {commit[:12]} has no src/{PROJECT}")
    git("checkout-index", f"--prefix={scratch / 'tree'}/", "--", *files, **index)
    return next((scratch / "tree").glob(f"**/src/{PROJECT}"))


def _imported_names(path: Path, source: Path) -> Iterator[Path]:
    """Yield the places, without an ending, of the modules and names that a file imports from its package."""
    tree = ast.parse(path.read_bytes())
    checked = {id(each) for node in ast.walk(tree) if _is_for_types(node) for each in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        if isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            yield from (source.joinpath(*names[1:]) for names in parts if names[0] == PROJECT)
        elif isinstance(node, ast.ImportFrom):
            names = (node.module or "").split(".") if node.module else []
            if node.level:
                base = path.parents[node.level - 1].joinpath(*names)
            elif names[:1] == [PROJECT]:
                base = source.joinpath(*names[1:])
            else:
                continue
            yield base
            yield from (base / alias.name for alias in node.names)


def _moved_places(source: Path) -> dict[Path, Path]:
    """Return the new place of each module that _moved.py names, by its former place; goes with that file in 1.0."""
    path = source / "_moved.py"
    tree = ast.parse(path.read_text(encoding="utf-8") if path.exists() else "")
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "MOVED":
            names = ast.literal_eval(node.value)
            return {source.joinpath(*old.split(".")): source.joinpath(*new.split(".")) for old, new in names.items()}
    return {}


def _place_now(place: Path, moved: dict[Path, Path]) -> Path:
    """Return the new place of a module, or of a module of a package, that was moved; others stay where they are."""
    for each in (place, *place.parents):
        if each in moved:
            return moved[each] / place.relative_to(each)
    return place


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", getattr(node.test, "attr", "")) == "TYPE_CHECKING"


def _rename_imports(path: Path, name: str) -> None:
    """Let absolute imports of the package in a file mean the package of this name; leave what is not Python."""
    with path.open("rb") as file:
        encoding, _ = tokenize.detect_encoding(file.readline)
    text, own = path.read_text(encoding=encoding), re.compile(rf"\b{PROJECT}\b")
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a draft that nothing imports
        return
    lines = text.split("\n")
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1) - 1
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] == PROJECT:
            lines[line] = own.sub(name, lines[line], count=1)
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.split(".")[0] == PROJECT]
            bound = "" if all(alias.asname for alias in ours) else f"import {name} as {PROJECT}; "
            before, after = lines[line][: node.col_offset], lines[line][node.col_offset :]
            lines[line] = before + bound + own.sub(name, after)
    path.write_text("\n".join(lines), encoding=encoding)
