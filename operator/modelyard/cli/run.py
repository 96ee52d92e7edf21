"""`run`, `suspend` and `resume`: have an Experiment run once more, or start no trial for a while."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import Trigger
from modelyard.api.names import RUN_ANNOTATION
from modelyard.cli.deployments import Change
from modelyard.cli.errors import REFUSED, CliError
from modelyard.cli.experiments import Experiments, is_over, state, succeeded
from modelyard.cli.output import Output
from modelyard.cli.runs import follow
from modelyard.cli.runs_look import RunsLook, RunsLooker

_ADVICE = "change it there"
_STALE_SECONDS = 10.0
"""How long what hinders the Experiment may still be about what was before the request."""


def run(experiments: Experiments, output: Output, arguments: Namespace) -> int:
    """Ask for one more execution, say what that will do, and with `wait` show it until it ends."""
    value = experiments.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def decide(experiment: Experiment) -> Change:
        if experiment.spec.project is None:
            raise CliError(
                f"{experiment.metadata.name} has no spec.project: it follows the runs that others log, and there is "
                "nothing to run. Give it a project, or log a run with mlflow.set_experiment"
            )
        return Change.of_annotations({RUN_ANNOTATION: value})

    experiment = experiments.edit(arguments.experiment, decide, "set it there")
    if not output.is_json or not arguments.wait:
        _say_run(output, experiment, value)
    if not arguments.wait:
        return 0
    return wait_for(experiments, output, arguments, value)


def _say_run(output: Output, experiment: Experiment, value: str) -> None:
    name = experiment.metadata.name
    said = f"{name} runs once more, {_when(experiment)}: {_what(experiment)}"
    if output.is_json:
        output.json({"name": name, "namespace": experiment.metadata.namespace, "run": value, "message": said})
        return
    output.say(said)
    if experiment.spec.suspend:
        output.note(f"{name} is suspended, so no trial starts until: kubectl modelyard resume {name}")
    output.note(f"follow it with: kubectl modelyard runs {name} --watch")


def _what(experiment: Experiment) -> str:
    """Return what an execution runs, in words."""
    spec = experiment.spec
    what = f"its entry point {spec.entry_point}"
    if spec.sweep:
        most = f" of at most {spec.sweep.max_trials} trials" if spec.sweep.max_trials else ""
        what = f"its sweep{most}, {spec.sweep.parallelism} at a time"
    git = spec.project.git if spec.project else None
    return f"{what}, of the commit that {git.revision} names by then" if git else what


def _when(experiment: Experiment) -> str:
    status = experiment.status
    busy = status.execution is not None and status.finished_at is None and not is_over(experiment)
    return f"when execution {status.execution} has ended" if busy else "now"


def wait_for(experiments: Experiments, output: Output, arguments: Namespace, value: str) -> int:
    """Show the execution that the annotation's value has begun, until it has ended.

    Return 0 where it succeeded.
    """
    looker = RunsLooker(experiments, arguments.experiment)
    begun = experiments.clock()

    def over(look: RunsLook) -> bool:
        waited = (look.at - begun).total_seconds()
        return has_ended(look.experiment, value, waited)

    last = follow(looker, output, over, timeout=arguments.timeout).experiment
    if not has_ended(last, value, _STALE_SECONDS):
        output.error(
            f"{last.metadata.name} has not ended after {arguments.timeout:g} s; it goes on without this command"
        )
        return REFUSED
    return 0 if state(last) == "Succeeded" else REFUSED


def has_ended(experiment: Experiment, value: str, waited: float) -> bool:
    """Whether the execution that was asked for has ended, or cannot begin; `waited` is in seconds."""
    status = experiment.status
    if not is_over(experiment):
        return False
    trigger = status.trigger
    if trigger is not None and trigger.kind is Trigger.ANNOTATION and trigger.value == value:
        return True
    # What is wrong with the project is said before anything of the new execution is fixed.
    return state(experiment) == "Failed" and status.finished_at is None and waited >= _STALE_SECONDS


def suspend(experiments: Experiments, output: Output, arguments: Namespace) -> int:
    """Have no trial started."""
    was = False

    def decide(experiment: Experiment) -> Change | None:
        nonlocal was
        was = experiment.spec.suspend
        return None if was else Change({("spec", "suspend"): True})

    experiment = experiments.edit(arguments.experiment, decide, _ADVICE)
    name, counts = experiment.metadata.name, experiment.status.runs
    if was:
        return _say(output, experiment, f"{name} is suspended already", f"kubectl modelyard resume {name}")
    running = counts.running if counts else 0
    on = {0: "", 1: "; the one that runs goes on"}.get(running, f"; the {running} that run go on")
    return _say(output, experiment, f"{name} is suspended: no trial is started{on}", f"kubectl modelyard resume {name}")


def resume(experiments: Experiments, output: Output, arguments: Namespace) -> int:
    """Have trials started again."""
    was = True

    def decide(experiment: Experiment) -> Change | None:
        nonlocal was
        was = experiment.spec.suspend
        return Change({("spec", "suspend"): False}) if was else None

    experiment = experiments.edit(arguments.experiment, decide, _ADVICE)
    name = experiment.metadata.name
    if not was:
        return _say(output, experiment, f"{name} is not suspended: {_standing(experiment)}", None)
    return _say(output, experiment, f"{name} starts trials again", f"kubectl modelyard runs {name} --watch")


def _standing(experiment: Experiment) -> str:
    condition = succeeded(experiment)
    return f"it is {state(experiment)}" + (f": {condition.message}" if condition and condition.message else "")


def _say(output: Output, experiment: Experiment, done: str, next_: str | None) -> int:
    metadata = experiment.metadata
    if output.is_json:
        suspended = experiment.spec.suspend
        output.json({"name": metadata.name, "namespace": metadata.namespace, "suspend": suspended, "message": done})
        return 0
    output.say(done)
    if next_:
        output.note(f"{'go on' if 'resume' in next_ else 'follow it'} with: {next_}")
    return 0
