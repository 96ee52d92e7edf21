"""Makes the tracking server's database ready: sets SQLite's write-ahead log, or waits for the database server."""

import os
import sqlite3
import sys
import time

DEADLINE_SECONDS = 300


def main() -> int:
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    if uri.startswith("sqlite:///"):
        # The file remembers the mode: readers and the writer then do not wait for each other.
        connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        connection.close()
        print(f"SQLite: journal mode {mode}")
        return 0

    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    deadline = time.monotonic() + DEADLINE_SECONDS
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
        print(f"waiting: {problem}", flush=True)
        time.sleep(1)


sys.exit(main())
