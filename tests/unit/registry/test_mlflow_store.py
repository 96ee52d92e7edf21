"""The store plugin against an API server and a bucket in memory; the operator reconciles whenever the store waits."""

# MLflow's methods are partly untyped, and its versions are numbers in its stores, strings in its clients.
# mypy: allow-untyped-calls
# mypy: disable-error-code="comparison-overlap"

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.abstract_store import AbstractStore

from modelyard.api.names import REPLACED_BECOMES_ANNOTATION
from modelyard.cluster.client import ApiError
from modelyard.registry.mlflow_store import ModelyardStore
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.sources import Origin
from modelyard.settings import RegistrySettings
from tests.fakes.artifacts import SETTINGS
from tests.unit.registry.world import NAMESPACE, World


@pytest.fixture
def store(world: World, monkeypatch: pytest.MonkeyPatch) -> ModelyardStore:
    settings = RegistrySettings(**asdict(SETTINGS), transition_timeout=60)
    made = ModelyardStore("modelyard://ml", None, settings=settings, registry=world.registry, clock=world.clock)
    monkeypatch.setattr("modelyard.registry.transitions.time.sleep", lambda _: world.reconcile())
    monkeypatch.setattr(made._lookup, "logged_model", lambda _: Origin("mlflow-artifacts:/two", "run-2", "m-2"))
    return made


@pytest.fixture
def churn(store: ModelyardStore, world: World) -> ModelyardStore:
    """A model with versions 1 and 2."""
    world.bucket.put_model("one")
    world.bucket.put_model("two", b"other weights")
    store.create_registered_model("churn")
    store.create_model_version("churn", "mlflow-artifacts:/one", run_id="run-1")
    store.create_model_version("churn", "models:/m-2", model_id="m-2")
    return store


def code(raised: pytest.ExceptionInfo[MlflowException]) -> str:
    return str(raised.value.error_code)


def stages(store: ModelyardStore) -> dict[int, str]:
    return {int(v.version): v.current_stage for v in store.search_model_versions("name='churn'", 100)}


def test_every_method_of_mlflows_store_is_there() -> None:
    abstract = {name for name, _ in inspect.getmembers(AbstractStore, inspect.isfunction) if not name.startswith("_")}
    ours = {name for name in abstract if getattr(ModelyardStore, name) is not getattr(AbstractStore, name)}
    inherited = abstract - ours
    # MLflow builds prompts and copies on the methods above.
    assert all("prompt" in name or name == "copy_model_version" for name in inherited)


def test_the_parameters_are_mlflows() -> None:
    for name, method in inspect.getmembers(AbstractStore, inspect.isfunction):
        ours = getattr(ModelyardStore, name)
        if ours is not method and not name.startswith("__") and "webhook" not in name:
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(method).parameters), name


@pytest.mark.parametrize("uri", [None, "modelyard://", "modelyard://ml/more", "sqlite:///x.db"])
def test_the_uri_names_a_namespace(uri: str | None) -> None:
    with pytest.raises(MlflowException, match="must be modelyard://<namespace>"):
        ModelyardStore(uri)


def test_a_model_is_created_with_description_and_tags(store: ModelyardStore, world: World) -> None:
    store.create_registered_model("churn", [RegisteredModelTag("team", "risk")], "Who leaves")
    model = store.get_registered_model("churn")
    assert (model.name, model.description, model.tags) == ("churn", "Who leaves", {"team": "risk"})
    assert model.creation_timestamp == int(world.clock().timestamp() * 1000)
    with pytest.raises(MlflowException, match="already exists") as raised:
        store.create_registered_model("churn")
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"


