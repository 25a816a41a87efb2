"""The keyed state of one shard of one metric, over three maps of bytes to bytes.

| map | key | value |
|---|---|---|
| `slices` | slice end | the packed keys of that slice |
| `slices` | empty | the slice ends that exist, ascending (so that nothing absent is ever read) |
| `large` | slice end, key | a partial too large to be rewritten with its neighbours |
| `revisions` | window name, window end | per key: the last revision sent and the events behind it |
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from state.clock_state import ByteMap, time_key
from state.packed import Entry, pack, unpack

LARGE_PARTIAL_BYTES = 2048
Merge = Callable[[bytes, bytes], bytes]
_INDEX = b""


class WindowState:
    """Slices and revisions of the current shard."""

    def __init__(self, slices: ByteMap, large: ByteMap, revisions: ByteMap) -> None:
        """Wrap the maps; nothing is read yet."""
        self._slices, self._large, self._revisions = slices, large, revisions

    def slice_ends(self, after_ms: int | None = None, up_to_ms: int | None = None) -> list[int]:
        """Return the ends of the slices that exist in `(after_ms, up_to_ms]`, ascending."""
        stored = self._slices.get(_INDEX)
        ends: list[int] = [] if stored is None else np.frombuffer(stored, "<i8").tolist()
        low = 0 if after_ms is None else bisect_right(ends, after_ms)
        high = len(ends) if up_to_ms is None else bisect_right(ends, up_to_ms)
        return ends[low:high]

    def read(self, slice_end_ms: int, keys: Iterable[bytes] | None = None) -> dict[bytes, Entry]:
        """Return what the slice holds for these keys (default: for all), large partials included."""
        entries = self._entries(slice_end_ms)
        wanted = entries if keys is None else (key for key in keys if key in entries)
        return {key: self._whole(slice_end_ms, key, entries[key]) for key in wanted}

    def held(self, slice_end_ms: int) -> tuple[list[bytes], int]:
        """Return the keys that the slice holds, and how many bytes it takes in state.

        Large partials are not read for it: their lengths are in the slice.
        """
        name = time_key(slice_end_ms)
        stored = self._slices.get(name)
        if stored is None:
            return [], 0
        entries = unpack(stored)
        large = sum(len(name) + len(key) + entry.apart for key, entry in entries.items() if entry.apart)
        return list(entries), len(name) + len(stored) + large

    def index_held(self) -> int:
        """Return how many bytes the list of slice ends takes in state."""
        return len(self._slices.get(_INDEX) or b"")

    def merge(self, slice_end_ms: int, added: Mapping[bytes, Entry], merge: Merge) -> None:
        """Merge what arrived into a slice; keys that are not in `added` are not touched."""
        entries = self._entries(slice_end_ms)
        if not entries:
            ends = self.slice_ends()
            insort(ends, slice_end_ms)
            self._write_index(ends)
        name = time_key(slice_end_ms)
        for key, entry in added.items():
            held = entries.get(key)
            partial, events, apart = entry.partial, entry.events, 0
            if held is not None:
                partial = merge(self._whole(slice_end_ms, key, held).partial, partial)
                events += held.events
            if len(partial) >= LARGE_PARTIAL_BYTES:
                self._large.put(name + key, partial)
                partial, apart = None, len(partial)
            elif held is not None and held.partial is None:
                self._large.remove(name + key)
            entries[key] = Entry(events, partial, apart)
        self._slices.put(name, pack(entries))

    def drop(self, slice_end_ms: int) -> None:
        """Forget a slice."""
        name = time_key(slice_end_ms)
        for key, entry in self._entries(slice_end_ms).items():
            if entry.partial is None:
                self._large.remove(name + key)
        self._slices.remove(name)
        ends = self.slice_ends()
        at = bisect_left(ends, slice_end_ms)
        if at < len(ends) and ends[at] == slice_end_ms:
            del ends[at]
            self._write_index(ends)

    def revisions(self, window: bytes, end_ms: int) -> dict[bytes, tuple[int, int]]:
        """Return, per key, the last revision sent of this window and the events that were behind it."""
        stored = self._revisions.get(_window_key(window, end_ms))
        if stored is None:
            return {}
        return {
            key: (int.from_bytes(entry.partial or b"", "little"), entry.events)
            for key, entry in unpack(stored).items()
        }

    def set_revisions(self, window: bytes, end_ms: int, sent: Mapping[bytes, tuple[int, int]]) -> None:
        """Remember what was sent of a window."""
        entries = {
            key: Entry(events, revision.to_bytes(4, "little")) for key, (revision, events) in sent.items()
        }
        self._revisions.put(_window_key(window, end_ms), pack(entries))

    def revisions_held(self, window: bytes, end_ms: int) -> int:
        """Return how many bytes what is remembered of a window takes in state."""
        name = _window_key(window, end_ms)
        stored = self._revisions.get(name)
        return 0 if stored is None else len(name) + len(stored)

    def drop_revisions(self, window: bytes, end_ms: int) -> None:
        """Forget what was sent of a window."""
        self._revisions.remove(_window_key(window, end_ms))

    def _entries(self, slice_end_ms: int) -> dict[bytes, Entry]:
        stored = self._slices.get(time_key(slice_end_ms))
        return {} if stored is None else unpack(stored)

    def _whole(self, slice_end_ms: int, key: bytes, entry: Entry) -> Entry:
        if entry.partial is not None:
            return entry
        return Entry(entry.events, self._large.get(time_key(slice_end_ms) + key))

    def _write_index(self, ends: list[int]) -> None:
        if ends:
            self._slices.put(_INDEX, np.array(ends, "<i8").tobytes())
        else:
            self._slices.remove(_INDEX)


def _window_key(window: bytes, end_ms: int) -> bytes:
    return window + time_key(end_ms)
