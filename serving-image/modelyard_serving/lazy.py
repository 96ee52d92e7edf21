"""Modules that are imported when something of them is first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class Lazy(ModuleType):
    """Stands for the module of its name; safe to use from several threads, as importing is."""

    def __getattr__(self, name: str) -> Any:
        """Import the module, and keep what is asked for."""
        value = getattr(importlib.import_module(self.__name__), name)
        setattr(self, name, value)
        return value


# Half a second and 60 MB, which a server whose requests are read as tables of numbers never needs.
pandas = Lazy("pandas")
