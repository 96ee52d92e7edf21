"""The rules of RegisteredModel and Approval on a real API server: what it accepts, what it refuses in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.rules import Json, case, check, merged

DIGEST = "sha256:" + "ab" * 32
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"


def model(change: Json, refusal: str = "", *, name: str = "x", id: str) -> Any:  # noqa: A002
    return case("RegisteredModel", change, refusal, name=name, id=id)


def gate(gate: Json, refusal: str = "", *, id: str, stage: str = "production") -> Any:  # noqa: A002
    return model({"gates": {stage: [{"name": "g", **gate}]}}, refusal, id=f"gate: {id}")


def version(change: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    declared = merged({"version": 1, "source": "s3://models/churn/1"}, change)
    return model({"versions": [declared]}, refusal, id=f"version: {id}")


def webhook(change: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    base = {"name": "ci", "url": "https://ci.example/hook", "secretRef": {"name": "hook", "key": "secret"}}
    return model({"webhooks": [merged(base, change)]}, refusal, id=f"webhook: {id}")


STAGES_AND_ALIASES = [
    model({}, id="nothing but a name"),
    model({"name": "Churn Model (EU)"}, id="any MLflow name"),
    model({"name": ""}, "should be at least 1 chars long", id="an empty MLflow name"),
    model({"stages": {"staging": 4, "production": 3}}, id="both stages"),
    model(
        {"stages": {"prod": 3}},
        "unknown stage: spec.stages takes staging and production",
        id="an unknown stage",
    ),
    model(
        {"stages": {"Production": 3}},
        "unknown stage: spec.stages takes staging and production",
        id="a stage in MLflow's capitals",
    ),
    model({"stages": {"production": 0}}, "greater than or equal to 1", id="version 0"),
    model({"stages": {"production": "3"}}, "must be of type integer", id="a version that is a string"),
    model({"aliases": {"champion": 3}}, id="an alias"),
    model({"aliases": {"the best": 3}}, "an alias is 1 to 63 letters", id="an alias with a space"),
    model({"aliases": {"latest": 3}}, "must not be 'latest'", id="an alias that MLflow reserves"),
    model({"aliases": {"v3": 3}}, "look like a version", id="an alias that looks like a version"),
    model({}, "metadata.name takes at most 52 characters", id="a name too long", name="x" * 53),
]

ONE_KIND = "set exactly one of metric, fromStage, job, approvers and signature"
NO_BOUND = "min, max and comparedTo belong to a metric"
NO_COMPARISON = "tolerance and goal belong to comparedTo"
GATES = [
    gate({"metric": "f1_score", "min": "0.85"}, id="a lower bound"),
    gate({"metric": "loss", "max": "-0.5"}, id="a negative upper bound"),
    gate({"metric": "share", "min": "0.5", "max": "0.50"}, id="bounds that meet"),
    gate({"metric": "share", "min": "10", "max": "9"}, "min is above max: no version could pass", id="crossed bounds"),
    gate({"metric": "f1_score", "min": 0.85}, "must be of type string", id="a float"),
    gate({"metric": "f1_score", "min": "high"}, "spec.gates.production[0].min in body should match", id="no number"),
    gate({"metric": "f1_score", "max": "1e3"}, "spec.gates.production[0].max in body should match", id="an exponent"),
    gate({"metric": "f1_score", "min": "1" * 41}, "Too long: may not be more than 40", id="a number too long"),
    gate({"metric": "f1_score"}, "a metric needs min, max or comparedTo", id="a metric alone"),
    gate({"metric": "", "min": "1"}, "metric in body should be at least 1 chars long", id="a metric without a name"),
    gate({"metric": "m" * 250, "min": "1"}, id="the longest metric"),
    gate({"metric": "m" * 251, "min": "1"}, "Too long: may not be more than 250", id="a metric too long"),
    gate(
        {"metric": "accuracy", "comparedTo": "production", "tolerance": "0.01", "goal": "Minimize", "min": "0"},
        id="a comparison beside a bound",
    ),
    gate({"metric": "accuracy", "comparedTo": "archived"}, 'Unsupported value: "archived"', id="compared to no stage"),
    gate({"metric": "a", "comparedTo": "staging", "goal": "Best"}, 'Unsupported value: "Best"', id="no goal"),
    gate(
        {"metric": "a", "comparedTo": "staging", "tolerance": "-0.1"},
        "tolerance must not be negative",
        id="a negative tolerance",
    ),
    gate({"metric": "a", "min": "0", "tolerance": "0.1"}, NO_COMPARISON, id="a tolerance of a bound"),
    gate({"metric": "a", "min": "0", "goal": "Maximize"}, NO_COMPARISON, id="a goal of a bound"),
    gate({"fromStage": "staging"}, id="a stage before"),
    gate({"fromStage": "production"}, id="production before staging", stage="staging"),
    gate({"fromStage": "production"}, "fromStage must name another stage", id="production before production"),
    gate({"fromStage": "staging"}, "fromStage must name another stage", id="staging before staging", stage="staging"),
    gate({"fromStage": "Staging"}, 'Unsupported value: "Staging"', id="a stage in MLflow's capitals"),
    gate({"fromStage": "staging", "min": "1"}, NO_BOUND, id="a bound without a metric"),
    gate({"approvers": ["risk-team"], "comparedTo": "production"}, NO_BOUND, id="a comparison without a metric"),
    gate({}, ONE_KIND, id="none"),
    gate({"fromStage": "staging", "approvers": ["risk-team"]}, ONE_KIND, id="two in one"),
    gate({"approvers": ["risk-team", "auditors@example.com"]}, id="approvers"),
    gate({"approvers": []}, "should have at least 1 items", id="nobody approves"),
    gate({"approvers": [""]}, "approvers[0] in body should be at least 1 chars long", id="an approver without a name"),
    gate({"approvers": [f"g{i}" for i in range(17)]}, "must have at most 16 items", id="too many approvers"),
    gate(
        {
            "job": {
                "image": "registry.example/tests:1",
                "command": ["python", "smoke.py"],
                "args": ["--strict"],
                "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"memory": "1Gi"}},
                "timeoutSeconds": 600,
                "serviceAccountName": "smoke",
                "nodeSelector": {"disk": "ssd"},
            }
        },
        id="a Job",
    ),
    gate({"job": {}}, "job.command: Required value", id="a Job without a command"),
    gate({"job": {"command": []}}, "should have at least 1 items", id="a Job with an empty command"),
    gate({"job": {"command": ["x"], "timeoutSeconds": 0}}, "greater than or equal to 1", id="a Job without time"),
    gate({"job": {"command": ["x"], "timeoutSeconds": 86401}}, "less than or equal to 86400", id="a Job for days"),
    gate(
        {"job": {"command": ["x"], "serviceAccountName": "Smoke Test"}},
        "job.serviceAccountName in body should match",
        id="a Job with no ServiceAccount's name",
    ),
    gate(
        {"job": {"command": ["x"], "env": [{"name": "1A"}]}},
        "job.env[0].name in body should match",
        id="a Job with no variable",
    ),
    gate(
        {"job": {"command": ["x"], "script": "y"}}, 'unknown field "spec.gates.production[0].job.script"', id="a typo"
    ),
    gate({"signature": {"publicKey": PEM}}, id="a signature by a key"),
    gate({"signature": {"identity": "ci@example.com", "issuer": "https://issuer.example"}}, id="one by an identity"),
    gate({"signature": {}}, "set either publicKey, or identity and issuer", id="a signature by nobody"),
    gate({"signature": {"identity": "ci@example.com"}}, "set either publicKey, or identity and issuer", id="no issuer"),
    gate(
        {"signature": {"issuer": "https://issuer.example"}},
        "set either publicKey, or identity and issuer",
        id="an issuer alone",
    ),
    gate(
        {"signature": {"publicKey": PEM, "identity": "ci@example.com", "issuer": "https://issuer.example"}},
        "set either publicKey, or identity and issuer",
        id="a key and an identity",
    ),
    gate(
        {"signature": {"publicKey": PEM.replace("PUBLIC", "PRIVATE")}},
        "signature.publicKey in body should match",
        id="a private key",
    ),
    model({"gates": {"production": [], "staging": []}}, id="no gates"),
    model(
        {"gates": {"Production": []}}, "unknown stage: spec.gates takes staging and production", id="an unknown stage's"
    ),
    model(
        {"gates": {"production": [{"name": "A gate", "fromStage": "staging"}]}},
        "spec.gates.production[0].name in body should match",
        id="a gate's name that is no label",
    ),
    model({"gates": {"production": [{"fromStage": "staging"}]}}, "name: Required value", id="a gate without a name"),
    model(
        {"gates": {"production": [{"name": "g", "fromStage": "staging"}] * 2}},
        'spec.gates[production][1]: Duplicate value: {"name":"g"}',
        id="two gates of one name",
    ),
    model(
        {"gates": {"production": [{"name": f"g{i}", "fromStage": "staging"} for i in range(17)]}},
        "must have at most 16 items",
        id="too many gates",
    ),
]

VERSIONS = [
    version({"description": "first", "tags": {"a": "b"}, "metrics": {"f1_score": "0.9"}}, id="declared"),
    version({"version": 0}, "greater than or equal to 1", id="0"),
    version({"version": None}, "spec.versions[0].version: Required value", id="no number"),
    version({"source": None}, "spec.versions[0].source: Required value", id="no source"),
    version({"source": "s3://models"}, "spec.versions[0].source in body should match", id="a whole bucket"),
    version({"source": "https://models/1"}, "spec.versions[0].source in body should match", id="not S3"),
    version({"metrics": {"f1": "good"}}, "spec.versions[0].metrics.f1 in body should match", id="no metric"),
    version({"metrics": {"": "1"}}, "a metric's name has 1 to 250 characters", id="a metric without a name"),
    version({"metrics": {"m" * 251: "1"}}, "a metric's name has 1 to 250 characters", id="a metric's name too long"),
    version({"metrics": {f"m{i}": "1" for i in range(33)}}, "must have at most 32 items", id="too many metrics"),
    version({"tags": {"": "1"}}, "a tag's key has 1 to 250 characters", id="a tag without a key"),
    version({"tags": {"a": "x" * 257}}, "Too long: may not be more than 256", id="a tag's value too long"),
    version({"tags": {f"t{i}": "1" for i in range(17)}}, "must have at most 16 items", id="too many tags"),
    version({"description": "x" * 1025}, "Too long: may not be more than 1024", id="a description too long"),
    model(
        {"versions": [{"version": 1, "source": f"s3://models/{i}"} for i in range(2)]},
        'spec.versions[1]: Duplicate value: {"version":1}',
        id="version: twice",
    ),
    model({"versions": [{"version": i, "source": f"s3://m/{i}"} for i in range(1, 257)]}, id="as many versions as may"),
    model(
        {"versions": [{"version": i, "source": f"s3://m/{i}"} for i in range(1, 258)]},
        "must have at most 256 items",
        id="too many versions",
    ),
]

TAGS = [
    model({"tags": {"team": "risk"}, "description": "Who leaves"}, id="a tag and a description"),
    model({"tags": {"": "x"}}, "a tag's key has 1 to 250 characters", id="a tag without a key"),
    model({"tags": {"t" * 251: "x"}}, "a tag's key has 1 to 250 characters", id="a tag's key too long"),
    model({"tags": {"a": "x" * 5001}}, "Too long: may not be more than 5000", id="a tag's value too long"),
    model({"tags": {f"t{i}": "" for i in range(65)}}, "must have at most 64 items", id="too many tags"),
    model({"description": "x" * 8193}, "Too long: may not be more than 8192", id="a description too long"),
]

RETENTION = [
    model({"retention": {"archived": 20, "maxAge": "180d"}}, id="retention by number and age"),
    model({"retention": {"archived": 0}}, id="retention of none"),
    model({"retention": {"maxAge": "26w"}}, id="retention for weeks"),
    model({"retention": {}}, "set archived, maxAge or both: without them nothing is deleted", id="empty retention"),
    model({"retention": {"archived": -1}}, "greater than or equal to 0", id="retention of fewer than none"),
    model({"retention": {"archived": 100001}}, "less than or equal to 100000", id="retention of too many"),
    model({"retention": {"maxAge": "0d"}}, "spec.retention.maxAge in body should match", id="retention for no time"),
    model({"retention": {"maxAge": "6 months"}}, "spec.retention.maxAge", id="retention for months"),
]

WEBHOOKS = [
    webhook({}, id="https"),
    webhook({"url": "http://ci.team-a.svc:8080"}, id="in the cluster"),
    webhook({"url": "ftp://ci.example"}, "spec.webhooks[0].url in body should match", id="another protocol"),
    webhook({"url": "https://user:pw@ci.example/"}, "spec.webhooks[0].url in body should match", id="a password"),
    webhook({"url": "https:///hook"}, "spec.webhooks[0].url in body should match", id="no host"),
    webhook({"url": None}, "spec.webhooks[0].url: Required value", id="no URL"),
    webhook({"secretRef": None}, "spec.webhooks[0].secretRef: Required value", id="no key"),
    webhook({"secretRef": {"key": None}}, "secretRef.key: Required value", id="a Secret without a key"),
    webhook({"secretRef": {"name": "My Secret"}}, "secretRef.name in body should match", id="no Secret's name"),
    webhook({"secretRef": {"key": "a/b"}}, "secretRef.key in body should match", id="no Secret's key"),
    webhook({"name": "CI"}, "spec.webhooks[0].name in body should match", id="a name that is no label"),
    model(
        {
            "webhooks": [
                {"name": f"w{i}", "url": "https://ci.example", "secretRef": {"name": "a", "key": "b"}} for i in range(9)
            ]
        },
        "must have at most 8 items",
        id="too many webhooks",
    ),
]

APPROVAL: Json = {
    "model": "churn",
    "version": 3,
    "digest": DIGEST,
    "stage": "production",
    "group": "risk-team",
    "user": "alice",
}


def approval(change: Json, refusal: str = "", *, id: str) -> Any:  # noqa: A002
    return case("Approval", merged(APPROVAL, change), refusal, id=id)


APPROVALS = [
    approval({"comment": "Looked at the drift report."}, id="complete"),
    approval({"model": "Churn Model (EU)"}, id="any MLflow name"),
    *(approval({field: None}, f"spec.{field}: Required value", id=f"no {field}") for field in APPROVAL),
    *(
        approval({field: ""}, f"spec.{field} in body should be at least 1 chars long", id=f"an empty {field}")
        for field in ("model", "group", "user")
    ),
    approval({"model": "m" * 257}, "Too long: may not be more than 256", id="a model's name too long"),
    approval({"group": "g" * 254}, "Too long: may not be more than 253", id="a group too long"),
    approval({"user": "u" * 254}, "Too long: may not be more than 253", id="a user too long"),
    approval({"comment": "c" * 1025}, "Too long: may not be more than 1024", id="a comment too long"),
    approval({"version": 0}, "greater than or equal to 1", id="version 0"),
    approval({"digest": "ab" * 32}, "spec.digest in body should match", id="no digest"),
    approval({"digest": DIGEST + "0"}, "spec.digest", id="a digest too long"),
    approval({"stage": "Production"}, 'Unsupported value: "Production"', id="a stage in MLflow's capitals"),
    approval({"verdict": "no"}, 'unknown field "spec.verdict"', id="a field that does not exist"),
]

EVERY = [*STAGES_AND_ALIASES, *GATES, *VERSIONS, *TAGS, *RETENTION, *WEBHOOKS, *APPROVALS]


@pytest.mark.parametrize(("kind", "spec", "refusal", "name"), EVERY)
def test_rule(server: Server, kind: str, spec: Json, refusal: str, name: str) -> None:
    check(server.verdict({"kind": kind, "metadata": {"name": name}, "spec": spec}), refusal)


@pytest.mark.parametrize(
    ("spec", "refusal"),
    [
        pytest.param({"stages": {"production": 1}}, "", id="a promotion"),
        pytest.param({"stages": {"prod": 1}}, "unknown stage", id="a promotion to an unknown stage"),
        pytest.param({"name": "Churn"}, "", id="the same MLflow name"),
        pytest.param({"name": "Other"}, "spec.name: Invalid value", id="another MLflow name"),
        pytest.param({"name": None}, "spec.name cannot be changed", id="no MLflow name any more"),
        pytest.param({"versions": [{"version": 1, "source": "s3://models/1", "tags": {"a": "b"}}]}, "", id="a tag"),
        pytest.param(
            {"versions": [{"version": 1, "source": "s3://models/other"}]},
            "the source of a version cannot be changed: declare another version",
            id="another source of a version",
        ),
        pytest.param({"versions": [{"version": 2, "source": "s3://models/other"}]}, "", id="another version"),
        pytest.param({"versions": None}, "", id="no declared version any more"),
    ],
)
def test_a_change_of_a_model(server: Server, spec: Json, refusal: str) -> None:
    before = {"name": "Churn", "versions": [{"version": 1, "source": "s3://models/1"}]}
    server.create({"kind": "RegisteredModel", "metadata": {"name": "changed"}, "spec": before})
    check(server.change("registeredmodel", "changed", {"spec": spec}), refusal)


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("unnamed", ""), ("Churn", "spec.name cannot be changed: create another RegisteredModel")],
)
def test_naming_a_model_that_has_no_name_of_its_own(server: Server, name: str, refusal: str) -> None:
    server.create({"kind": "RegisteredModel", "metadata": {"name": "unnamed"}, "spec": {}})
    check(server.change("registeredmodel", "unnamed", {"spec": {"name": name}}), refusal)


@pytest.mark.parametrize(
    "change",
    [{"version": 4}, {"digest": "sha256:" + "0" * 64}, {"stage": "staging"}, {"user": "bob"}, {"comment": "Sure."}],
    ids=lambda change: next(iter(change)),
)
def test_an_approval_stays_as_it_was_given(server: Server, change: Json) -> None:
    server.create({"kind": "Approval", "metadata": {"name": "given"}, "spec": APPROVAL})
    refusal = server.change("approval", "given", {"spec": change})
    check(refusal, "an Approval cannot be changed: delete it and create another one")
