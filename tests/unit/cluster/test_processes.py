from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import processes
from tests.cluster.errors import ClusterError

FOREVER = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(3600)"]


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("MODELYARD_STATE", str(tmp_path))
    yield tmp_path
    processes.stop("sleeper", grace=5)


def fake_proc(root: Path, pid: int, name: str, state: str, ticks: int) -> Path:
    fields = [state, *["0"] * 18, str(ticks), *["0"] * 30]
    (root / str(pid)).mkdir(parents=True)
    (root / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    (root / "sys/kernel/random").mkdir(parents=True)
    (root / "sys/kernel/random/boot_id").write_text("boot-1\n")
    return root


@pytest.mark.parametrize("name", ["etcd", "a (b) c", "x) R 1 2 3"])
def test_a_start_time_is_read_past_any_name(tmp_path: Path, name: str) -> None:
    assert processes.start_time(7, fake_proc(tmp_path, 7, name, "S", 4321)) == 4321


def test_a_zombie_and_a_process_that_is_gone_have_none(tmp_path: Path) -> None:
    proc = fake_proc(tmp_path, 7, "etcd", "Z", 4321)
    assert processes.start_time(7, proc) is None
    assert processes.start_time(8, proc) is None


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        ({}, True),
        ({"start_time": 4320}, False),
        ({"pid": 8}, False),
        ({"boot_id": "boot-0"}, False),
    ],
    ids=["the same", "the id was used again", "gone", "the machine was started again"],
)
def test_a_record_stands_for_one_process_only(tmp_path: Path, changes: dict[str, object], alive: bool) -> None:
    proc = fake_proc(tmp_path, 7, "etcd", "S", 4321)
    record = dataclasses.replace(processes.Record(7, 4321, "boot-1", ""), **changes)  # type: ignore[arg-type]
    assert processes.alive(record, proc) is alive


def test_a_started_process_is_found_again_and_has_a_session_of_its_own() -> None:
    record = processes.start("sleeper", FOREVER, {})
    assert processes.running("sleeper") == record
    assert os.getsid(record.pid) == record.pid
    processes.stop("sleeper")
    assert processes.running("sleeper") is None
    assert not processes.record_path("sleeper").exists()


def test_a_killed_process_does_not_run_and_stopping_it_is_no_error() -> None:
    record = processes.start("sleeper", FOREVER, {})
    os.kill(record.pid, signal.SIGKILL)
    os.waitpid(record.pid, 0)
    assert processes.running("sleeper") is None
    processes.stop("sleeper")


def test_a_process_that_ignores_the_request_to_end_is_killed() -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
    processes.start("sleeper", [sys.executable, "-c", f"{stubborn}while True: time.sleep(1)"], {})
    while b"deaf" not in processes.log_path("sleeper").read_bytes():
        assert processes.running("sleeper")
    # So long it also has for its end once it is killed.
    processes.stop("sleeper", grace=1)
    assert processes.running("sleeper") is None


def test_stopping_leaves_alone_a_process_that_only_has_the_id(state: Path) -> None:
    record = processes.start("sleeper", FOREVER, {})
    own = processes.record_path("sleeper").read_text()
    processes.record_path("sleeper").write_text(own.replace(str(record.start_time), str(record.start_time - 1)))
    processes.stop("sleeper")
    assert processes.start_time(record.pid) == record.start_time
    processes.record_path("sleeper").write_text(own)


@pytest.mark.parametrize("content", ["", '{"pid": 1', '{"pid": 1}', "[]"])
def test_half_a_record_is_none(content: str) -> None:
    path = processes.record_path("sleeper")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert processes.read_record("sleeper") is None


def test_a_program_that_cannot_be_started_is_an_error() -> None:
    with pytest.raises((ClusterError, FileNotFoundError)):
        processes.start("sleeper", ["/nonexistent"], {})
