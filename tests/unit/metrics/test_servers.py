"""Two real model servers, of which the operator's own code judges the candidate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import mlflow.sklearn
import pytest
from moto.server import ThreadedMotoServer

from modelyard.api.rollout import Analysis, Figure, FigureVerdict
from modelyard.decide.analysis import Judgement, judge
from modelyard.metrics.scrape import PodAddress, Scraper, Subject
from tests.unit.serving.echo import Actor
from tests.unit.serving.processes import Server, eventually, s3, starting, upload

TOKEN = "0123456789abcdef" * 4
BOUNDS = Analysis.model_validate(
    {
        "minSamples": 20,
        "maxP99": "30s",
        "maxDisagreement": "0",
        "maxPSI": "0.2",
        "minAnswer": "-10",
        "maxAnswer": "10",
        "maxMemoryGrowth": "1Gi",
    }
)


@dataclass
class Stage:
    """Version 3, which is served, and version 4, which is judged."""

    directory: Path
    stable: Server
    candidate: Server
    scraper: Scraper

    def ask(self, server: Server, times: int, expected: int = 200) -> None:
        for _ in range(times):
            assert server.predict({"dataframe_records": [{"x": -2.0}, {"x": 3.0}]}).status_code == expected

    def fault(self, name: str) -> None:
        (self.directory / "fault-4").write_text(name)

    def judged(self, weight: int) -> Judgement:
        subject = Subject(
            key="ml/churn/4",
            candidates=[_pod(self.candidate)],
            candidate_version="4",
            stables=[_pod(self.stable)],
            stable_version="3",
            token=TOKEN,
        )
        return judge(BOUNDS, self.scraper.evidence(subject, BOUNDS), weight)

    def verdict(self, expected: FigureVerdict, weight: int = 0) -> Judgement:
        """Judge until the verdict is the expected one."""
        judgement: Judgement = eventually(
            lambda: found if (found := self.judged(weight)).verdict == expected else None, f"is {expected}"
        )
        return judgement


def _pod(server: Server) -> PodAddress:
    parts = urlsplit(server.url)
    assert parts.hostname
    assert parts.port
    return PodAddress(server.url, parts.hostname, parts.port)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    store = ThreadedMotoServer("127.0.0.1", 0)
    store.start()
    endpoint = "http://{}:{}".format(*store.get_host_and_port())
    s3(endpoint).create_bucket(Bucket="models")
    (tmp_path / "kind").write_text("numbers")
    with warnings.catch_warnings():
        # MLflow's own, of its own types.
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            Actor(str(tmp_path)), tmp_path / "actor", serialization_format="cloudpickle", pip_requirements=[]
        )
    model = {
        "MODELYARD_MODEL_SOURCE": "s3://models/actor",
        "MODELYARD_MODEL_DIGEST": upload(endpoint, tmp_path / "actor", "actor"),
        "MODELYARD_CONTROL_TOKEN": TOKEN,
        "MODELYARD_RECENT_REQUESTS": "100",
    }
    scraper = Scraper(timeout=10.0)
    with starting(tmp_path, endpoint) as start:
        stable = start(**model, MODELYARD_MODEL_DIR=str(tmp_path / "3"))
        candidate = start(**model, MODELYARD_MODEL_VERSION="4", MODELYARD_MODEL_DIR=str(tmp_path / "4"))
        stable.wait_ready()
        candidate.wait_ready()
        yield Stage(tmp_path, stable, candidate, scraper)
    scraper.close()
    store.stop()


def test_a_candidate_is_held_passes_and_is_refused(stage: Stage) -> None:
    held = stage.judged(0)
    assert held.verdict == FigureVerdict.INCONCLUSIVE
    assert held.message == "0 of 20 requests replayed: no request has reached the stable version yet"

    stage.ask(stage.stable, 20)
    passed = stage.verdict(FigureVerdict.PASSED)
    assert named(passed, "disagreement").found == "0 % (0 of 40)"

    # With traffic, a tenth of the requests is enough after such a replay.
    assert stage.judged(10).verdict == FigureVerdict.INCONCLUSIVE
    stage.ask(stage.candidate, 2)
    assert stage.judged(10).verdict == FigureVerdict.PASSED

    # MLflow's protocol answers 400 where a model raises: the stable version's share of them tells.
    stage.ask(stage.stable, 20)
    stage.fault("raise")
    stage.ask(stage.candidate, 28, expected=400)
    failed = named(stage.judged(10), "errorRate")
    assert failed.verdict == FigureVerdict.FAILED
    assert "4xx beyond the stable version's share" in failed.message

    # Other answers to the same requests.
    stage.fault("shift")
    stage.ask(stage.stable, 1)
    eventually(lambda: named(stage.judged(0), "disagreement").verdict == FigureVerdict.FAILED, "it disagrees")


def named(judgement: Judgement, name: str) -> Figure:
    return next(figure for figure in judgement.figures if figure.name == name)
