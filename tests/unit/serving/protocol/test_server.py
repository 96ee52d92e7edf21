"""A server process asked over all of its protocols at once, by this test and by a stock client of V2."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from modelyard_serving.protocol.grpc import descriptor
from tests.unit.serving.processes import SECONDS, Server, free_port, upload
from tests.unit.serving.protocol.cases import sent

PYTHON = os.environ.get("MODELYARD_TRITON_PYTHON")
ROWS = [[1.5, 2.0], [3.0, 4.0]]
SUMS = [3.5, 7.0]


class Asked(NamedTuple):
    server: Server
    http: str
    grpc: str

    def post(self, path: str, document: Any) -> Any:
        response = httpx.post(f"{self.server.url}{path}", json=document, timeout=SECONDS)
        return response.json() if response.status_code == 200 else response.status_code


@pytest.fixture
def sums(start: Callable[..., Server], store: str, tmp_path: Path) -> Asked:
    """A model that adds two doubles."""
    with warnings.catch_warnings():
        # MLflow warns of its own type hints when it is imported.
        warnings.simplefilter("ignore")
        import mlflow.sklearn  # noqa: PLC0415
        from mlflow.models import infer_signature  # noqa: PLC0415

        frame = pd.DataFrame(np.random.default_rng(1).normal(size=(20, 2)), columns=["a", "b"])
        fitted = LinearRegression().fit(frame, frame.sum(axis=1))
        mlflow.sklearn.save_model(
            fitted,
            tmp_path / "saved",
            signature=infer_signature(frame, np.zeros(20)),
            input_example=frame.head(1),
            pip_requirements=[],
            serialization_format="cloudpickle",
        )
    port = free_port()
    server = start(
        MODELYARD_MODEL_NAME="sums",
        MODELYARD_MODEL_VERSION="7",
        MODELYARD_MODEL_SOURCE="s3://models/sums",
        MODELYARD_MODEL_DIGEST=upload(store, tmp_path / "saved", "sums"),
        MODELYARD_GRPC_PORT=str(port),
    )
    server.wait_ready()
    return Asked(server, server.url.removeprefix("http://"), f"127.0.0.1:{port}")


def test_the_protocols_give_the_same_answers(sums: Asked) -> None:
    split = {"dataframe_split": {"columns": ["a", "b"], "data": ROWS}}
    whole = sent("x", "FP64", [2, 2], ROWS)
    columns = [sent(name, "FP32", [2, 1], [row[i] for row in ROWS]) for i, name in enumerate("ab")]
    answers = [
        sums.post("/invocations", split)["predictions"],
        sums.post("/v1/models/sums:predict", {"instances": ROWS})["predictions"],
        sums.post("/v2/models/sums/infer", {"inputs": [whole]})["outputs"][0]["data"],
        sums.post("/v2/models/sums/versions/7/infer", {"inputs": columns})["outputs"][0]["data"],
        asyncio.run(_over_grpc(sums.grpc)),
    ]
    for answer in answers:
        assert answer == pytest.approx(SUMS, abs=1e-9)
    assert sums.post("/v2/models/sums/versions/8/infer", {"inputs": [whole]}) == 404


async def _over_grpc(address: str) -> list[float]:
    message = descriptor.ModelInferRequest(model_name="sums")
    message.inputs.add(name="x", datatype="FP64", shape=[2, 2]).contents.fp64_contents.extend(np.ravel(ROWS))
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(
            f"/{descriptor.SERVICE}/ModelInfer",
            lambda each: each.SerializeToString(),
            descriptor.ModelInferResponse.FromString,
        )
        return list((await call(message, timeout=SECONDS)).outputs[0].contents.fp64_contents)


def test_the_descriptions_examples_can_be_sent_as_they_are(sums: Asked) -> None:
    document = httpx.get(f"{sums.server.url}/openapi.json", timeout=SECONDS).json()
    posts = {path: item["post"]["requestBody"]["content"] for path, item in document["paths"].items() if "post" in item}
    assert len(posts) == 4
    for path, content in posts.items():
        answer = sums.post(path, content["application/json"]["example"])
        assert isinstance(answer, dict), (path, answer)
    for path, item in document["paths"].items():
        if "get" in item:
            assert httpx.get(f"{sums.server.url}{path}", timeout=SECONDS).status_code == 200, path


@pytest.mark.skipif(not PYTHON, reason="MODELYARD_TRITON_PYTHON names no Python with tritonclient[grpc,http]")
def test_a_stock_client_is_understood(sums: Asked) -> None:
    """Its Python: uv venv DIR && uv pip install --python DIR/bin/python 'tritonclient[grpc,http]==2.73.0'."""
    script = Path(__file__).with_name("stock_client.py")
    done = subprocess.run(
        [str(PYTHON), str(script), sums.http, sums.grpc], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    for protocol, found in json.loads(done.stdout).items():
        assert [found.pop(name) for name in ("live", "ready", "model", "version")] == [True] * 4, protocol
        refusals = {"http": ["404", "400", "400"], "grpc": ["NOT_FOUND", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]}[
            protocol
        ]
        for name, code in zip(("other", "unknown output", "missing column"), refusals, strict=True):
            assert code in found.pop(name)
        assert found.pop("output") == pytest.approx(SUMS)
        assert found
        for name, (values, dtype) in found.items():
            assert values == pytest.approx(SUMS), name
            assert dtype == "float64"