def test_a_model_that_is_missing(store: ModelyardStore) -> None:
    with pytest.raises(MlflowException, match="no registered model 'nope'") as raised:
        store.get_registered_model("nope")
    assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_description_and_tags_of_a_model_change(churn: ModelyardStore, world: World) -> None:
    churn.update_registered_model("churn", "text")
    churn.set_registered_model_tag("churn", RegisteredModelTag("a", "1"))
    churn.set_registered_model_tag("churn", RegisteredModelTag("b", "2"))
    churn.delete_registered_model_tag("churn", "a")
    churn.delete_registered_model_tag("churn", "never")
    model = churn.get_registered_model("churn")
    assert (model.description, model.tags) == ("text", {"b": "2"})
    assert world.model().spec.tags == {"b": "2"}


def test_an_edit_that_changes_nothing_writes_nothing(churn: ModelyardStore, world: World) -> None:
    churn.set_registered_model_tag("churn", RegisteredModelTag("a", "1"))
    world.client.requests.clear()
    churn.set_registered_model_tag("churn", RegisteredModelTag("a", "1"))
    churn.delete_registered_model_alias("churn", "none")
    assert world.client.writes == []


def test_versions_are_registered_with_what_mlflow_shows(churn: ModelyardStore) -> None:
    one, two = churn.get_model_version("churn", "1"), churn.get_model_version("churn", "2")
    assert (one.version, one.run_id, one.source, one.status, one.current_stage) == (
        1,
        "run-1",
        "mlflow-artifacts:/one",
        "READY",
        "None",
    )
    assert (two.run_id, two.model_id, two.source) == ("run-2", "m-2", "models:/m-2")
    assert one.to_proto().version == "1"


def test_a_version_may_have_tags_and_a_description(churn: ModelyardStore) -> None:
    tags = [ModelVersionTag("a", "1")]
    made = churn.create_model_version(
        "churn", "mlflow-artifacts:/one", tags=tags, description="text", run_link="http://x"
    )
    assert (made.tags, made.description, made.run_link) == ({"a": "1"}, "text", "http://x")
    churn.set_model_version_tag("churn", "3", ModelVersionTag("b", "2"))
    churn.delete_model_version_tag("churn", "3", "a")
    assert churn.update_model_version("churn", "3", "more").description == "more"
    assert churn.get_model_version("churn", "3").tags == {"b": "2"}


def test_a_copy_has_the_same_files(churn: ModelyardStore) -> None:
    copy = churn.copy_model_version(churn.get_model_version("churn", 1), "Other Model")
    assert (copy.name, copy.version, copy.run_id, copy.source) == ("Other Model", 1, "run-1", "models:/churn/1")
    assert churn.get_model_version_download_uri("Other Model", "1") == "mlflow-artifacts:/one"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("file:///tmp/model", "cannot be registered from 'file:///tmp/model'"),
        ("mlflow-artifacts:/nothing", "there is no file below s3://models/team/artifacts/nothing"),
    ],
)
def test_a_source_that_cannot_be_taken(churn: ModelyardStore, source: str, message: str) -> None:
    with pytest.raises(MlflowException, match=message) as raised:
        churn.create_model_version("churn", source)
    assert code(raised) == "INVALID_PARAMETER_VALUE"
    assert churn.create_model_version("churn", "mlflow-artifacts:/one").version == 3


def test_a_prompts_version_has_a_text_and_no_files(store: ModelyardStore, world: World) -> None:
    text = "Hello {{name}}" + " and more" * 1000
    store.create_prompt("greeting", "Says hello")
    made = store.create_prompt_version("greeting", text, tags={"tone": "kind"})
    assert (made.version, made.template) == (1, text)
    assert [prompt.name for prompt in store.search_prompts()] == ["greeting"]
    assert [version.version for version in store.search_prompt_versions("greeting")] == [1]
    store.set_prompt_alias("greeting", "best", 1)
    found = store.get_prompt_version_by_alias("greeting", "best")
    assert found is not None
    assert found.template == text
    # Searches for models and their versions leave prompts out.
    assert list(store.search_registered_models()) == []
    assert list(store.search_model_versions("name = 'greeting'")) == []
    (version,) = world.status("greeting").versions
    assert (version.artifact, version.source) == ("", "prompt-template")


