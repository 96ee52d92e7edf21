"""Makes the tracking server's database ready: sets SQLite's write-ahead log, or waits for the database server."""

import os
import sqlite3
import sys
import time

import sqlalchemy

DEADLINE_SECONDS = 300


def main() -> int:
    """Return the exit code: 1 where the database did not answer in time."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    if uri.startswith("sqlite:///"):
        # The file remembers the mode: readers and the writer then do not wait for each other.
        connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.close()
        print(f"SQLite: journal mode {mode}")
        return 0

    try:
        engine = sqlalchemy.create_engine(uri)
    except ModuleNotFoundError as error:
        print(f"error: the image lacks {error.name}: name a driver it has, postgresql+psycopg2://…", file=sys.stderr)
        return 1
    deadline = time.monotonic() + DEADLINE_SECONDS
    said = ""
    while True:
        try:
            with engine.connect():
                print(f"{engine.url.render_as_string(hide_password=True)} answers")
                return 0
        except sqlalchemy.exc.OperationalError as error:
            problem = str(error.orig).strip()
        if time.monotonic() > deadline:
            print(f"error: no connection within {DEADLINE_SECONDS} s: {problem}", file=sys.stderr)
            return 1
        if problem != said:
            print(f"waiting: {problem}", flush=True)
            said = problem
        time.sleep(1)


sys.exit(main())
