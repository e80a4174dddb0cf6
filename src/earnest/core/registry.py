"""Parts found by name. A registry imports its folder's modules at the first look-up: no list to edit."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from earnest.core.errors import OptionError, nearest


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered part: its name, how to build it, and what is known about it."""

    name: str
    build: Callable[..., Any]
    about: dict[str, Any] = field(default_factory=dict)


class Registry:
    """The parts of one folder of the house.

    models = Registry("earnest.models", "model")

    @models.register("lenet5", year=1998, ...)
    def lenet5(spec, num_outputs): ...

    models["lenet5"].build(spec, 10)
    """

    def __init__(self, package: str, what: str) -> None:
        self.package = package
        self.what = what
        self._entries: dict[str, Entry] = {}
        self._loaded = False

    def register(self, name: str, **about: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Enter the decorated builder under `name`; a name can be taken once."""

        def enter(build: Callable[..., Any]) -> Callable[..., Any]:
            assert name not in self._entries, f"the {self.what} {name!r} is registered twice"
            self._entries[name] = Entry(name, build, about)
            return build

        return enter

    def __getitem__(self, name: str) -> Entry:
        """The entry called `name`.

        Raises:
            OptionError: there is none; the nearest name is offered.
        """
        self._load()
        if name not in self._entries:
            known = ", ".join(sorted(self._entries))
            raise OptionError(f"there is no {self.what} {name!r}{nearest(name, self._entries) or '.'} Known: {known}.")
        return self._entries[name]

    def __iter__(self) -> Iterator[Entry]:
        self._load()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def __contains__(self, name: str) -> bool:
        self._load()
        return name in self._entries

    def _load(self) -> None:
        if self._loaded:
            return
        folder = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(folder.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True


models = Registry("earnest.models", "model")
