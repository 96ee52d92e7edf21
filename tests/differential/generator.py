"""Random operations: mostly sensible ones on a few models, so that they meet, and bad input of every kind."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlflow.prompt.constants import IS_PROMPT_TAG_KEY, PROMPT_TEXT_TAG_KEY

from tests.differential.bad_input import spoil
from tests.differential.operations import Operation
from tests.differential.searches import ANY_PROMPT, model_filter, model_order, page, version_filter, version_order

NAMES = ("churn", "Churn", "Wine Classifier", "  spaced ", "größe-北京", "a.b_c", "100%", "it's", "café\n2", "x" * 60)
PROMPTS = ("greeting", "summary.v2")
TEXTS = ("", "Who leaves", "größer als π", "line\nline", "d" * 200)
TAG_KEYS = ("team", "stage", "a b", "dotted.key", "path/key", "_x-1")
TAG_VALUES = ("", "risk", "Risk", "true", "100%_", "ü", "v" * 40)
ALIASES = ("champion", "Champion", "canary_2", "0", "best-one")
ACTIVE = ("Staging", "Production", "production", "STAGING")
STAGES = (*ACTIVE, "Archived", "None", "none")
SOURCES = (
    "$STORE/one",
    "$STORE/two",
    "mlflow-artifacts:/three",
    "models:/$MODEL",
    "runs:/$RUN/model",
    "$STORE/missing",
    "gs://elsewhere/model",
    "models:/m-0000000000000000000000000000dead",
    "models:/",
)
_NO_SOURCES = SOURCES[5:]
_SOURCE_WEIGHTS = (8, 6, 6, 3, 3, 1, 1, 1, 1)


class Generator:
    """Operations from a seed. It remembers about what is there; the stores know better."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self._versions: dict[str, list[int]] = {}
        self._used: Counter[str] = Counter()

    def operations(self, count: int) -> Iterator[Operation]:
        """Give `count` operations: first some models, then anything."""
        makers, weights = zip(*_KINDS, strict=True)
        for number in range(count):
            make = _create_model if number < 4 else self.rng.choices(makers, weights)[0]
            operation = make(self)
            if number >= 4 and self.chance(0.07):
                yield spoil(operation, self.rng)
                continue
            self._remember(operation)
            yield operation

    def _remember(self, operation: Operation) -> None:
        known, name = self._versions, operation["name"]
        match operation.method:
            case "create_registered_model" | "create_prompt":
                known.setdefault(name, [])
            case "delete_registered_model" | "delete_prompt":
                known.pop(name, None)
            case "rename_registered_model" if name in known and operation["new_name"] not in known:
                known[operation["new_name"]] = known.pop(name)
                self._used[operation["new_name"]] = max(self._used[name], self._used[operation["new_name"]])
            case "create_prompt_version" if name in known:
                self._registered(name)
            case "create_model_version" if name in known and operation["source"] not in _NO_SOURCES:
                self._registered(name)
            case "copy_model_version" if known.get(name):
                known.setdefault(operation["dst_name"], [])
                self._registered(operation["dst_name"])
            case "delete_model_version" | "delete_prompt_version" if name in known:
                known[name] = [number for number in known[name] if number != int(operation["version"])]

    def _registered(self, name: str) -> None:
        self._used[name] += 1
        self._versions[name].append(self._used[name])

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def one_of(self, values: Any) -> Any:
        return self.rng.choice(values)

    def new_name(self) -> str:
        """A name that may be taken or not."""
        # A few models get most of what happens.
        return str(self.one_of(NAMES[:3] if self.chance(0.3) else NAMES))

    def free_name(self) -> str:
        """A name that is free, as a rule."""
        free = [name for name in NAMES if name not in self._versions]
        return self.one_of(free) if free and self.chance(0.7) else self.new_name()

    def name(self) -> str:
        """The name of a model that is there, as a rule."""
        return self._known(NAMES + PROMPTS) if self.chance(0.9) else self.new_name()

    def registered(self) -> str:
        """The name of a model that has versions, as a rule."""
        known = [name for name, numbers in self._versions.items() if numbers]
        if not known or self.chance(0.1):
            return self.name()
        return self.rng.choices(known, [len(self._versions[name]) for name in known])[0]

    def prompt(self) -> str:
        """The name of a prompt that is there, as a rule."""
        return self._known(PROMPTS) if self.chance(0.9) else self.name()

    def _known(self, names: Sequence[str]) -> str:
        known = [name for name in self._versions if name in names]
        # Those that were made first have most versions.
        return self.one_of(known[:3] if self.chance(0.75) else known) if known else str(self.one_of(names))

    def version(self, name: str) -> Any:
        numbers = self._versions.get(name)
        number = self.one_of(numbers) if numbers and self.chance(0.9) else self.rng.randint(1, self._used[name] + 1)
        return str(number) if self.chance(0.3) else number

    def source(self) -> str:
        if self.chance(0.08):
            name = self.registered()
            return f"models:/{name}/{self.version(name)}"
        return str(self.rng.choices(SOURCES, _SOURCE_WEIGHTS)[0])

    def tags(self) -> list[tuple[str, str]] | None:
        if self.chance(0.4):
            return None
        return [self.tag() for _ in range(self.rng.randint(0, 3))]

    def tag(self) -> tuple[str, str]:
        if self.chance(0.02):
            return IS_PROMPT_TAG_KEY, str(self.one_of(ANY_PROMPT))
        return str(self.one_of(TAG_KEYS)), str(self.one_of(TAG_VALUES))

    def text(self) -> str | None:
        return None if self.chance(0.25) else str(self.one_of(TEXTS))

    def stages(self) -> list[str] | None:
        return None if self.chance(0.4) else self.rng.sample(STAGES, self.rng.randint(0, 3))


