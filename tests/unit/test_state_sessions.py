"""The state of sessions: buckets of keys and the index of when they are due."""

from __future__ import annotations

import numpy as np
import pytest
from engine import ShardedMap

from sketches.errors import BadData
from state.session_state import BUCKETS, NEVER_MS, Session, SessionState, bucket_of


def test_sessions_come_back_as_they_were_written() -> None:
    state = SessionState(ShardedMap())
    sessions = {
        b"[1]": [Session(-5, 10, 3, b"p"), Session(50, 60, 1, b"q", 2, 1, True)],
        b"[2]": [Session(0, 0, 1, b"")],
    }
    state.write(7, sessions)
    assert state.read(7) == sessions
    assert state.read(8) == {}


def test_keys_without_sessions_are_forgotten_and_so_are_buckets() -> None:
    held = ShardedMap()
    state = SessionState(held)
    state.write(7, {b"[1]": [], b"[2]": [Session(0, 0, 1, b"x")]})
    assert list(state.read(7)) == [b"[2]"]
    state.write(7, {b"[2]": []})
    assert not held.shards[""]


def test_the_index_is_kept_while_something_is_due() -> None:
    held = ShardedMap()
    state = SessionState(held)
    due = state.due()
    assert due.tolist() == [NEVER_MS] * BUCKETS
    due[3] = -12
    state.set_due(due)
    assert np.array_equal(state.due(), due)
    due[3] = NEVER_MS
    state.set_due(due)
    assert not held.shards[""]


def test_sessions_of_another_version_are_refused() -> None:
    held = ShardedMap()
    held.put((7).to_bytes(2, "big"), b"\x02rest")
    with pytest.raises(BadData, match="expected sessions of version 1, got 2"):
        SessionState(held).read(7)


def test_keys_spread_over_all_buckets() -> None:
    counts = np.bincount([bucket_of(f"[{n}]".encode()) for n in range(6400)], minlength=BUCKETS)
    assert counts.min() > 50 and counts.max() < 160