def test_webhooks_are_refused_with_what_to_do(churn: ModelyardStore) -> None:
    with pytest.raises(MlflowException, match=r"spec\.webhooks") as raised:
        churn.create_webhook("n", "u", [])
    assert code(raised) == "NOT_IMPLEMENTED"


def test_a_deleted_version_leaves_its_stage_and_aliases(churn: ModelyardStore, world: World) -> None:
    churn.transition_model_version_stage("churn", 1, "Production", False)
    churn.set_registered_model_alias("churn", "champion", 1)
    churn.delete_model_version("churn", "1")
    world.reconcile()
    assert (world.model().spec.stages, world.model().spec.aliases, world.stages()) == ({}, {}, {})
    assert world.ready()[:2] == ("True", "AsWanted")
    assert stages(churn) == {2: "None"}
    with pytest.raises(MlflowException, match=r"\(name=churn, version=1\) not found") as raised:
        churn.get_model_version("churn", 1)
    assert code(raised) == "RESOURCE_DOES_NOT_EXIST"
    churn.delete_model_version("churn", "2")
    assert churn.create_model_version("churn", "mlflow-artifacts:/one").version == 3
    assert churn.get_model_version_by_alias("churn", "latest").version == 3


def test_a_deleted_model_is_gone_and_its_numbers_stay_taken(churn: ModelyardStore) -> None:
    churn.delete_registered_model("churn")
    assert list(churn.search_registered_models()) == []
    assert list(churn.search_model_versions("name = 'churn'")) == []
    churn.create_registered_model("churn")
    assert churn.get_latest_versions("churn") == []
    assert churn.create_model_version("churn", "mlflow-artifacts:/one").version == 3


def test_a_renamed_model_keeps_everything(churn: ModelyardStore, world: World) -> None:
    churn.update_registered_model("churn", "Who leaves")
    churn.set_registered_model_tag("churn", RegisteredModelTag("team", "risk"))
    churn.set_registered_model_alias("churn", "champion", 1)
    churn.transition_model_version_stage("churn", 2, "Production", False)
    created = churn.get_registered_model("churn").creation_timestamp
    world.clock.forward(60)
    renamed = churn.rename_registered_model("churn", "Who Leaves?")
    assert (renamed.name, renamed.description, renamed.tags) == ("Who Leaves?", "Who leaves", {"team": "risk"})
    assert (renamed.aliases, renamed.creation_timestamp) == ({"champion": 1}, created)
    found = churn.search_model_versions("name = 'Who Leaves?'", order_by=["version_number"])
    assert [(v.version, v.current_stage) for v in found] == [(1, "None"), (2, "Production")]
    with pytest.raises(MlflowException, match="no registered model 'churn'"):
        churn.get_registered_model("churn")
    churn.create_registered_model("other")
    with pytest.raises(MlflowException, match="already exists") as raised:
        churn.rename_registered_model("Who Leaves?", "other")
    assert code(raised) == "RESOURCE_ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.rename_registered_model("churn", "x"), "churn is managed by argocd-controller: rename it there"),
        (lambda s: s.delete_registered_model("churn"), "churn is managed by argocd-controller: delete it there"),
        (lambda s: s.delete_model_version("churn", 1), "stages.production of churn is managed by argocd-controller"),
        (lambda s: s.delete_model_version("churn", 2), "version 2 of churn is declared in spec.versions"),
    ],
)
def test_what_git_asks_for_is_not_deleted(churn: ModelyardStore, world: World, call: Any, message: str) -> None:
    declared = {"version": 2, "source": "s3://models/two"}
    world.edit({"stages": {"production": 1}, "versions": [declared]}, "argocd-controller")
    with pytest.raises(MlflowException, match=message) as raised:
        call(churn)
    assert code(raised) == "PERMISSION_DENIED"
    assert stages(churn).keys() == {1, 2}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.create_registered_model("n" * 257), "a model's name takes at most 256 characters, not 257"),
        (lambda s: s.update_registered_model("churn", "d" * 8193), "a model's description takes at most 8192"),
        (lambda s: s.set_registered_model_tag("churn", RegisteredModelTag("a", "v" * 5001)), "the tag 'a' of a model"),
        (lambda s: s.set_registered_model_alias("churn", "a" * 64, 1), "an alias is 1 to 63 ASCII letters"),
        (
            lambda s: s.create_model_version("churn", "mlflow-artifacts:/one", "r" * 65),
            "a version's run_id takes at most",
        ),
    ],
)
def test_what_an_object_cannot_hold_is_refused_before_anything_is_written(
    churn: ModelyardStore, world: World, call: Any, message: str
) -> None:
    world.client.requests.clear()
    with pytest.raises(MlflowException, match=message) as raised:
        call(churn)
    assert code(raised) == "INVALID_PARAMETER_VALUE"
    assert world.client.writes == []


