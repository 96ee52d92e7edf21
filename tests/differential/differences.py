"""Where Modelyard's registry differs from MLflow's own on purpose. docs/mlflow.md says the same in the same words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One difference: what it is called, what differs, and why."""

    name: str
    what: str
    why: str

    @property
    def row(self) -> str:
        """The row of the document's table."""
        return f"| {self.name} | {self.what} | {self.why} |"


ONE_VERSION_A_STAGE = Difference(
    "one version a stage",
    "A transition without `archive_existing_versions` puts the version that was in the stage back to None. MLflow "
    "leaves both in it.",
    "`spec.stages.production` is one number: what is served is never a question.",
)
SIZES = Difference(
    "what an object holds",
    "A model's name takes 256 characters, its description 8,192, a tag of it 5,000 (`None` is kept as an empty text), "
    "an alias 63 ASCII letters, digits, hyphens and underscores, a run id 64; a model takes 64 tags and 32 aliases. "
    "More is refused with INVALID_PARAMETER_VALUE. MLflow leaves some of this to its database, and takes tags of "
    "100,000 characters, as Modelyard does for versions and prompts' texts.",
    "They are fields of a Kubernetes object, which is kept small.",
)
SOURCES = Difference(
    "sources exist",
    "A version is registered from files that are in S3 (`s3://`, `mlflow-artifacts:/`, `runs:/`, `models:/`). Any "
    "other source is refused with INVALID_PARAMETER_VALUE, a run that is missing with RESOURCE_DOES_NOT_EXIST. "
    "MLflow keeps the text, and looks when somebody loads it. Versions of prompts have no files in either.",
    "The bytes are hashed at registration, and checked before every promotion and load.",
)
NUMBERS = Difference(
    "numbers are used once",
    "A model that is deleted and created again, or renamed to a name that was used before, goes on counting. MLflow "
    "begins at 1 again.",
    "A number means the same bytes for ever, in the audit and in what was deployed from it.",
)
NOTHING_CHANGED = Difference(
    "an edit that changes nothing",
    "Setting the description or the stage that is there already, or renaming to the same name, leaves "
    "`last_updated_timestamp` as it is. MLflow moves it.",
    "Nothing is written where nothing is to do, and the audit has no entry in which nothing happened.",
)
DOWNLOADS = Difference(
    "where to download from",
    "`get_model_version_download_uri` says `mlflow-artifacts:/…` of all that the tracking server serves, whatever the "
    "source was, and of a prompt's version, which has no files, the source. MLflow gives the source, or the source's "
    "source.",
    "No client needs credentials for the bucket.",
)
MORE_IS_KEPT = Difference(
    "more is kept of a version",
    "`user_id` is the field manager that registered it, `model_id` the logged model. MLflow's database leaves both "
    "out.",
    "Both are known, and the audit needs them.",
)
CREATION = Difference(
    "when a model was created",
    "`creation_timestamp` of a model is to the second, MLflow's to the millisecond. Those of versions, and "
    "`last_updated_timestamp`, are to the millisecond in both.",
    "It is the object's own, and says the same to kubectl.",
)
CODES = Difference(
    "bad input is not the server's fault",
    "What MLflow answers with INTERNAL_ERROR although the request was at fault (an order that names a field twice, "
    "`archive_existing_versions` for a stage that is not active, a `models:/` source that names nothing, a value of a "
    "wrong type or beyond the database's integers) is INVALID_PARAMETER_VALUE or RESOURCE_DOES_NOT_EXIST.",
    "MLflow's client repeats a request for minutes where the answer is INTERNAL_ERROR.",
)
DATABASES = Difference(
    "what MLflow leaves to its database",
    "`ILIKE` ignores case in all letters, and a search for models with a negative `max_results` finds none.",
    "MLflow's answer depends on the database that it runs on.",
)
WEBHOOKS = Difference(
    "MLflow's webhooks",
    "They are not kept: there are none to list, and creating one is refused with NOT_IMPLEMENTED.",
    "They do not cover stages. `spec.webhooks` sends every transition, signed, and is edited like the rest of the "
    "object.",
)

DIFFERENCES = (
    ONE_VERSION_A_STAGE,
    SIZES,
    SOURCES,
    NUMBERS,
    NOTHING_CHANGED,
    DOWNLOADS,
    MORE_IS_KEPT,
    CREATION,
    CODES,
    DATABASES,
    WEBHOOKS,
)

NOT_COUNTED = (MORE_IS_KEPT, CREATION, DATABASES, WEBHOOKS)
"""Those that the comparison leaves out or the generator does not make."""
