"""Logs as they are stored, made of events."""

from __future__ import annotations

from modelyard.api.model_status import RecordsStatus, StageStatus
from modelyard.api.stages import Stage
from modelyard.cli.chain import StoredRecord
from modelyard.records.events import Event, MoveRecord, StagesChanged, VersionRegistered, digest_of


def stored(*events: Event) -> list[StoredRecord]:
    """Return the records that a log has which the events were written to, one after the other."""
    records: list[StoredRecord] = []
    for sequence, event in enumerate(events, start=1):
        previous = digest_of(records[-1].data) if records else ""
        sealed = event.model_copy(update={"sequence": sequence, "previous": previous, "id": f"id-{sequence}"})
        records.append(StoredRecord(sequence, sealed.to_json()))
    return records


def head(records: list[StoredRecord]) -> RecordsStatus:
    return RecordsStatus(sequence=records[-1].sequence, digest=digest_of(records[-1].data))


def registered(version: int, at: str = "2026-01-01T00:00:00.000Z", name: str = "churn") -> VersionRegistered:
    return VersionRegistered(
        at=at,
        by="mlflow",
        model=name,
        version=version,
        source=f"runs:/r{version}/model",
        artifact=f"s3://models/team/artifacts/{name}-{version}",
        digest=f"sha256:{version:064d}",
        run_id=f"r{version}",
    )


def moved(at: str, production: int | None, *moves: tuple[int, Stage, Stage], by: str = "kubectl-edit") -> StagesChanged:
    """A change after which `production` is in that stage, since then."""
    stages = {} if production is None else {"production": StageStatus(version=production, since=at, by=by)}
    return StagesChanged(
        at=at,
        by=by,
        stages=stages,
        moves=tuple(MoveRecord(version=version, from_=before, to=after, by=by) for version, before, after in moves),
    )
