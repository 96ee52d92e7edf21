from __future__ import annotations

import io
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelyard.cli.model import Models
from modelyard.cli.output import Format, Output
from modelyard.cli.sources import StoreSource
from tests.fakes import artifacts
from tests.unit.registry.world import NAMESPACE, World

Command = Callable[[Models, Output, Namespace], int]


@dataclass
class Terminal:
    """Runs commands on a world, and keeps what they wrote."""

    world: World
    out: io.StringIO = field(default_factory=io.StringIO)
    err: io.StringIO = field(default_factory=io.StringIO)

    @property
    def models(self) -> Models:
        source = StoreSource(self.world.store, artifacts.SETTINGS)
        return Models(self.world.client, NAMESPACE, lambda: source)

    def run(self, command: Command, form: Format = Format.TABLE, *, models: Models | None = None, **given: Any) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()
        arguments = Namespace(model="churn", **given)
        return command(models or self.models, Output(form, self.out, self.err), arguments)

    def json(self, command: Command, **given: Any) -> Any:
        assert self.run(command, Format.JSON, **given) == 0
        return json.loads(self.out.getvalue())

    def table(self, command: Command, form: Format = Format.TABLE, **given: Any) -> list[list[str]]:
        """The rows, without the titles, cell by cell; no cell of the tests has two spaces."""
        assert self.run(command, form, **given) == 0
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.lines[1:]]

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


@pytest.fixture
def world() -> Iterator[World]:
    """Three versions: the first was in production, the second is, the third is in staging."""
    with artifacts.bucket() as bucket:
        made = World(bucket)
        made.create()
        for number, source in enumerate(("one", "two", "three"), start=1):
            made.register(source=source)
            made.clock.forward(3600)
            if number < 3:
                made.edit({"stages": {"production": number}}, "argocd-controller")
                made.reconcile()
        made.edit({"stages": {"staging": 3}, "aliases": {"champion": 2}}, "kubectl-edit")
        made.reconcile()
        yield made


@pytest.fixture
def terminal(world: World) -> Terminal:
    return Terminal(world)
