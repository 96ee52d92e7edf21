"""What the process is doing, shared between the loader, the application and the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from modelyard_serving.config import Config
from modelyard_serving.errors import ErrorCode, RequestError, StartupError
from modelyard_serving.metrics import Metrics
from modelyard_serving.model import Model

STUCK_TIMEOUTS = 2
"""A prediction that has taken so many times what a request may take is not expected to end."""


class Phase(Enum):
    """A server goes through these once, in this order, or ends in FAILED."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """Told to end: health says no, requests are still answered."""
    FAILED = "failed"


@dataclass
class State:
    """Written by the loader (once) and by signals, read by requests."""

    config: Config
    phase: Phase = Phase.LOADING
    loaded: Model | None = field(default=None)
    failure: StartupError | None = field(default=None)
    metrics: Metrics = field(default_factory=Metrics, repr=False, compare=False)

    @property
    def model(self) -> Model:
        """The model. Raises RequestError (503 TEMPORARILY_UNAVAILABLE) until it is loaded."""
        if self.loaded is None:
            raise RequestError("The model is not loaded yet", ErrorCode.TEMPORARILY_UNAVAILABLE, 503)
        return self.loaded

    @property
    def stuck(self) -> bool:
        """Whether no prediction can begin any more because none ends: only a new process helps."""
        return self.loaded is not None and self.loaded.engine.stuck(STUCK_TIMEOUTS * self.config.request_seconds)

    def ready(self, model: Model) -> None:
        """The model is loaded; a server that has been told to end meanwhile stays draining."""
        self.loaded = model
        self.metrics.queued = model.engine.depth
        self.metrics.answers.read_by({name: dialect.predictions for name, dialect in model.dialects.items()})
        config = self.config
        runtime = model.predictor.runtime
        self.metrics.loaded(config.model_name, config.model_version, config.digest, model.flavor, runtime)
        if self.phase is Phase.LOADING:
            self.phase = Phase.READY

    def failed(self, error: StartupError) -> None:
        """There will be no model."""
        self.failure = error
        self.phase = Phase.FAILED
