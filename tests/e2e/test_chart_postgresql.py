"""The chart for a team: runs in its own PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.release import Release, installed

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def release(cluster: None) -> Iterator[Release]:
    yield from installed({"tracking": {"database": "postgresql"}, "operator": {"enabled": False}})


def test_every_part_answers_by_its_names(release: Release) -> None:
    assert set(release.pods()) == {"tracking", "minio", "postgresql"}
    release.test()


def test_runs_outlive_the_pods(release: Release) -> None:
    release.record("kept")
    release.restart("postgresql")
    release.wait_recorded("kept")


def test_a_killed_server_recovers(release: Release) -> None:
    release.record("committed")
    before = release.pods()["postgresql"]
    release.kubectl("delete", "pod", "yard-modelyard-postgresql-0", "--grace-period=0", "--force")
    release.wait_for("postgresql", before)
    release.wait_recorded("committed")


def test_a_new_password_takes_over_old_data(release: Release) -> None:
    release.record("before the new password")
    old = release.passwords()["yard-modelyard-postgresql/password"]
    release.uninstall()
    release.reinstall()
    assert release.passwords()["yard-modelyard-postgresql/password"] != old
    assert "before the new password" in release.recorded()


def test_two_tracking_servers_share_it(release: Release) -> None:
    release.apply(tracking={"replicas": 2})
    names = release.names("pods")
    assert len([name for name in names if name.startswith("pod/yard-modelyard-tracking-")]) == 2
    assert "kept" in release.recorded()


def test_a_store_and_a_database_of_ones_own_replace_the_charts(release: Release) -> None:
    # Those of the other release stand in for a company's: nothing of them is known but addresses and Secrets.
    password = release.passwords()["yard-modelyard-postgresql/password"]
    uri = f"postgresql+psycopg2://mlflow:{password}@yard-modelyard-postgresql/mlflow"
    release.kubectl("create", "secret", "generic", "company-database", f"--from-literal=url={uri}")
    own = Release(
        release.namespace,
        {
            "operator": {"enabled": False},
            "minio": {"enabled": False},
            "artifactStore": {
                "endpoint": f"http://yard-modelyard-minio.{release.namespace}.svc:9000",
                "existingSecret": "yard-modelyard-store-writer",
                "readerSecret": "yard-modelyard-store-reader",
            },
            "tracking": {"database": "external", "databaseSecret": {"name": "company-database", "key": "url"}},
        },
        name="own",
    )
    own.apply()
    assert set(own.pods()) == {"tracking"}
    own.test()
    assert own.recorded() == release.recorded()
    own.call("PUT", "/api/2.0/mlflow-artifacts/artifacts/shared.txt", {"some": "artifact"})
    own.uninstall()
    assert not own.passwords()
    listed = release.call("GET", "/api/2.0/mlflow-artifacts/artifacts")
    assert "shared.txt" in [entry["path"] for entry in listed["files"]]
