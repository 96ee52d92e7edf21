"""Which trials an Experiment has, and the names of what is made for them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping

from modelyard.api.experiment import Experiment, ExperimentSpec
from modelyard.api.names import object_name
from modelyard.api.reasons import Reason
from modelyard.decide.experiment_model import Problem, Trial

TRIALS_LIMIT = 500
_NAME_LIMIT = 250
_JOB_PREFIX_LIMIT = 49
"""With the execution and an index of up to three digits a Job's name is a label of its pods: 63 characters."""


def execution_id(experiment: Experiment, content: str) -> str:
    """Return the name of what is run: 8 hex digits of a hash.

    `content` is the commit or the digest of the project's files. The object's uid is part of it, so that an Experiment
    which is deleted and created again runs again. How many trials run at a time changes nothing in what is run.
    """
    spec = experiment.spec
    what = {
        "uid": experiment.metadata.uid,
        "content": content,
        "project": spec.project.to_dict() if spec.project else {},
        "entryPoint": spec.entry_point,
        "parameters": spec.parameters,
        "sweep": {name: list(parameter.values or ()) for name, parameter in spec.sweep.parameters.items()}
        if spec.sweep
        else {},
        "template": spec.template.to_dict() if spec.template else {},
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


def trials(experiment: Experiment, execution: str) -> tuple[Trial, ...] | Problem:
    """Return the trials: the product of the swept values, the last parameter by name varying fastest; or one trial."""
    spec = experiment.spec
    if spec.sweep is None:
        return (Trial(0, execution_name(experiment, execution), dict(spec.parameters)),)
    grid = {
        name: tuple(dict.fromkeys(spec.sweep.parameters[name].values or ())) for name in sorted(spec.sweep.parameters)
    }
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > TRIALS_LIMIT:
        message = f"spec.sweep.parameters make {count} trials; at most {TRIALS_LIMIT} are run"
        return Problem(Reason.INVALID_SPEC, message)
    return tuple(
        _trial(spec, index, dict(zip(grid, values, strict=True)))
        for index, values in enumerate(itertools.product(*grid.values()))
    )


def execution_name(experiment: Experiment, execution: str) -> str:
    """Return the name of the parent run, or of the only one."""
    return f"{experiment.metadata.name}-{execution}"


def job_name(experiment: Experiment, execution: str, index: int) -> str:
    """Return the name of a trial's Job."""
    return f"{object_name(experiment.metadata.name, _JOB_PREFIX_LIMIT)}-{execution}-{index}"


def _trial(spec: ExperimentSpec, index: int, swept: Mapping[str, str]) -> Trial:
    pairs = (f"{key}={value}" for key, value in swept.items())
    name = ",".join(swept.values() if len(swept) == 1 else pairs)
    if len(name) > _NAME_LIMIT:
        name = name[: _NAME_LIMIT - 1] + "…"
    return Trial(index, name or str(index), {**spec.parameters, **swept})
