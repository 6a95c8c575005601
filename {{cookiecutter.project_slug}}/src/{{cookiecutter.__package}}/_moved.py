"""Keep the module names of releases 0.1 and 0.2 importable, with a warning; this file goes in release 1.0."""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "artifact": "datasets.columns",
    "catalog": "datasets.catalog",
    "images": "datasets.images",  # of release 0.1, as is models.parts
    "models.parts": "features",
    "models.parts.classes": "features.classes",
    "models.parts.seasons": "features.seasons",
    "models.parts.tabular": "features.tabular",
    "parts": "features",
    "parts.classes": "features.classes",
    "parts.images": "datasets.images",
    "parts.seasons": "features.seasons",
    "parts.tabular": "features.tabular",
    "quality": "datasets.report",
    "table": "datasets.table",
}


class MovedModules(MetaPathFinder, Loader):
    """Import a module under its former name as the very module it is now."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return a spec for a name in MOVED, for others None."""
        package, _, module = name.partition(".")
        return ModuleSpec(name, self) if package == __package__ and module in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import and return the module under the name it has now."""
        former = spec.name.removeprefix(f"{__package__}.")
        warnings.warn(f"{spec.name} is {__package__}.{MOVED[former]} now", FutureWarning, stacklevel=2)
        module = importlib.import_module(f".{MOVED[former]}", __package__)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module, which has run, its own specification back."""
        module.__spec__ = module.__spec__.loader_state


sys.meta_path.append(MovedModules())
