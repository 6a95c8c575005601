"""The champions in memory: a new one is loaded beside the old one, verified on its examples, and then takes over."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from .. import Refused, first_line
from ..registry.loading import LoadedVersion, load_version, running_code
from ..registry.versions import champion
from ..training.params import module_name

log = logging.getLogger(__name__)


@dataclass
class ServedModels:
    """What serves now, by model, and why a model's newest champion does not."""

    names: list[str]
    on_failure: Callable[[str], None] = lambda name: None  # told the model of every champion that is not loaded
    champions: dict[str, LoadedVersion] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Note the code of every model before any of it is imported."""
        for name in self.names:
            running_code(module_name(name))

    def refresh(self) -> None:
        """Load every new champion; one that cannot be loaded leaves the old one serving."""
        for name in self.names:
            try:
                number = champion(name)
                if number is None:
                    self.errors[name] = f"no champion yet: uv run just promote VERSION {name}"
                    continue
                if name not in self.champions or self.champions[name].number != number:
                    self.champions[name] = _verified(name, number)
                    log.info("%s: version %s serves", name, number)
                self.errors.pop(name, None)
            except Exception as error:  # whatever is wrong with the new one, the old one serves on
                self.on_failure(name)
                kind = "" if isinstance(error, Refused) else f"{type(error).__name__}: "
                message = f"{kind}{first_line(error)}"
                if self.errors.get(name) != message:
                    log.warning("%s: the champion cannot be served: %s", name, message)
                self.errors[name] = message

    def ready(self) -> bool:
        """Return whether every model has a champion here."""
        return set(self.champions) == set(self.names)

    def versions(self) -> dict[str, dict[str, str | None]]:
        """Return for each model the version that serves here, if any, and what is wrong."""
        serving = {name: version.number for name, version in self.champions.items()}
        return {name: {"version": serving.get(name), "error": self.errors.get(name)} for name in self.names}


def _verified(name: str, number: str) -> LoadedVersion:
    version = load_version(name, number)
    version.verify_examples()
    return version
