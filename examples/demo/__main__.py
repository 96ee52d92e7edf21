"""`python -m examples.demo`, run by `make demo` once there is a cluster with images."""

from __future__ import annotations

import sys
from collections.abc import Callable

from examples.demo import screen
from examples.demo.steps import EXPERIMENT, RETRAINING, CommandFailed, Demo, TimedOut, Unexpected


def run(demo: Demo, between: Callable[[str], None] = lambda _: None) -> None:
    """Run all steps; `between` is called with the name of each step that is about to begin."""

    def step(name: str, text: str) -> None:
        screen.heading(text)
        between(name)

    step("install", "Install Modelyard")
    demo.install()
    step("train", "Train: three configurations, one Job and one MLflow run each")
    first = demo.train("-k examples/churn", EXPERIMENT)
    step("stage", "Promote to Staging: one number")
    demo.promote("staging", first)
    step("promote", "Promote to Production: one number")
    demo.promote("production", first)
    step("serve", "The deployment rolls out what is in Production, by itself")
    demo.wait_until_served(first)
    step("ask", "Ask it, through the Ingress")
    demo.ask(first)
    step("retrain", "Train again, for a second version")
    second = demo.train("-f examples/churn/retrain.yaml", RETRAINING)
    step("replace", "Promote it while clients keep asking")
    demo.promote_under_load(first, second)
    step("history", "What was in Production, and who put it there")
    demo.history()


def main() -> int:
    """Return the exit code: 0 where every step ended as promised."""
    demo = Demo.from_environment()
    try:
        run(demo)
    except (CommandFailed, TimedOut, Unexpected) as error:
        screen.say(f"\nThe demo stopped: {error}")
        screen.say("Look at the operator: kubectl -n modelyard-system logs deployment/modelyard-operator")
        return 1
    screen.heading("Done")
    demo.closing()
    return 0


if __name__ == "__main__":
    sys.exit(main())
