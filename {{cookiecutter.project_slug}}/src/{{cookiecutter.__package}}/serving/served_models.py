"""The champions in memory: a new one is loaded beside the old one, verified on its examples, and then takes over."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from .. import Refused, first_line
from ..registry.loading import load_served, running_code
from ..registry.versions import REFIT, Version, champion_version, versions
from ..training.params import module_name
from .served_version import ServedVersion, served

log = logging.getLogger(__name__)


@dataclass
class ServedModels:
    """What serves now, by model, and why a model's newest champion does not."""

    names: list[str]
    on_failure: Callable[[str], None] = lambda name: None  # told the model of every champion that is not loaded
    champions: dict[str, ServedVersion] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note the code of every model before any of it is imported."""
        for name in self.names:
            running_code(module_name(name))

    def refresh(self) -> None:
        """Load every new champion; one that cannot be loaded leaves the old one serving."""
        for name in self.names:
            try:
                found = champion_version(name)
                if found is None:
                    self._without_champion(name)
                    continue
                if name not in self.champions or not _is_same(self.champions[name], found):
                    self.champions[name] = served(load_served(name, found.number))
                    log.info("%s: version %s serves", name, found.number)
                self.errors.pop(name, None)
            except Exception as error:  # whatever is wrong with the new one, the old one serves on
                self.on_failure(name)
                kind = "" if isinstance(error, Refused) else f"{type(error).__name__}: "
                message = f"{kind}{first_line(error)}"
                if self.errors.get(name) != message:
                    log.warning("%s: the champion cannot be served: %s", name, message)
                self.errors[name] = message

    def _without_champion(self, name: str) -> None:
        """Say why nothing serves; a version in memory goes only if it was withdrawn, not because it cannot be found."""
        withdrawn = [version.number for version in versions(name) if "withdrawn" in version.tags]
        if name in self.champions and self.champions[name].number in withdrawn:
            del self.champions[name]
        why = f": version {withdrawn[0]} was withdrawn; retrain, or" if withdrawn else " yet:"
        self.errors[name] = f"no champion{why} uv run just promote VERSION {name}"

    def ready(self) -> bool:
        """Return whether every model has a champion here."""
        return set(self.champions) == set(self.names)

    def versions(self) -> dict[str, dict[str, str | None]]:
        """Return for each model the version that serves here, if any, what is wrong, and how the version is asked."""
        found = {name: {"version": None, "error": self.errors.get(name)} for name in self.names}
        for name, champion in self.champions.items():
            found[name] |= {"version": champion.number, **champion.ways}
        return found


def _is_same(loaded: ServedVersion, found: Version) -> bool:
    """Return whether the version is loaded, and as it serves now: a refit may have been added since."""
    digest = found.tags.get(REFIT) or found.tags["sha256"]
    return (loaded.number, loaded.version.signature.sha256) == (found.number, digest)