def _named(method: str) -> Callable[[Generator], Operation]:
    return lambda make: Operation(method, {"name": make.name()})


def _versioned(method: str) -> Callable[[Generator], Operation]:
    def operation(make: Generator) -> Operation:
        name = make.registered()
        return Operation(method, {"name": name, "version": make.version(name)})

    return operation


def _create_model(make: Generator) -> Operation:
    return Operation(
        "create_registered_model", {"name": make.free_name(), "tags": make.tags(), "description": make.text()}
    )


def _update_model(make: Generator) -> Operation:
    return Operation("update_registered_model", {"name": make.name(), "description": make.text()})


def _rename_model(make: Generator) -> Operation:
    return Operation("rename_registered_model", {"name": make.name(), "new_name": make.free_name()})


def _search_models(make: Generator) -> Operation:
    arguments = {
        "filter_string": model_filter(make.rng, NAMES, TAG_KEYS, TAG_VALUES),
        "order_by": model_order(make.rng),
    }
    return Operation("search_registered_models", {**arguments, **page(make.rng)})


def _latest(make: Generator) -> Operation:
    return Operation("get_latest_versions", {"name": make.name(), "stages": make.stages()})


def _set_model_tag(make: Generator) -> Operation:
    return Operation("set_registered_model_tag", {"name": make.name(), "tag": make.tag()})


def _delete_model_tag(make: Generator) -> Operation:
    return Operation("delete_registered_model_tag", {"name": make.name(), "key": make.tag()[0]})


def _create_version(make: Generator) -> Operation:
    name = make.name()
    arguments: dict[str, Any] = {"name": name, "source": make.source(), "tags": make.tags()}
    optional = {
        "run_id": make.one_of(("$RUN", "a-run", "")),
        "run_link": make.one_of(("http://runs/1", "")),
        "description": make.text(),
        "model_id": "$MODEL",
        "local_model_path": "/tmp/model",
    }
    arguments |= {key: value for key, value in optional.items() if make.chance(0.3)}
    return Operation("create_model_version", arguments)


def _update_version(make: Generator) -> Operation:
    return _versioned("update_model_version")(make).with_arguments(description=make.text())


def _transition(make: Generator) -> Operation:
    stage = make.one_of(STAGES)
    archive = make.chance(0.5 if stage in ACTIVE else 0.1)
    wanted = {"stage": stage, "archive_existing_versions": archive}
    return _versioned("transition_model_version_stage")(make).with_arguments(**wanted)


def _search_versions(make: Generator) -> Operation:
    arguments = {
        "filter_string": version_filter(make.rng, NAMES, TAG_KEYS, TAG_VALUES),
        "order_by": version_order(make.rng),
    }
    return Operation("search_model_versions", {**arguments, **page(make.rng)})


def _set_version_tag(make: Generator) -> Operation:
    return _versioned("set_model_version_tag")(make).with_arguments(tag=make.tag())


def _delete_version_tag(make: Generator) -> Operation:
    return _versioned("delete_model_version_tag")(make).with_arguments(key=make.tag()[0])


def _alias(method: str) -> Callable[[Generator], Operation]:
    return lambda make: Operation(method, {"name": make.registered(), "alias": make.one_of(ALIASES)})


def _by_alias(make: Generator) -> Operation:
    return _alias("get_model_version_by_alias")(make).with_arguments(alias=make.one_of((*ALIASES, "latest", "LATEST")))


def _set_alias(make: Generator) -> Operation:
    return _versioned("set_registered_model_alias")(make).with_arguments(alias=make.one_of(ALIASES))


