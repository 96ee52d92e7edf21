"""The rules of Experiment on a real API server: what it accepts, what it refuses in which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.rules import Json, check, merged
from tests.api.rules import case as case_of

BASE: Json = {
    "project": {"configMap": {"name": "churn"}},
    "entryPoint": "train",
    "objective": {"metric": "f1_score"},
}
GIT = {"project": {"configMap": None, "git": {"url": "https://git.example/churn.git"}}}
RANGE = {"min": "0.1", "max": "0.9"}
ONE_SOURCE = "exactly one of spec.project.git, configMap, s3, image and run must be set"
NO_RANGE_FIELDS = "min, max, step, scale and type belong to a range, not to values"
NO_WHOLE = "min, max and step of type Int are whole numbers"
NOT_YOURS = "spec.template.labels: modelyard.dev/, app.kubernetes.io/ and batch.kubernetes.io/ are not yours"
OPERATORS = "spec.template.env: MODELYARD_…, MLFLOW_RUN_ID, MLFLOW_EXPERIMENT_ID, MLFLOW_TRACKING_URI and"
TAKEN = "spec.template.volumeMounts: /, /tmp, /workspace and /environment are taken"


def case(id: str, change: Json, refusal: str = "", *, name: str = "x") -> Any:  # noqa: A002
    return case_of("Experiment", change, refusal, name=name, id=id)


def source(**sources: Json) -> Json:
    return {"project": {"configMap": None, **sources}}


def git(**fields: Any) -> Json:
    return merged(GIT, {"project": {"git": fields}})


def sweep(parameter: Json | None = None, /, **fields: Any) -> Json:
    """Return a random sweep over a parameter `x`."""
    defaults = {"algorithm": "Random", "maxTrials": 10, "parameters": {"x": parameter or RANGE}}
    return {"sweep": {key: value for key, value in {**defaults, **fields}.items() if value is not None}}


def mount(path: str, volume: str = "data") -> Json:
    volumes = [{"name": "data", "emptyDir": {}}]
    return {"template": {"volumes": volumes, "volumeMounts": [{"name": volume, "mountPath": path}]}}


PROJECT = [
    case("a ConfigMap project", {}),
    case("a ConfigMap without a name", {"project": {"configMap": {"name": ""}}}, "should be at least 1 chars long"),
    case("a git project", GIT),
    case("an S3 project", source(s3={"uri": "s3://models/churn.tar.gz"})),
    case("an image's project", source(image={"path": "/opt/churn"})),
    case("a run's project", source(run={"id": "0123456789abcdef0123456789abcdef"})),
    case("two sources", {"project": {"git": {"url": "https://git.example/x.git"}}}, ONE_SOURCE),
    case("no source", {"project": {"configMap": None}}, ONE_SOURCE),
    case("git over ssh", git(url="ssh://git@git.example:2222/ml/churn.git")),
    case("git over ssh without a user", git(url="ssh://git.example/ml/churn.git")),
    case("git over ssh as scp writes it", git(url="git@git.example:ml/churn.git")),
    case("git's own protocol", git(url="git://git.example/churn.git")),
    case(
        "a password in the URL",
        git(url="https://me:secret@git.example/x.git"),
        "spec.project.git.url in body should match",
    ),
    case(
        "a password in an ssh URL",
        git(url="ssh://me:secret@git.example/x.git"),
        "spec.project.git.url in body should match",
    ),
    case("a protocol that is not spoken", git(url="file:///srv/x.git"), "spec.project.git.url in body should match"),
    case("a revision", git(revision="v1.2.0")),
    case("an empty revision", git(revision=""), "spec.project.git.revision in body should be at least 1 chars long"),
    case("a subdirectory", git(path="models/churn..old")),
    case("a directory outside of the repository", git(path="models/../../x"), "git.path must stay inside the"),
    case("an absolute directory", git(path="/etc"), "spec.project.git.path must stay inside the repository"),
    case("a Secret", git(secretRef={"name": "git-token"})),
    case("a Secret's name that is none", git(secretRef={"name": "Git_Token"}), "secretRef.name in body should match"),
    case("an S3 bucket", source(s3={"uri": "s3://models"})),
    case("no S3 URI", source(s3={"uri": "https://models/x"}), "spec.project.s3.uri in body should match"),
    case("no bucket's name", source(s3={"uri": "s3://Models/x"}), "spec.project.s3.uri in body should match"),
    case("an S3 endpoint", source(s3={"uri": "s3://models/x", "endpoint": "http://minio.data.svc:9000"})),
    case(
        "a password in an endpoint",
        source(s3={"uri": "s3://models/x", "endpoint": "http://me:secret@minio"}),
        "spec.project.s3.endpoint in body should match",
    ),
    case("a relative image path", source(image={"path": "churn"}), "spec.project.image.path in body should match"),
    case("the whole image", source(image={"path": "/"}), "spec.project.image.path in body should be at least 2"),
    case("a run that is none", source(run={"id": "latest"}), "spec.project.run.id in body should match"),
]

PARAMETERS = [
    case("a parameter", {"parameters": {"depth": "3"}}),
    case("a parameter that is no string", {"parameters": {"depth": 3}}, "must be of type string"),
    case("a sweep beside a parameter", merged(sweep(), {"parameters": {"depth": "3"}})),
    case(
        "a parameter twice",
        merged(sweep(), {"parameters": {"x": "3"}}),
        "a parameter is either in spec.parameters or in spec.sweep.parameters, not in both",
    ),
    case("nothing to run", {"project": None}),
    *(
        case(
            f"{field} of nothing",
            {**change, "project": None},
            "without spec.project nothing is run: sweep, schedule, template and parameters need it",
        )
        for field, change in {
            "a sweep": sweep(),
            "a schedule": {"schedule": "@daily"},
            "a template": {"template": {}},
            "parameters": {"parameters": {"depth": "3"}},
        }.items()
    ),
    case("the image's libraries", {"environment": "Image"}),
    case("no libraries", {"environment": "None"}, 'Unsupported value: "None"'),
    case("no entry point", {"entryPoint": ""}, "spec.entryPoint in body should be at least 1 chars long"),
]

RANGES = [
    case("values", sweep({"values": ["1", "2"]})),
    case("no values", sweep({"values": []}), "should have at least 1 items"),
    case("a range", sweep(RANGE)),
    case("neither values nor a range", sweep({"min": "1"}), "a swept parameter has either values, or min and max"),
    case("values and a range", sweep({"values": ["1"], **RANGE}), "a swept parameter has either values, or min and"),
    case("a step for values", sweep({"values": ["1"], "step": "1"}), NO_RANGE_FIELDS),
    case("a scale for values", sweep({"values": ["1"], "scale": "Log"}), NO_RANGE_FIELDS),
    case("a type for values", sweep({"values": ["1"], "type": "Int"}), NO_RANGE_FIELDS),
    case("a min for values", sweep({"values": ["1"], "min": "1"}), NO_RANGE_FIELDS),
    case("numbers, not words", sweep({"min": "2", "max": "10"})),
    case("a range the wrong way round", sweep({"min": "10", "max": "2"}), "min must be below max"),
    case("a range of one number", sweep({"min": "2.0", "max": "2"}), "min must be below max"),
    case("an end that is no number", sweep({"min": "1e-5", "max": "2"}), "parameters.x.min in body should match"),
    case("a logarithmic scale", sweep({**RANGE, "scale": "Log"})),
    case("a logarithm of 0", sweep({**RANGE, "min": "0.0", "scale": "Log"}), "scale needs a min above 0"),
    case("a scale that does not exist", sweep({**RANGE, "scale": "Square"}), 'Unsupported value: "Square"'),
    case("a step", sweep({**RANGE, "step": "0.1"})),
    case("no step", sweep({**RANGE, "step": "0"}), "step must be above 0"),
    case("a step backwards", sweep({**RANGE, "step": "-0.1"}), "step must be above 0"),
    case("a logarithmic step", sweep({**RANGE, "scale": "Log", "step": "0.1"}), "has no meaning on a logarithmic"),
    case("whole numbers", sweep({"min": "-1", "max": "9", "step": "2", "type": "Int"})),
    case("a broken min of type Int", sweep({"min": "1.5", "max": "9", "type": "Int"}), NO_WHOLE),
    case("a broken max of type Int", sweep({"min": "1", "max": "9.0", "type": "Int"}), NO_WHOLE),
    case("a broken step of type Int", sweep({"min": "1", "max": "9", "step": "0.5", "type": "Int"}), NO_WHOLE),
    case("a broken number of type Float", sweep({"min": "1.5", "max": "9", "type": "Float"})),
    case("a type that does not exist", sweep({**RANGE, "type": "Double"}), 'Unsupported value: "Double"'),
    case(
        "a condition",
        sweep(parameters={"x": {**RANGE, "when": {"parameter": "y", "values": ["a"]}}, "y": {"values": ["a", "b"]}}),
    ),
    case(
        "a condition on nothing",
        sweep({**RANGE, "when": {"parameter": "y", "values": ["a"]}}),
        "when.parameter names another parameter of spec.sweep.parameters",
    ),
    case(
        "a condition on itself",
        sweep({"values": ["a", "b"], "when": {"parameter": "x", "values": ["a"]}}),
        "when.parameter names another parameter of spec.sweep.parameters",
    ),
    case(
        "a condition without values",
        sweep({**RANGE, "when": {"parameter": "y", "values": []}}),
        "when.values in body should have at least 1 items",
    ),
]

NEEDS = "Random and Bayesian need spec.sweep.maxTrials; Grid needs values or a step for each parameter"
SWEEPS = [
    case("a grid of values", {"sweep": {"parameters": {"x": {"values": ["1"]}}}}),
    case("a grid of steps", sweep({**RANGE, "step": "0.1"}, algorithm="Grid", maxTrials=None)),
    case("a grid of all numbers", sweep(algorithm="Grid"), NEEDS),
    case("a grid of all numbers by default", sweep(algorithm=None), NEEDS),
    case("Random", sweep()),
    case("Bayesian", sweep(algorithm="Bayesian")),
    case("Random without an end", sweep(maxTrials=None), NEEDS),
    case("Bayesian without an end", sweep(algorithm="Bayesian", maxTrials=None), NEEDS),
    case(
        "Bayesian without an objective",
        {**sweep(algorithm="Bayesian"), "objective": None},
        "spec.sweep.earlyStopping and algorithm Bayesian need spec.objective",
    ),
    case("Random without an objective", {**sweep(), "objective": None}),
    case("Grid without an objective", {"objective": None, "sweep": {"parameters": {"x": {"values": ["1"]}}}}),
    case("an algorithm that does not exist", sweep(algorithm="Hyperband"), 'Unsupported value: "Hyperband"'),
    case("an empty sweep", sweep(parameters={}), "should have at least 1 properties"),
    case("16 parameters", sweep(parameters={f"x{number}": RANGE for number in range(16)})),
    case(
        "17 parameters", sweep(parameters={f"x{number}": RANGE for number in range(17)}), "must have at most 16 items"
    ),
    case("all limits", sweep(maxTrials=10_000, parallelism=500, maxFailedTrials=0, maxDuration="12h30m", seed=7)),
    case("too many trials", sweep(maxTrials=10_001), "should be less than or equal to 10000"),
    case("no trials", sweep(maxTrials=0), "should be greater than or equal to 1"),
    case("no parallelism", sweep(parallelism=0), "should be greater than or equal to 1"),
    case("too much parallelism", sweep(parallelism=501), "should be less than or equal to 500"),
    case("fewer failures than none", sweep(maxFailedTrials=-1), "should be greater than or equal to 0"),
    case("a duration that is none", sweep(maxDuration="1 day"), "spec.sweep.maxDuration in body should match"),
    case("a negative seed", sweep(seed=-1), "should be greater than or equal to 0"),
    case("Median", sweep(earlyStopping={"minSteps": 10, "minTrials": 3})),
    case("ASHA", sweep(earlyStopping={"algorithm": "ASHA", "reductionFactor": 3})),
    case("stopping that does not exist", sweep(earlyStopping={"algorithm": "Mean"}), 'Unsupported value: "Mean"'),
    case("a reduction to all", sweep(earlyStopping={"reductionFactor": 1}), "should be greater than or equal to 2"),
    case("a median of none", sweep(earlyStopping={"minTrials": 0}), "should be greater than or equal to 1"),
    case("steps before the first", sweep(earlyStopping={"minSteps": -1}), "should be greater than or equal to 0"),
    case(
        "early stopping without an objective",
        {**sweep(earlyStopping={}), "objective": None},
        "spec.sweep.earlyStopping and algorithm Bayesian need spec.objective",
    ),
]

RESULTS = [
    case("a goal", {"objective": {"goal": "Minimize"}}),
    case("a goal that does not exist", {"objective": {"goal": "Best"}}, 'Unsupported value: "Best"'),
    case("a metric without a name", {"objective": {"metric": ""}}, "should be at least 1 chars long"),
    case("registration", {"register": {"model": "churn"}}),
    case(
        "registration of no best run",
        {"register": {"model": "churn"}, "objective": None},
        "spec.register needs spec.objective",
    ),
    case("bounds", {"register": {"model": "churn", "when": [{"metric": "f1", "min": "0.5", "max": "1"}]}}),
    case(
        "a bound without a number",
        {"register": {"model": "churn", "when": [{"metric": "f1"}]}},
        "a bound needs min or max",
    ),
    case(
        "a bound that is no number",
        {"register": {"model": "churn", "when": [{"metric": "f1", "min": "high"}]}},
        "spec.register.when[0].min in body should match",
    ),
    case("a float", {"register": {"model": "churn", "when": [{"metric": "f1", "min": 0.5}]}}, "must be of type string"),
    *(case(f"schedule {text}", {"schedule": text}) for text in ("0 3 * * 1", "*/5 8-18 1,15 JAN MON-FRI", "@weekly")),
    *(
        case(f"schedule {text}", {"schedule": text}, "spec.schedule in body should match")
        for text in ("daily", "@every 1h", "0 3 * *", "0 0 3 * * 1")
    ),
    case("a time zone", {"schedule": "0 3 * * 1", "timeZone": "Europe/Berlin"}),
    case("a time zone of nothing", {"timeZone": "Europe/Berlin"}, "spec.timeZone needs spec.schedule"),
    case("suspended", {"suspend": True}),
    case("retention by number", {"retention": {"maxRuns": 0, "keepBest": 3}}),
    case("retention by age", {"retention": {"maxAge": "90d"}}),
    case("retention of artifacts", {"retention": {"artifacts": {"maxAge": "4w"}}}),
    case("retention of all", {"retention": {"keepBest": 3}}, "set maxRuns, maxAge or artifacts: without them nothing"),
    case(
        "retention of all artifacts",
        {"retention": {"artifacts": {}}},
        "spec.retention.artifacts needs maxRuns or maxAge",
    ),
    case("an age in months", {"retention": {"maxAge": "3mo"}}, "spec.retention.maxAge in body should match"),
    case("no age", {"retention": {"maxAge": "0d"}}, "spec.retention.maxAge in body should match"),
    case("fewer runs than none", {"retention": {"maxRuns": -1}}, "should be greater than or equal to 0"),
]

TEMPLATE = [
    case("a quantity", {"template": {"resources": {"limits": {"memory": "1Gi"}}}}),
    case(
        "no quantity",
        {"template": {"resources": {"limits": {"memory": "1 GB"}}}},
        "spec.template.resources.limits.memory in body should match",
    ),
    case("a time limit", {"template": {"timeLimit": "1h30m"}}),
    case("no time limit", {"template": {"timeLimit": "1.5h"}}, "spec.template.timeLimit in body should match"),
    case("a queue", {"template": {"queue": "ml-team"}}),
    case("no queue", {"template": {"queue": "ML team"}}, "spec.template.queue in body should match"),
    case("a priority", {"template": {"priorityClassName": "low"}}),
    case("no priority", {"template": {"priorityClassName": "Low!"}}, "priorityClassName in body should match"),
    case("an effect", {"template": {"tolerations": [{"key": "gpu", "effect": "NoSchedule"}]}}),
    case("no effect", {"template": {"tolerations": [{"key": "gpu", "effect": "Never"}]}}, "effect in body should"),
    case("an environment variable", {"template": {"env": [{"name": "A-B.c_1", "value": "x"}]}}),
    case("no environment variable", {"template": {"env": [{"name": "1A"}]}}, "env[0].name in body should match"),
    case("a variable of MLflow's", {"template": {"env": [{"name": "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"}]}}),
    *(
        case(f"the operator's variable {name}", {"template": {"env": [{"name": name, "value": "x"}]}}, OPERATORS)
        for name in (
            "MODELYARD_PROJECT",
            "MLFLOW_RUN_ID",
            "MLFLOW_EXPERIMENT_ID",
            "MLFLOW_TRACKING_URI",
            "MLFLOW_RUN_CONTEXT",
        )
    ),
    case("a label", {"template": {"labels": {"team": "ml", "kueue.x-k8s.io/priority-class": "low"}}}),
    *(
        case(f"the label {key}", {"template": {"labels": {key: "x"}}}, NOT_YOURS)
        for key in ("modelyard.dev/run", "app.kubernetes.io/name", "batch.kubernetes.io/job-name")
    ),
    case("a volume", mount("/data")),
    case("a volume below the workspace", mount("/workspace/data")),
    *(
        case(f"a volume in place of {path}", mount(path), TAKEN)
        for path in ("/", "/tmp", "/tmp/", "/workspace", "/workspace/", "/environment", "/environment/")
    ),
    case("a relative mount", mount("data"), "mountPath in body should match"),
    case("a mount of no volume", mount("/data", "other"), "each needs a volume of that name in spec.template.volumes"),
    case(
        "the operator's volume",
        {"template": {"volumes": [{"name": "modelyard-project", "emptyDir": {}}]}},
        "spec.template.volumes: names that begin with modelyard- are the operator's",
    ),
    case(
        "a volume of two sources",
        {"template": {"volumes": [{"name": "data", "emptyDir": {}, "secret": {"secretName": "x"}}]}},
        "volumes: set exactly one of",
    ),
    case("a host's directory", {"template": {"volumes": [{"name": "data", "hostPath": {"path": "/"}}]}}, "hostPath"),
]

OBJECT = [
    case("the longest name", {}, name="x" * 52),
    case("a name too long", {}, "metadata.name takes at most 52 characters", name="x" * 53),
    case("a field that does not exist", {"schedul": "daily"}, 'unknown field "spec.schedul"'),
]

CASES = [*PROJECT, *PARAMETERS, *RANGES, *SWEEPS, *RESULTS, *TEMPLATE, *OBJECT]


@pytest.mark.parametrize(("kind", "change", "refusal", "name"), CASES)
def test_rule(server: Server, kind: str, change: Json, refusal: str, name: str) -> None:
    check(server.verdict({"kind": kind, "metadata": {"name": name}, "spec": merged(BASE, change)}), refusal)


def test_rules_can_be_checked_of_the_largest_sweep(server: Server) -> None:
    """The API server bounds what the rules of one object may cost: the largest object that they allow is within."""
    value = "v" * 1024
    parameters: Json = {f"p{number:02}{'n' * 252}": {"values": [value] * 100} for number in range(15)}
    parameters["last"] = {**RANGE, "when": {"parameter": f"p00{'n' * 252}", "values": [value] * 2}}
    change = {
        "sweep": {"algorithm": "Random", "maxTrials": 10, "parameters": parameters},
        "parameters": {f"given{number}": "x" * 1024 for number in range(64)},
        "template": {
            "env": [{"name": f"E{number}{'e' * 120}", "value": "x"} for number in range(64)],
            "volumes": [{"name": f"v{number}", "emptyDir": {}} for number in range(16)],
            "volumeMounts": [{"name": "v15", "mountPath": f"/data/{number}/{'d' * 4000}"} for number in range(16)],
        },
    }
    verdict = server.verdict({"kind": "Experiment", "metadata": {"name": "x"}, "spec": merged(BASE, change)})
    assert verdict == ""
