"""Loads plugins: each is a module with `register(registry)`, which adds a model, notifier, source or compute by name.

A plugin is taken whole or not at all. One that cannot be loaded breaks nothing by itself: what it would have registered
is unknown, and whoever asks for that (a model, a source or a compute in the settings; a notifier when alerts are sent)
is told why.
"""

from __future__ import annotations

import inspect
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from forecast_platform.models import registry as models
from forecast_platform.models.base import FittedModel, Model

log = logging.getLogger(__name__)

KINDS = ("model", "notifier", "source", "compute")
BUILT_IN = {
    "notifier": ("log", "webhook", "slack", "email"),
    "source": ("sample", "landing", "feeds"),
    "compute": ("local", "spark", "databricks", "databricks_serverless", "databricks_classic"),
}
"""Names that are taken; the package's own models are in their registry."""

METHODS = {"notifier": ("send",), "source": ("read", "fingerprint"), "compute": ("fits", "run", "perform")}
"""What the objects that factories give must have."""

Factory = Callable[[Any], Any]
"""Makes the thing from the settings."""

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,39}$")


class PluginError(ValueError):
    """A plugin cannot be taken; the message names it, what is wrong and the mend."""


@dataclass
class Registry:
    """What a plugin's `register` is given; each method adds one thing under a name that nobody else has."""

    plugin: str
    added: dict[tuple[str, str], Any] = field(default_factory=dict)

    def model(self, model: type[Model]) -> None:
        """Add a model class under its `name`. Raises PluginError: no subclass of Model, or parts of it are missing."""
        if not (inspect.isclass(model) and issubclass(model, Model)):
            raise PluginError(f"{model!r} is no model: register a subclass of forecast_platform.models.base.Model")
        lacking = [name for name in ("name", "description", "fitted_type") if not hasattr(model, name)]
        lacking += sorted(getattr(model, "__abstractmethods__", ()))
        if lacking:
            raise PluginError(f"model {model.__qualname__} lacks {', '.join(lacking)}: see docs/plugins.md")
        if not (inspect.isclass(model.fitted_type) and issubclass(model.fitted_type, FittedModel)):
            raise PluginError(f"model {model.__qualname__}: fitted_type is no subclass of FittedModel")
        self._add("model", model.name, model)

    def notifier(self, name: str, factory: Factory) -> None:
        """Add a notifier: `factory(settings)` gives an object with `send(message)`.

        Raises PluginError for what is no function, and a name that is taken or of another form.
        """
        self._add("notifier", name, _callable("notifier", name, factory))

    def source(self, name: str, factory: Factory) -> None:
        """Add a source: `factory(settings)` gives an object with `read(series)` and `fingerprint(series)`.

        Raises PluginError for what is no function, and a name that is taken or of another form.
        """
        self._add("source", name, _callable("source", name, factory))

    def compute(self, name: str, factory: Factory) -> None:
        """Add a compute: `factory(settings)` gives an object with `fits`, `run` and `perform`.

        Raises PluginError for what is no function, and a name that is taken or of another form.
        """
        self._add("compute", name, _callable("compute", name, factory))

    def _add(self, kind: str, name: str, thing: Any) -> None:
        if not isinstance(name, str) or not _NAME.match(name):
            raise PluginError(
                f"{kind} {name!r}: a name is lower-case letters, digits and underscores, at most 40, a letter first"
            )
        owner = _owner(kind, name) or (self.plugin if (kind, name) in self.added else None)
        if owner:
            raise PluginError(f"{kind} {name!r} is registered already, by {owner}: give this one another name")
        self.added[kind, name] = thing


_lock = threading.RLock()
_taken: dict[tuple[str, str], tuple[str, Any]] = {}
_loaded: set[str] = set()
_broken: dict[str, str] = {}


