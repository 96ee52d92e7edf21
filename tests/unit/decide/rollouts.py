"""What is seen of a ModelDeployment whose version 1 is served, and how a test says it in one line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.api import ModelDeployment
from modelyard.api.rollout import Figure, FigureVerdict, RolloutStatus, TrafficMethod
from modelyard.api.serving import ServedModel
from modelyard.decide.analysis import Judgement
from modelyard.decide.modeldeployment import Problem, Reported, Revision, Traffic
from modelyard.decide.rollout import Observed

Json = dict[str, Any]
NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
BEGUN = "2026-01-15T11:59:00Z"
FRESH = Reported(None, {})


def digest(version: int) -> str:
    return f"sha256:{version:064d}"


def served(version: int) -> ServedModel:
    return ServedModel("churn", version, f"s3://b/{version}", digest(version))


V1, V2, V3 = served(1), served(2), served(3)
BY_REVISION = {each.revision: each.version for each in (V1, V2, V3)}


def deployment(
    rest: Json | None = None, *, says: Mapping[str, str] | None = None, generation: int = 4, **status: Any
) -> ModelDeployment:
    """Return the ModelDeployment `web`; `says` are its annotations, without modelyard.dev/ in front."""
    annotations = {f"modelyard.dev/{name}": value for name, value in (says or {}).items()}
    metadata = {"name": "web", "namespace": "ml", "uid": "u", "generation": generation, "annotations": annotations}
    spec = {"model": {"name": "churn", "stage": "Production"}, "rest": rest or {"replicas": 2}}
    return ModelDeployment.parse({"metadata": metadata, "spec": spec, "status": status})


def revision(
    of: ServedModel, ready: int = 2, desired: int = 2, *, total: int | None = None, settled: bool | None = None
) -> Revision:
    return Revision(
        name=f"web-v{of.version}",
        revision=of.revision,
        model=of.name,
        version=of.version,
        digest=of.digest,
        desired=desired,
        total=desired if total is None else total,
        ready=ready,
        settled=ready == desired if settled is None else settled,
    )


def revisions(*of: Revision) -> dict[str, Revision]:
    return {each.revision: each for each in of}


def seen(
    wanted: ServedModel | Problem,
    *present: Revision,
    stable: str = V1.revision,
    before: Reported | None = None,
    split: bool = False,
    method: TrafficMethod = TrafficMethod.POD_COUNTS,
    **others: Any,
) -> Observed:
    """Return what is seen; the Service and the status say that version 1 is served, if nothing else is said."""
    return Observed(
        wanted=wanted,
        revisions=revisions(*present),
        traffic=Traffic(stable, split),
        before=Reported(V1.revision, {}) if before is None else before,
        method=method,
        now=others.pop("now", NOW),
        **others,
    )


def state(strategy: str, step: int = 0, *, version: ServedModel = V2, **fields: Any) -> RolloutStatus:
    """Return what the status says of a rollout that began a minute ago."""
    known = {"phase": "Starting", "startedAt": BEGUN, "step": step, **fields}
    return RolloutStatus.model_validate(
        {"strategy": strategy, "version": version.version, "revision": version.revision, **known}
    )


def judged(verdict: FigureVerdict, message: str = "so it was found") -> Judgement:
    return Judgement(verdict, (Figure(name="errorRate", verdict=verdict),), message)


PASSED, FAILED = judged(FigureVerdict.PASSED), judged(FigureVerdict.FAILED)
UNCLEAR = judged(FigureVerdict.INCONCLUSIVE)
