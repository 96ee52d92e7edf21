"""Models in ONNX, executed by ONNX Runtime: MLflow's `onnx` flavor, and accelerated models of ours.

https://mlflow.org/docs/latest/ml/traditional-ml/ and https://onnxruntime.ai/docs/api/python/. ONNX Runtime is imported
when the first model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelyard_serving.call import PREDICT, Predictor
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.flavors.accelerated import METADATA_KEY, Contract, predictor
from modelyard_serving.mlmodel import MLmodel
from modelyard_serving.table import Array, Table

if TYPE_CHECKING:
    import onnxruntime  # type: ignore[import-untyped]

CPU = "CPUExecutionProvider"
_SEVERITY_ERROR = 3


class AcceleratedError(Exception):
    """The accelerated model cannot be used; the original has to answer."""


def load_accelerated(path: Path, mlmodel: MLmodel) -> Predictor:
    """The verified model.onnx of ours in place of the model that `mlmodel` describes. Raises AcceleratedError."""
    try:
        session = open_session(path)
        contract = Contract.from_json(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    except Exception as error:
        raise AcceleratedError(f"{path.name} cannot be used: {type(error).__name__}: {error}") from error
    _require_columns(contract, mlmodel)
    return predictor(session, contract)


def _require_columns(contract: Contract, mlmodel: MLmodel) -> None:
    """A file that belongs to another model may not answer for this one."""
    if mlmodel.inputs is None or not contract.named:
        return
    names = [spec.name for spec in mlmodel.inputs.inputs]
    if names != [column.name for column in contract.columns]:
        raise AcceleratedError("its columns are not those of the model's signature")


def open_session(model: Path | bytes, options: Mapping[str, Any] | None = None) -> onnxruntime.InferenceSession:
    """A session that takes its time from the calling thread alone, and keeps no memory between calls.

    `options` are MLflow's `onnx_session_options`, which come before our own. Raises what ONNX Runtime raises.
    """
    import onnxruntime  # noqa: PLC0415

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _SEVERITY_ERROR
    # Requests come in threads of their own: more threads for one request only take them from others.
    settings.intra_op_num_threads = 1
    settings.inter_op_num_threads = 1
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Measured with a forest of 300 trees: no slower without, and each thread's arena stays unmade.
    settings.enable_cpu_mem_arena = False
    settings.enable_mem_pattern = False
    _apply(options or {}, settings, onnxruntime)
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, settings, providers=[CPU])


def _apply(options: Mapping[str, Any], settings: Any, onnxruntime: Any) -> None:
    for name in ("inter_op_num_threads", "intra_op_num_threads"):
        if options.get(name):
            setattr(settings, name, options[name])
    if mode := options.get("execution_mode"):
        modes = {"SEQUENTIAL": "ORT_SEQUENTIAL", "PARALLEL": "ORT_PARALLEL"}
        if chosen := modes.get(str(mode).upper()):
            settings.execution_mode = getattr(onnxruntime.ExecutionMode, chosen)
    if level := options.get("graph_optimization_level"):
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel(level)
    for key, value in (options.get("extra_session_config") or {}).items():
        settings.add_session_config_entry(key, value)


def load(directory: Path, model: MLmodel) -> Predictor:
    """MLflow's `onnx` flavor; answers as MLflow's own wrapper does. External data files lie beside the model.

    Raises StartupError: ModelInvalid, LoadFailed.
    """
    conf = model.flavors["onnx"]
    data = conf.get("data") or model.pyfunc.get("data")
    if not data:
        raise StartupError(Reason.MODEL_INVALID, "the onnx flavor names no data")
    path = (directory / str(data)).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise StartupError(Reason.MODEL_INVALID, f"MLmodel names a path outside the model directory: {data!r}")
    if not path.is_file():
        raise StartupError(Reason.MODEL_INVALID, f"the model's file {path.name} is missing")
    try:
        session = open_session(path, conf.get("onnx_session_options"))
        batchable = _batchable(path)
    except Exception as error:
        message = f"{path.name} (onnx) cannot be loaded: {type(error).__name__}: {error}"
        raise StartupError(Reason.LOAD_FAILED, message) from error
    wrapper = Wrapper(session)
    return Predictor({PREDICT: wrapper.predict}, takes_tables=True, batchable=batchable, runtime="onnx")


def _batchable(path: Path) -> bool:
    from modelyard_serving.flavors.rowwise import is_row_wise, load_structure  # noqa: PLC0415 - needs the onnx package

    return is_row_wise(load_structure(path))


class Wrapper:
    """Feeds a session and names what it gives, as `mlflow.onnx._OnnxModelWrapper` of MLflow 3.17 does."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._run = session.run
        self._inputs: dict[str, str] = {each.name: each.type for each in session.get_inputs()}
        self._single = frozenset(name for name, kind in self._inputs.items() if kind == "tensor(float)")
        self._outputs = [each.name for each in session.get_outputs()]

    def predict(self, data: Any, params: Mapping[str, Any] | None) -> Any:
        """A table's answer is a DataFrame; that of an array or of a mapping is a mapping."""
        del params  # As in MLflow.
        if isinstance(data, dict):
            return self._mapping(data)
        if isinstance(data, np.ndarray):
            if len(self._inputs) != 1:
                raise ValueError(f"the model has the inputs {list(self._inputs)}, which one array cannot be mapped to")
            return self._mapping({self._only: data})
        if isinstance(data, Table):
            return self._frame(self._of_table(data))
        if hasattr(data, "columns"):
            several = len(self._inputs) > 1
            feeds = {name: data[name].values for name in self._inputs} if several else {self._only: data.values}
            return self._frame(feeds)
        raise TypeError(f"Input should be a dictionary or a numpy array or a pandas.DataFrame, got '{type(data)}'")

    @property
    def _only(self) -> str:
        return next(iter(self._inputs))

    def _of_table(self, table: Table) -> dict[str, Array]:
        if len(self._inputs) > 1:
            positions = {name: position for position, name in enumerate(table.names)}
            return {name: table.column(positions[name]) for name in self._inputs}
        return {self._only: table.frame().to_numpy() if table.block is None else table.block.T}

    def _mapping(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        return dict(zip(self._outputs, self._run(self._outputs, self._cast(feeds)), strict=True))

    def _frame(self, feeds: Mapping[str, Array]) -> Any:
        import pandas as pd  # noqa: PLC0415

        outputs = self._run(self._outputs, self._cast(feeds))
        columns = {name: np.asarray(values).reshape(-1) for name, values in zip(self._outputs, outputs, strict=True)}
        return pd.DataFrame(columns)

    def _cast(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """JSON's numbers are float64, which a model in float32 gets as float32."""
        return {
            name: feed.astype(np.float32) if name in self._single and feed.dtype == np.float64 else feed
            for name, feed in feeds.items()
        }
