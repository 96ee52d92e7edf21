"""Arguments that no registry should take, or that one of them cannot."""

from __future__ import annotations

import random
from typing import Any

from tests.differential.operations import Operation

_LONG = "n" * 300

# By the argument: values that a client can send.
_BAD: dict[str, tuple[Any, ...]] = {
    "name": ("", "  ", "a/b", "a:b", ".", "..", "nothing", _LONG),
    "new_name": ("", " ", "a/b", "x:y", "..", _LONG),
    "dst_name": ("", "a/b", "x:y", "..", _LONG),
    "version": (0, -1, 99, "abc", "", "1.5", " 1 ", "01", 2**70),
    "stage": ("", "prod", "Deleted_Internal", "latest", " Production"),
    "stages": (["prod"], ["Staging", ""], ["Deleted_Internal"]),
    "alias": ("", "bad alias", "a.b", "latest", "Latest", "v1", "V22", "a" * 64, "a" * 256, "é"),
    "key": ("", "..", "/rooted", "a//b", "k" * 251, "t\tb", "a/../b"),
    "tag": (("", "x"), ("..", "x"), ("k" * 251, "x"), ("ok", "v" * 6000), ("ok", "v" * 100_001), ("a//b", "")),
    "tags": ([("", "x")], [("k" * 251, "x")], [("ok", "v" * 6000)], [("ok", "v" * 100_001)], [("a", "1"), ("a", "2")]),
    "description": ("d" * 9000, "d" * 5001),
    "source": ("", "file:///tmp/model", "s3://", "$STORE/../secret", "http://host/model", "models:/churn"),
    "run_id": ("r" * 65,),
    "model_id": ("m-unknown",),
    "archive_existing_versions": ("false", "", 1),
    "template": ("", "t" * 100_001, "t" * 6000),
}
# Values of types that the server refuses before any store sees them.
_WRONG: dict[str, tuple[Any, ...]] = {
    "name": (None, 5, ["churn"]),
    "new_name": (None, 5),
    "version": (None, ["1"]),
    "stage": (None, 5),
    "alias": (None, 5),
    "key": (None, 5),
    "tag": ((None, "x"), (5, "x"), ("ok", 5)),
    "max_results": (None, "many", 1.5),
    "filter_string": (5,),
    "order_by": ([5],),
}


def spoil(operation: Operation, rng: random.Random) -> Operation:
    """Return the operation with one bad argument, if it has one that can be bad."""
    # MLflow's methods for prompts take any failure but its own errors for a prompt that is not there.
    wrong = rng.random() < 0.2 and "prompt" not in operation.method
    table = _WRONG if wrong else _BAD
    names = [name for name in operation.arguments if name in table]
    if not names or isinstance(operation["tags"], dict):
        return operation
    name = rng.choice(names)
    spoilt = operation.with_arguments(**{name: rng.choice(table[name])})
    return Operation(spoilt.method, spoilt.arguments, wrong_type=wrong)
