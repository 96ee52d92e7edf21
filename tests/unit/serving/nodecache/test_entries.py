"""The directory: its bound, what it gives up, and what it keeps."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelyard_serving.nodecache.entries import HEX_BYTES, Entries
from modelyard_serving.nodecache.metrics import Metrics

LIMIT = 1000 + 4 * HEX_BYTES
KEYS = st.sampled_from("abcdefgh")
SIZES = {key: 60 * (number + 1) for number, key in enumerate("abcdefgh")}


def content(key: str) -> bytes:
    return key.encode() * SIZES[key]


def put(entries: Entries, key: str) -> bool:
    """Whether there was room."""
    room = entries.reserve(key, SIZES[key], '"x"')
    if room is None:
        return False
    incoming, path = room
    incoming.write(0, memoryview(content(key)))
    entries.publish(key, incoming, path)
    incoming.close()
    return True


class Directory(RuleBasedStateMachine):
    """Two processes' views of one directory, against a list of what was used last."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.views = [Entries(directory, LIMIT, Metrics()) for _ in range(2)]
        self.used: OrderedDict[str, None] = OrderedDict()
        self.read: dict[str, ExitStack] = {}

    def teardown(self) -> None:
        for each in self.read.values():
            each.close()
        self.stack.close()

    def bytes(self) -> int:
        return sum(SIZES[key] + HEX_BYTES for key in self.used)

    @rule(key=KEYS, view=st.integers(0, 1))
    def put(self, key: str, view: int) -> None:
        if key in self.used:
            return
        needed = SIZES[key] + HEX_BYTES
        for each in list(self.used):
            if self.bytes() + needed <= LIMIT:
                break
            if each not in self.read:
                del self.used[each]
        fits = self.bytes() + needed <= LIMIT
        assert put(self.views[view], key) is fits
        if fits:
            self.used[key] = None

    @rule(key=KEYS, view=st.integers(0, 1), keep=st.booleans())
    def get(self, key: str, view: int, keep: bool) -> None:
        stack = ExitStack()
        file = stack.enter_context(self.views[view].open(key, SIZES[key]))
        assert (file is not None) is (key in self.used)
        if file is None:
            return
        self.used.move_to_end(key)
        file.seek(0)
        assert file.read(SIZES[key]) == content(key)
        if keep and key not in self.read:
            self.read[key] = stack
        else:
            stack.close()

    @rule(key=KEYS)
    def finish(self, key: str) -> None:
        if key in self.read:
            self.read.pop(key).close()

    @rule(key=KEYS, view=st.integers(0, 1))
    def spoil(self, key: str, view: int) -> None:
        if key not in self.used or key in self.read:
            return
        path = self.views[view]._objects / key
        path.write_bytes(b"evil" + path.read_bytes()[4:])
        with self.views[view].open(key, SIZES[key]) as file:
            assert file is None
        del self.used[key]

    @invariant()
    def stays_within_the_bound(self) -> None:
        usage = self.views[0].usage()
        assert usage.bytes == self.bytes() <= LIMIT
        assert usage.objects == len(self.used)


Directory.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestDirectory = Directory.TestCase


def test_what_is_on_its_way_counts_with_its_full_size(tmp_path: Path) -> None:
    entries = Entries(tmp_path, 1000, Metrics())
    room = entries.reserve("a", 600, '"x"')
    assert room
    assert entries.usage() == (0, 600)
    assert entries.reserve("b", 600, '"x"') is None
    room[0].close()


def test_what_a_process_left_half_done_is_removed_but_not_what_another_writes(tmp_path: Path) -> None:
    first = Entries(tmp_path, 10_000, Metrics())
    left, written = first.reserve("a", 10, '"x"'), first.reserve("b", 10, '"x"')
    assert left
    assert written
    left[0].close()
    Entries(tmp_path, 10_000, Metrics())
    assert not left[1].exists()
    assert written[1].exists()
    written[0].close()
