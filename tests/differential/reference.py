"""MLflow's own registry on SQLite, and the hands that keep it in step where Modelyard differs on purpose."""

# mypy: allow-untyped-calls

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, STAGE_NONE
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlModelVersionTag, SqlRegisteredModel
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from tests.differential.operations import Environment, Operation
from tests.differential.outcomes import Outcome, outcome_of


@dataclass(frozen=True)
class Version:
    """What the rules ask of a version."""

    description: str | None
    stage: str
    location: str | None


Times = dict[tuple[str, int], int | None]


class Reference:
    """MLflow's store on a database file of its own, a copy of `template` (making the tables takes seconds)."""

    _files = itertools.count(1)

    def __init__(self, template: Path, environment: Environment) -> None:
        self._path = template.with_name(f"reference-{next(self._files)}.db")
        self._environment = environment
        shutil.copyfile(template, self._path)
        self.store = SqlAlchemyStore(f"sqlite:///{self._path}")

    def close(self) -> None:
        """Drop the database."""
        self.store._dispose_engine()
        SqlAlchemyStore._engine_map.pop(self.store.db_uri)
        self._path.unlink()

    def run(self, operation: Operation) -> Outcome:
        """Run an operation."""
        return outcome_of(self.store, operation, self._environment)

    def would(self, operation: Operation) -> Outcome:
        """Return what an operation would come to, on a copy."""
        copy = Reference(self._path, self._environment)
        try:
            return copy.run(operation)
        finally:
            copy.close()

    def model(self, name: Any) -> dict[str, Any] | None:
        """Return a model's description and the stages of its versions; None where there is none."""
        with self.store.engine.connect() as connection:
            found: Any = connection.execute(
                sa.select(SqlRegisteredModel.description).where(SqlRegisteredModel.name == name)
            ).first()
            return {"description": found[0]} if found else None

    def version(self, name: Any, version: Any) -> Version | None:
        """Return a version that is not deleted."""
        columns = (SqlModelVersion.description, SqlModelVersion.current_stage, SqlModelVersion.storage_location)
        with self.store.engine.connect() as connection:
            found: Any = connection.execute(
                sa.select(*columns)
                .where(SqlModelVersion.name == name, SqlModelVersion.version == version)
                .where(SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL)
            ).first()
            return Version(*found) if found else None

    def tag_keys(self, name: str, version: int) -> set[str]:
        """Return the keys of a version's tags."""
        with self.store.engine.connect() as connection:
            of_version = (SqlModelVersionTag.name == name, SqlModelVersionTag.version == version)
            return set(connection.execute(sa.select(SqlModelVersionTag.key).where(*of_version)).scalars())

    def newest_numbers(self) -> dict[str, int]:
        """Return the highest version number of each model that has one, deleted versions counted."""
        with self.store.engine.connect() as connection:
            rows: Any = connection.execute(
                sa.select(SqlModelVersion.name, sa.func.max(SqlModelVersion.version)).group_by(SqlModelVersion.name)
            )
            return {str(name): int(number) for name, number in rows}

    def count_from(self, name: str, number: int) -> None:
        """Let the model's next version get a number above `number`, as if that one had been deleted."""
        with self.store.engine.begin() as connection:
            connection.execute(
                sa.insert(SqlModelVersion).values(
                    name=name, version=number, current_stage=STAGE_DELETED_INTERNAL, source=""
                )
            )

    def take_out_of_stage(self, name: str, stage: str, but: int) -> int:
        """Let `but` be the only version in the stage, as of when it got there; return how many left it."""
        promoted = (
            sa.select(SqlModelVersion.last_updated_time)
            .where(SqlModelVersion.name == name, SqlModelVersion.version == but)
            .scalar_subquery()
        )
        with self.store.engine.begin() as connection:
            done = connection.execute(
                sa.update(SqlModelVersion)
                .where(SqlModelVersion.name == name)
                .where(SqlModelVersion.current_stage == stage, SqlModelVersion.version != but)
                .values(current_stage=STAGE_NONE, last_updated_time=promoted)
            )
            return done.rowcount

    def times(self) -> Times:
        """Return when each model (as version 0) and version was updated last."""
        with self.store.engine.connect() as connection:
            models: Any = connection.execute(sa.select(SqlRegisteredModel.name, SqlRegisteredModel.last_updated_time))
            found: Times = {(name, 0): time for name, time in models}
            versions: Any = connection.execute(
                sa.select(SqlModelVersion.name, SqlModelVersion.version, SqlModelVersion.last_updated_time)
            )
            return found | {(name, number): time for name, number, time in versions}

    def restore_times(self, times: Times) -> None:
        """Take back what happened to the times since they were read."""
        now = self.times()
        with self.store.engine.begin() as connection:
            for (name, number), time in times.items():
                if now.get((name, number)) == time:
                    continue
                update = (
                    sa.update(SqlModelVersion).where(SqlModelVersion.name == name, SqlModelVersion.version == number)
                    if number
                    else sa.update(SqlRegisteredModel).where(SqlRegisteredModel.name == name)
                )
                connection.execute(update.values(last_updated_time=time))