def test_there_are_no_webhooks(store: ModelyardStore) -> None:
    assert list(store.list_webhooks()) == []
    assert list(store.list_webhooks_by_event(None)) == []


def test_a_transition_waits_for_the_operator(churn: ModelyardStore, world: World) -> None:
    moved = churn.transition_model_version_stage("churn", "2", "Staging", False)
    assert moved.current_stage == "Staging"
    assert world.model().spec.stages == {"staging": 2}
    assert world.status().stages["staging"].by == "mlflow"
    assert churn.transition_model_version_stage("churn", "2", "production", True).current_stage == "Production"
    assert world.model().spec.stages == {"production": 2}
    assert [(t.from_, t.to) for t in world.status().transitions] == [("Staging", "Production"), ("None", "Staging")]


@pytest.mark.parametrize(("archive", "becomes"), [(True, "Archived"), (False, "None")])
def test_the_replaced_version_is_archived_or_not(churn: ModelyardStore, archive: bool, becomes: str) -> None:
    churn.transition_model_version_stage("churn", "1", "Production", archive)
    churn.transition_model_version_stage("churn", "2", "Production", archive)
    assert stages(churn) == {1: becomes, 2: "Production"}


@pytest.mark.parametrize("stage", ["Archived", "None"])
def test_a_version_leaves_its_stage(churn: ModelyardStore, world: World, stage: str) -> None:
    churn.transition_model_version_stage("churn", "1", "Production", False)
    assert churn.transition_model_version_stage("churn", "1", stage, False).current_stage == stage
    assert world.model().spec.stages == {}
    assert world.status().transitions[0].by == "mlflow"


def test_a_version_in_no_stage_is_archived_without_the_spec(churn: ModelyardStore, world: World) -> None:
    assert churn.transition_model_version_stage("churn", "1", "Archived", False).current_stage == "Archived"
    assert world.model().metadata.generation == 1


def test_asking_again_for_what_is_so_changes_nothing(churn: ModelyardStore, world: World) -> None:
    churn.transition_model_version_stage("churn", "1", "Production", True)
    world.client.requests.clear()
    churn.transition_model_version_stage("churn", "1", "Production", True)
    assert world.client.writes == []


def test_what_an_earlier_transition_said_of_another_version_is_forgotten(churn: ModelyardStore, world: World) -> None:
    churn.transition_model_version_stage("churn", "1", "Production", True)
    churn.transition_model_version_stage("churn", "2", "Production", False)
    assert world.model().metadata.annotations == {REPLACED_BECOMES_ANNOTATION: "production=1:None"}
    churn.transition_model_version_stage("churn", "1", "Production", True)
    assert world.model().metadata.annotations == {}
    assert stages(churn) == {1: "Production", 2: "Archived"}


def test_a_field_that_git_owns_is_left_to_git(churn: ModelyardStore, world: World) -> None:
    world.edit({"stages": {"production": 1}}, "argocd-controller")
    world.reconcile()
    for version, stage in (("2", "Production"), ("1", "Archived")):
        with pytest.raises(MlflowException) as raised:
            churn.transition_model_version_stage("churn", version, stage, False)
        assert raised.value.message == "production of churn is managed by argocd-controller: change it there"
        assert code(raised) == "PERMISSION_DENIED"
    assert churn.transition_model_version_stage("churn", "2", "Staging", False).current_stage == "Staging"


