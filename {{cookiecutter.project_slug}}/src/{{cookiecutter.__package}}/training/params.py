"""params.yaml as it is written: which models there are."""

import re
from typing import Any

import yaml

from .. import ROOT, Refused

NAME = re.compile(
    r"[^\W\d][\w-]*"
)  # of a model: it names a folder and a registered model, and is said on the command line


def model_blocks(names: list[str]) -> dict[str, dict]:
    """Return the blocks of params.yaml of these names, or all, as they are written; import no module."""
    try:
        content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refused(f"params.yaml cannot be read: {' '.join(str(error).split())}") from error
    blocks = content.get("models") if isinstance(content, dict) else None
    if not isinstance(blocks, dict) or not blocks:
        raise Refused("params.yaml names no model: it needs a block under `models:` for each")
    found = {str(name): {} if block is None else block for name, block in blocks.items()}
    if wrong := [name for name, block in found.items() if not isinstance(block, dict)]:
        raise Refused(f"params.yaml: {wrong[0]} must be a block of `key: value` lines")
    if wrong := [name for name in found if not NAME.fullmatch(name)]:
        raise Refused(f"params.yaml: {wrong[0]!r} cannot name a model: use letters, digits, _ and -, a letter first")
    if unknown := [name for name in names if name not in found]:
        raise Refused(f"params.yaml has no model {unknown[0]!r}, only {', '.join(found)}")
    return {name: found[name] for name in names or found}


def module_name(name: str, block: dict[str, Any] | None = None) -> str:
    """Return the name of a model's module in models/: `module` of its block, else the block's own name.

    Args:
        name: Of the model.
        block: Its block; read from params.yaml if not given.
    """
    module = (model_blocks([name])[name] if block is None else block).get("module") or name
    if not (isinstance(module, str) and module.isidentifier()):
        raise Refused(
            f"params.yaml: {name} names module {module!r}, which is no file in src/*/models/: give it `module`"
        )
    return module


def single_name(names: list[str]) -> str:
    """Return the name given, or the only one in params.yaml; raise Refused if there are several."""
    if len(found := list(model_blocks(names))) > 1:
        raise Refused(f"say which model: {', '.join(found)}")
    return found[0]
