"""The champions in memory: a new one is loaded beside the old one, verified on its examples, and then takes over."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .. import Refused, first_line
from ..registry.last_served import forget_served, load_last_served, note_served
from ..registry.loading import load_served, running_code
from ..registry.versions import REFIT, Version, champion_version, versions
from ..training.params import module_name
from .canary import NEWEST, try_out
from .served_version import Records, ServedVersion, served

log = logging.getLogger(__name__)


@dataclass
class ServedModels:
    """What serves now, by model, and why a model's newest champion does not."""

    names: list[str]
    on_failure: Callable[[str], None] = lambda name: None  # told the model of every champion that is not loaded
    champions: dict[str, ServedVersion] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    newest: dict[str, deque[Records]] = field(default_factory=dict)  # requests that were answered lately
    local: set[str] = field(default_factory=set)  # models that serve what served last, since the registry failed

    def __post_init__(self) -> None:
        """Note the code of every model before any of it is imported."""
        for name in self.names:
            self.newest[name] = deque(maxlen=NEWEST)
            running_code(module_name(name))

    def refresh(self) -> None:
        """Load every new champion; one that cannot be loaded, or fails its trial, leaves the old one serving."""
        for name in self.names:
            try:
                found = self._registered(name)
                if found is None:
                    self._without_champion(name)
                    continue
                if name not in self.champions or not _is_same(self.champions[name], found):
                    self._let_serve(name, found)
                self.errors.pop(name, None)
                self.local.discard(name)
            except Exception as error:  # whatever is wrong with the new one, the old one serves on
                self.on_failure(name)
                kind = "" if isinstance(error, Refused) else f"{type(error).__name__}: "
                message = f"{kind}{first_line(error)}"
                if self.errors.get(name) != message:
                    log.warning("%s: the champion cannot be served: %s", name, message)
                self.errors[name] = message

    def _registered(self, name: str) -> Version | None:
        """Return the champion by the registry; if that fails and nothing serves, what served here last does."""
        try:
            return champion_version(name)
        except Refused as refusal:
            if name not in self.champions and (last := load_last_served(name)):
                self.champions[name] = served(last)
                self.local.add(name)
            if name in self.local:
                number = self.champions[name].number
                raise Refused(f"{refusal}; version {number} serves from its copy here, as it did last") from refusal
            raise

    def _let_serve(self, name: str, found: Version) -> None:
        """Load a champion, let it answer the newest requests beside the old one, and put it in the place of that."""
        new, old = served(load_served(name, found.number)), self.champions.get(name)
        if old:
            try_out(new, old, list(self.newest[name]))
        self.champions[name] = new
        log.info("%s: version %s serves", name, found.number)
        try:
            note_served(name, found)
        except OSError as error:
            log.warning("%s: a start without the registry would not know this: %s", name, first_line(error))

    def _without_champion(self, name: str) -> None:
        """Say why nothing serves; a version in memory goes only if it was withdrawn, not because it cannot be found."""
        withdrawn = [version.number for version in versions(name) if "withdrawn" in version.tags]
        if name in self.champions and self.champions[name].number in withdrawn:
            del self.champions[name]
            forget_served(name)
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
