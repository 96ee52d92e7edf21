"""kubectl, as the demo and its tests call it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from examples.demo import screen

Json = dict[str, Any]


class CommandFailed(Exception):
    """A command ended with an error; the message is what it said."""


class TimedOut(Exception):
    """What was waited for did not come; the message says what was there instead."""


def run(*arguments: str, show: bool = False, stdin: str | None = None) -> str:
    """Run a command and return what it printed. Raises `CommandFailed`."""
    if show:
        screen.command(" ".join(_quoted(argument) for argument in arguments))
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True, check=False, timeout=600)  # noqa: S603
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _quoted(argument: str) -> str:
    return f"'{argument}'" if any(character in argument for character in ' {}"$*') else argument


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *arguments: str, show: bool = False, stdin: str | None = None) -> str:
        """Run kubectl and return what it printed."""
        return run("kubectl", "-n", self.namespace, *arguments, show=show, stdin=stdin)

    def get(self, kind: str, name: str) -> Json | None:
        """Return an object, or None where there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def patch(self, kind: str, name: str, patch: Json, *, show: bool = False) -> None:
        """Apply a JSON merge patch."""
        self("patch", kind, name, "--type", "merge", "-p", json.dumps(patch), show=show)

    def wait_for(
        self,
        kind: str,
        name: str,
        until: Callable[[Json], bool],
        seconds: float,
        *,
        seen: Callable[[Json], None] | None = None,
    ) -> Json:
        """Return the object once `until` holds; `seen` is called with every state on the way. Raises `TimedOut`."""
        deadline = time.monotonic() + seconds
        body: Json | None = None
        while time.monotonic() < deadline:
            body = self.get(kind, name)
            if body is not None:
                if seen:
                    seen(body)
                if until(body):
                    return body
            time.sleep(0.3)
        state = json.dumps((body or {}).get("status", "the object does not exist"), indent=1)
        raise TimedOut(f"{kind} {name}: not within {seconds:.0f} s; its status: {state}")


def condition(body: Json, kind: str) -> Json:
    """Return one condition of an object, or an empty one."""
    found = (each for each in body.get("status", {}).get("conditions", []) if each["type"] == kind)
    return next(found, {})


def is_current(body: Json) -> bool:
    """Whether the operator has seen the newest spec."""
    return bool(body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"])