def _copy(make: Generator) -> Operation:
    target = make.new_name()
    return _versioned("copy_model_version")(make).with_arguments(dst_name=target)


def _create_prompt(make: Generator) -> Operation:
    tags = dict([make.tag(), make.tag()])
    return Operation("create_prompt", {"name": make.one_of(PROMPTS), "description": make.text(), "tags": tags})


_TEMPLATES = ("Hello {{name}}", "plain", [{"role": "user", "content": "Hi {{ who }}"}], "t" * 200)


def _create_prompt_version(make: Generator) -> Operation:
    name = make.prompt()
    arguments: dict[str, Any] = {"name": name, "template": make.one_of(_TEMPLATES), "description": make.text()}
    if make.chance(0.3):
        arguments["tags"] = dict([make.tag()])
    if make.chance(0.2):
        arguments["response_format"] = {"type": "object"}
    if make.chance(0.2):
        arguments["model_config"] = {"model_name": "m", "temperature": 0.5}
    return Operation("create_prompt_version", arguments)


def _create_prompt_version_as_a_client(make: Generator) -> Operation:
    name = make.prompt()
    tags = [(IS_PROMPT_TAG_KEY, "true"), (PROMPT_TEXT_TAG_KEY, "Hello {{name}}"), make.tag()]
    return Operation("create_model_version", {"name": name, "source": "dummy-source", "tags": tags})


def _of_prompt(method: str) -> Callable[[Generator], Operation]:
    return lambda make: Operation(method, {"name": make.prompt()})


def _of_prompt_version(method: str, **more: Callable[[Generator], Any]) -> Callable[[Generator], Operation]:
    def operation(make: Generator) -> Operation:
        name = make.prompt()
        arguments = {"name": name, "version": make.version(name)}
        return Operation(method, {**arguments, **{key: value(make) for key, value in more.items()}})

    return operation


def _search_prompts(make: Generator) -> Operation:
    wanted = (None, "name LIKE 'greet%'", "tags.team = 'risk'", "experiment_id = '1'", "experiment_id = 'x'", "bad")
    return Operation("search_prompts", {"filter_string": make.one_of(wanted), **page(make.rng)})


def _search_prompt_versions(make: Generator) -> Operation:
    return Operation("search_prompt_versions", {"name": make.prompt(), "max_results": make.one_of((None, 1, 100))})


def _prompt_tag(make: Generator) -> Operation:
    key, value = make.tag()
    return Operation("set_prompt_tag", {"name": make.prompt(), "key": key, "value": value})


_KINDS: tuple[tuple[Callable[[Generator], Operation], int], ...] = (
    (_create_model, 5),
    (_named("get_registered_model"), 4),
    (_update_model, 5),
    (_rename_model, 3),
    (_named("delete_registered_model"), 2),
    (_search_models, 8),
    (_latest, 5),
    (_set_model_tag, 5),
    (_delete_model_tag, 3),
    (_create_version, 18),
    (_versioned("get_model_version"), 4),
    (_update_version, 5),
    (_transition, 14),
    (_versioned("delete_model_version"), 4),
    (_versioned("get_model_version_download_uri"), 3),
    (_search_versions, 12),
    (_set_version_tag, 6),
    (_delete_version_tag, 3),
    (_set_alias, 7),
    (_alias("delete_registered_model_alias"), 3),
    (_by_alias, 5),
    (_copy, 4),
    (_create_prompt, 2),
    (_create_prompt_version, 4),
    (_create_prompt_version_as_a_client, 2),
    (_of_prompt("get_prompt"), 1),
    (_of_prompt("delete_prompt"), 1),
    (_of_prompt_version("get_prompt_version"), 2),
    (_of_prompt_version("delete_prompt_version"), 1),
    (_of_prompt_version("set_prompt_alias", alias=lambda make: make.one_of(ALIASES)), 1),
    (_of_prompt_version("set_prompt_version_tag", key=lambda make: make.tag()[0], value=lambda make: make.tag()[1]), 1),
    (_of_prompt_version("delete_prompt_version_tag", key=lambda make: make.tag()[0]), 1),
    (lambda make: _of_prompt("get_prompt_version_by_alias")(make).with_arguments(alias=make.one_of(ALIASES)), 1),
    (lambda make: _of_prompt("delete_prompt_alias")(make).with_arguments(alias=make.one_of(ALIASES)), 1),
    (_prompt_tag, 1),
    (lambda make: _of_prompt("delete_prompt_tag")(make).with_arguments(key=make.tag()[0]), 1),
    (_search_prompts, 3),
    (_search_prompt_versions, 2),
)