def test_a_version_that_git_keeps_in_staging_may_go_to_production(churn: ModelyardStore, world: World) -> None:
    world.edit({"stages": {"staging": 1}}, "argocd-controller")
    world.reconcile()
    assert churn.transition_model_version_stage("churn", "1", "Production", False).current_stage == "Production"
    assert world.model().spec.stages == {"staging": 1, "production": 1}
    (staging,) = churn.get_latest_versions("churn", ["Staging"])
    assert staging.version == 1


def test_an_earlier_kubectl_edit_locks_nothing(churn: ModelyardStore, world: World) -> None:
    world.edit({"stages": {"production": 1}}, "kubectl-edit")
    assert churn.transition_model_version_stage("churn", "2", "Production", False).current_stage == "Production"


def test_other_fields_of_git_are_left_to_git_too(churn: ModelyardStore, world: World) -> None:
    world.edit({"description": "from Git", "aliases": {"champion": 1}}, "argocd-controller")
    with pytest.raises(MlflowException, match="description of churn is managed by argocd-controller"):
        churn.update_registered_model("churn", "mine")
    with pytest.raises(MlflowException, match="champion of churn is managed by"):
        churn.set_registered_model_alias("churn", "champion", "2")
    churn.set_registered_model_alias("churn", "challenger", "2")


def test_a_broken_version_is_refused_with_the_operators_words(churn: ModelyardStore, world: World) -> None:
    world.bucket.delete("s3://models/team/artifacts/one/model.pkl")
    with pytest.raises(
        MlflowException, match=r"version 1 of churn is not in Production: .*model.pkl is missing"
    ) as raised:
        churn.transition_model_version_stage("churn", "1", "Production", False)
    assert code(raised) == "RESOURCE_CONFLICT"


def test_a_version_that_nothing_can_replace_yet_is_not_archived(churn: ModelyardStore, world: World) -> None:
    churn.transition_model_version_stage("churn", "1", "Production", False)
    world.edit({"stages": {"production": 9}})
    with pytest.raises(MlflowException, match="version 1 of churn stays in Production until version 9") as raised:
        churn.transition_model_version_stage("churn", "1", "Archived", False)
    assert code(raised) == "RESOURCE_CONFLICT"