def load(modules: Iterable[str]) -> dict[str, str]:
    """Load these plugins, each once a process; returns those that could not be loaded, and why."""
    wanted = list(dict.fromkeys(modules))
    with _lock:
        for module in wanted:
            if module in _loaded or module in _broken:
                continue
            try:
                _take(module)
            except PluginError as error:
                _broken[module] = str(error)
                log.error("plugin %s: %s", module, error)
            else:
                _loaded.add(module)
        return {module: _broken[module] for module in wanted if module in _broken}


def factory(kind: str, name: str) -> Factory | None:
    """What makes the notifier, source or compute `name` of a plugin; None where no plugin registered it."""
    found = _taken.get((kind, name))
    return None if found is None else found[1]


def make(kind: str, name: str, settings: Any) -> Any:
    """The notifier, source or compute `name` of a plugin, made from the settings.

    Raises PluginError: nobody registered it, its factory fails, or what it gives lacks a method.
    """
    made_by = factory(kind, name)
    if made_by is None:
        raise PluginError(f"{kind} {unknown_text(kind, name, {})}")
    owner = _taken[kind, name][0]
    try:
        made = made_by(settings)
    except Exception as error:
        raise PluginError(
            f"{kind} {name!r} of the plugin {owner} cannot be made: {type(error).__name__}: {error}"
        ) from error
    lacking = [method for method in METHODS[kind] if not callable(getattr(made, method, None))]
    if lacking:
        raise PluginError(
            f"{kind} {name!r} of the plugin {owner} lacks {', '.join(lacking)}: its factory "
            f"must give an object with {', '.join(METHODS[kind])}"
        )
    return made


def names(kind: str) -> list[str]:
    """The names of a kind: the package's own, then the plugins'."""
    if kind == "model":
        return models.names()
    return [*BUILT_IN[kind], *(name for of, name in _taken if of == kind)]


def registered(module: str) -> list[str]:
    """What a plugin has registered, as texts such as `model damped`."""
    return [f"{kind} {name}" for (kind, name), (owner, _) in _taken.items() if owner == module]


def unknown_text(kind: str, name: str, broken: Mapping[str, str]) -> str:
    """That a name is unknown, which are known, and which plugins could not be loaded."""
    lost = "".join(f"; the plugin {module} could not be loaded: {why}" for module, why in broken.items())
    return f"{name!r} is unknown; known: {', '.join(map(repr, names(kind)))}{lost}"


def _take(module: str) -> None:
    """Import a plugin and keep what it registers, all or nothing. Raises PluginError."""
    try:
        found = import_module(module)
    except ImportError as error:
        absent = getattr(error, "name", None)
        if absent and (module == absent or module.startswith(f"{absent}.")):
            raise PluginError(
                f"there is no module {absent}: install its package where this runs (also on the cluster), or correct "
                "the setting plugins"
            ) from error
        mend = "install what it needs, or take it out of the setting plugins"
        raise PluginError(f"its import fails: {type(error).__name__}: {error}: {mend}") from error
    except Exception as error:
        raise PluginError(f"its import fails: {type(error).__name__}: {error}: correct it, or take it out") from error
    register = getattr(found, "register", None)
    if not callable(register):
        raise PluginError("it has no function register(registry): add one (docs/plugins.md)")
    given = Registry(module)
    try:
        register(given)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"its register fails: {type(error).__name__}: {error}: correct it, or take it out") from error
    if not given.added:
        raise PluginError("its register adds nothing: call registry.model, .notifier, .source or .compute")
    for (kind, name), thing in given.added.items():
        if kind == "model":
            place = (thing.__module__, thing.__qualname__)
            models.register(name, *place, thing.description, thing.kind, default=False)
        _taken[kind, name] = (module, thing)


def _owner(kind: str, name: str) -> str | None:
    if (kind, name) in _taken:
        return f"the plugin {_taken[kind, name][0]}"
    taken = models.names() if kind == "model" else BUILT_IN[kind]
    return "forecast_platform itself" if name in taken else None


def _callable(kind: str, name: str, factory: Any) -> Factory:
    if not callable(factory):
        raise PluginError(f"{kind} {name!r}: {factory!r} is no function of the settings that makes it")
    made: Factory = factory
    return made
