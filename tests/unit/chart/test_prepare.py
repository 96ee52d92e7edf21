"""The program that makes the tracking server's database ready."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.unit.chart.render import CHART

PREPARE = CHART / "files/scripts/prepare.py"


def prepare(uri: str) -> str:
    environment = {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    return subprocess.run([sys.executable, PREPARE], env=environment, capture_output=True, text=True, check=True).stdout


def test_sqlite_gets_the_write_ahead_log_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (id TEXT)")
    assert prepare(f"sqlite:///{path}") == "SQLite: journal mode wal\n"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_any_other_database_is_asked_for_a_connection(tmp_path: Path) -> None:
    # This name of SQLite's driver is not the one that is a file to prepare.
    assert "answers" in prepare(f"sqlite+pysqlite:///{tmp_path}/other.db")


def test_a_driver_that_the_image_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError(name='psycopg')")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg://mlflow@nowhere/mlflow",
    }
    done = subprocess.run([sys.executable, PREPARE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the image lacks psycopg: name a driver it has, postgresql+psycopg2://…\n"