def test_a_version_whose_object_does_not_show_it_is_not_asked_for_again(
    churn: ModelyardStore, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise ApiError(500, "InternalError", "etcd is full")

    monkeypatch.setattr(world.client, "replace_status", full)
    with pytest.raises(MlflowException, match="version 3 of 'churn' is registered, but its object") as raised:
        churn.create_model_version("churn", "mlflow-artifacts:/one")
    # MLflow's client sends a request again where the server answers 5xx, and would register a fourth.
    assert raised.value.get_http_status_code() == 409


def test_without_a_verdict_the_wish_is_recorded(churn: ModelyardStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(churn._transitions, "_timeout", 0)
    with pytest.raises(MlflowException, match="kubectl get registeredmodel churn -n ml --watch") as raised:
        churn.transition_model_version_stage("churn", "1", "Production", False)
    assert code(raised) == "RESOURCE_CONFLICT"


def test_a_version_that_is_missing(churn: ModelyardStore) -> None:
    for call in (
        lambda: churn.get_model_version("churn", "9"),
        lambda: churn.transition_model_version_stage("churn", "9", "Production", False),
        lambda: churn.set_registered_model_alias("churn", "champion", "9"),
    ):
        with pytest.raises(MlflowException, match="not found") as raised:
            call()
        assert code(raised) == "RESOURCE_DOES_NOT_EXIST"


def test_archiving_existing_versions_needs_an_active_stage(churn: ModelyardStore) -> None:
    with pytest.raises(MlflowException, match="is not an Active stage"):
        churn.transition_model_version_stage("churn", "1", "Archived", True)


def test_aliases(churn: ModelyardStore, world: World) -> None:
    churn.set_registered_model_alias("churn", "champion", "1")
    assert world.model().spec.aliases == {"champion": 1}
    assert churn.get_model_version_by_alias("churn", "champion").version == 1
    assert churn.get_model_version("churn", "1").aliases == ["champion"]
    assert churn.get_registered_model("churn").aliases == {"champion": 1}
    assert churn.get_model_version_by_alias("churn", "latest").version == 2
    churn.delete_registered_model_alias("churn", "champion")
    with pytest.raises(MlflowException, match="alias champion not found"):
        churn.get_model_version_by_alias("churn", "champion")


def test_the_latest_version_of_each_stage(churn: ModelyardStore) -> None:
    assert [v.version for v in churn.get_latest_versions("churn")] == [2]
    churn.transition_model_version_stage("churn", "1", "Production", False)
    assert [v.version for v in churn.get_latest_versions("churn", ["Production"])] == [1]
    assert sorted(v.version for v in churn.get_latest_versions("churn")) == [1, 2]
    assert churn.get_latest_versions("churn", ["staging"]) == []


def test_a_search_for_models_is_one_list(churn: ModelyardStore, world: World) -> None:
    for number in range(3):
        churn.create_registered_model(f"model-{number}")
    world.client.requests.clear()
    first = churn.search_registered_models(None, 2)
    assert [model.name for model in first] == ["churn", "model-0"]
    assert world.client.requests == [("GET", REGISTERED_MODELS.path(NAMESPACE))]
    assert [model.name for model in churn.search_registered_models(None, 2, None, first.token)] == [
        "model-1",
        "model-2",
    ]
    assert [model.name for model in churn.search_registered_models("name LIKE 'model%'", 9, ["name DESC"])] == [
        "model-2",
        "model-1",
        "model-0",
    ]


def test_a_search_for_versions(churn: ModelyardStore, world: World) -> None:
    world.client.requests.clear()
    assert [v.version for v in churn.search_model_versions("name='churn'", 10)] == [2, 1]
    assert world.client.requests == [("GET", REGISTERED_MODELS.path(NAMESPACE, "churn"))]
    assert [v.version for v in churn.search_model_versions("run_id='run-1'", 10)] == [1]
    assert [v.version for v in churn.search_model_versions(None, 10, ["version_number ASC"])] == [1, 2]
    assert list(churn.search_model_versions("name='nope'", 10)) == []
    world.clock.forward(1)
    churn.set_model_version_tag("churn", "1", ModelVersionTag("good", "yes"))
    assert [v.version for v in churn.search_model_versions("tags.good = 'yes'", 10)] == [1]
    # As in MLflow, a tag is no update of the version, and a description is.
    assert [v.version for v in churn.search_model_versions("name='churn'", 10)] == [2, 1]
    churn.update_model_version("churn", "1", "text")
    assert [v.version for v in churn.search_model_versions("name='churn'", 10)] == [1, 2]
    with pytest.raises(MlflowException, match="max_results"):
        churn.search_model_versions(None, 0)


@pytest.mark.parametrize(("filter_string", "found"), [("%\n%", True), ("_ne", True), ("ONE", False), ("on", False)])
def test_like_is_sqls(churn: ModelyardStore, filter_string: str, found: bool) -> None:
    churn.set_model_version_tag("churn", 1, ModelVersionTag("a", "o\nne" if "\n" in filter_string else "one"))
    assert bool(churn.search_model_versions(f"tags.a LIKE '{filter_string}'")) is found


def test_a_version_is_no_source_by_its_stage_or_alias(churn: ModelyardStore) -> None:
    assert churn.create_model_version("churn", "models:/churn/1").version == 3
    for source in ("models:/churn/Production", "models:/churn@best", "models:/churn/latest"):
        with pytest.raises(MlflowException, match="does not name a version by its number") as raised:
            churn.create_model_version("churn", source)
        assert code(raised) == "INVALID_PARAMETER_VALUE"
