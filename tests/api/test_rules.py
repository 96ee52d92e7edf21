"""The rules of Experiment on a real API server: what it accepts, what it refuses in which words."""

from __future__ import annotations

import pytest

from tests.api.conftest import Server
from tests.api.rules import Json, case, check, merged

BASE: Json = {
    "project": {"configMap": {"name": "churn"}},
    "entryPoint": "train",
    "objective": {"metric": "f1_score"},
}
GIT = {"project": {"configMap": None, "git": {"url": "https://git.example/churn.git"}}}


EXPERIMENTS = [
    case("Experiment", {}, id="a ConfigMap project"),
    case("Experiment", GIT, id="a git project"),
    case("Experiment", {"project": None}, "spec.project: Required value", id="no project"),
    case(
        "Experiment",
        {"project": {"git": {"url": "https://git.example/x.git"}}},
        "exactly one of spec.project.git and spec.project.configMap must be set",
        id="two sources",
    ),
    case(
        "Experiment",
        {"project": {"configMap": None}},
        "exactly one of spec.project.git and spec.project.configMap must be set",
        id="no source",
    ),
    case(
        "Experiment",
        merged(GIT, {"project": {"git": {"url": "https://me:secret@git.example/x.git"}}}),
        "spec.project.git.url in body should match",
        id="a password in the URL",
    ),
    case(
        "Experiment",
        merged(GIT, {"project": {"git": {"url": "ssh://git.example/x.git"}}}),
        "spec.project.git.url in body should match",
        id="a protocol that is not spoken",
    ),
    case("Experiment", merged(GIT, {"project": {"git": {"path": "models/churn"}}}), id="a subdirectory"),
    case(
        "Experiment",
        merged(GIT, {"project": {"git": {"path": "../churn"}}}),
        "spec.project.git.path must stay inside the repository",
        id="a directory outside of the repository",
    ),
    case(
        "Experiment",
        merged(GIT, {"project": {"git": {"path": "/etc"}}}),
        "spec.project.git.path must stay inside the repository",
        id="an absolute directory",
    ),
    case("Experiment", {"parameters": {"depth": "3"}}, id="a parameter"),
    case("Experiment", {"parameters": {"depth": 3}}, "must be of type string", id="a parameter that is no string"),
    case(
        "Experiment",
        {"parameters": {"depth": "3"}, "sweep": {"parameters": {"rate": {"values": ["1", "2"]}}}},
        id="a sweep beside a parameter",
    ),
    case(
        "Experiment",
        {"parameters": {"depth": "3"}, "sweep": {"parameters": {"depth": {"values": ["1"]}}}},
        "a parameter is either in spec.parameters or in spec.sweep.parameters, not in both",
        id="a parameter twice",
    ),
    case(
        "Experiment",
        {"sweep": {"parameters": {"depth": {"values": []}}}},
        "should have at least 1 items",
        id="a sweep over nothing",
    ),
    case("Experiment", {"sweep": {"parameters": {}}}, "should have at least 1 properties", id="an empty sweep"),
    case(
        "Experiment",
        {"sweep": {"algorithm": "Random", "parameters": {"depth": {"values": ["1"]}}}},
        'Unsupported value: "Random"',
        id="an algorithm that does not exist",
    ),
    case(
        "Experiment",
        {"sweep": {"parallelism": 0, "parameters": {"depth": {"values": ["1"]}}}},
        "should be greater than or equal to 1",
        id="no parallelism",
    ),
    case("Experiment", {"objective": {"goal": "Minimize"}}, id="a goal"),
    case("Experiment", {"objective": {"goal": "Best"}}, 'Unsupported value: "Best"', id="a goal that does not exist"),
    case("Experiment", {"register": {"model": "churn"}}, id="registration"),
    case(
        "Experiment",
        {"register": {"model": "churn"}, "objective": None},
        "spec.register needs spec.objective",
        id="registration of no best run",
    ),
    case(
        "Experiment",
        {"register": {"model": "churn", "when": [{"metric": "f1", "min": "0.5", "max": "1"}]}},
        id="bounds",
    ),
    case(
        "Experiment",
        {"register": {"model": "churn", "when": [{"metric": "f1"}]}},
        "a bound needs min or max",
        id="a bound without a number",
    ),
    case(
        "Experiment",
        {"register": {"model": "churn", "when": [{"metric": "f1", "min": "high"}]}},
        "spec.register.when[0].min in body should match",
        id="a bound that is no number",
    ),
    case(
        "Experiment",
        {"register": {"model": "churn", "when": [{"metric": "f1", "min": 0.5}]}},
        "must be of type string",
        id="a float",
    ),
    case("Experiment", {"template": {"resources": {"limits": {"memory": "1Gi"}}}}, id="a quantity"),
    case(
        "Experiment",
        {"template": {"resources": {"limits": {"memory": "1 GB"}}}},
        "spec.template.resources.limits.memory in body should match",
        id="no quantity",
    ),
    case("Experiment", {"template": {"env": [{"name": "A-B.c_1", "value": "x"}]}}, id="an environment variable"),
    case(
        "Experiment",
        {"template": {"env": [{"name": "1A"}]}},
        "spec.template.env[0].name in body should match",
        id="no environment variable",
    ),
    case("Experiment", {}, id="the longest name", name="x" * 52),
    case("Experiment", {}, "metadata.name takes at most 52 characters", id="a name too long", name="x" * 53),
    case("Experiment", {"schedul": "daily"}, 'unknown field "spec.schedul"', id="a field that does not exist"),
]


@pytest.mark.parametrize(("kind", "change", "refusal", "name"), EXPERIMENTS)
def test_rule(server: Server, kind: str, change: Json, refusal: str, name: str) -> None:
    check(server.verdict({"kind": kind, "metadata": {"name": name}, "spec": merged(BASE, change)}), refusal)
