from __future__ import annotations

from typing import Any

from modelyard.decide.managers import last_edit, last_editor, owner_of, owners_of


def entry(manager: str, time: str | None, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    return {"manager": manager, "time": time, "fieldsV1": fields, "subresource": subresource}


PRODUCTION: dict[str, object] = {"f:spec": {"f:stages": {"f:production": {}}}}
FIELDS = [
    entry("argocd-controller", "2026-01-01T00:00:00Z", PRODUCTION),
    entry("kubectl-edit", "2026-01-02T00:00:00Z", {"f:spec": {"f:stages": {"f:staging": {}}}}),
    entry("mlflow", "2026-01-03T00:00:00Z", PRODUCTION),
    entry("modelyard-operator", "2026-01-04T00:00:00Z", {"f:status": {}}, "status"),
]


def test_owners_of_a_field_the_last_writer_first() -> None:
    assert owners_of(FIELDS, ("spec", "stages", "production")) == ("mlflow", "argocd-controller")
    assert owner_of(FIELDS, ("spec", "stages", "staging")) == "kubectl-edit"


def test_a_field_that_nobody_owns() -> None:
    assert owners_of(FIELDS, ("spec", "stages", "other")) == ()
    assert owner_of(FIELDS, ("spec", "description")) == "unknown"


def test_the_status_does_not_count_as_an_edit() -> None:
    assert owners_of(FIELDS, ("status",)) == ()
    assert last_editor(FIELDS) == "mlflow"
    assert last_edit(FIELDS) == "2026-01-03T00:00:00Z"


def test_no_managed_fields() -> None:
    assert last_editor([]) == "unknown"
    assert last_edit([]) is None
