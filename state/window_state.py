"""The keyed state of one shard of one metric, over three maps of bytes to bytes.

| map | key | value |
|---|---|---|
| `slices` | slice end | the packed keys of that slice |
| `slices` | slice end, number | a delta: what arrived for that slice and is not merged yet, packed |
| `slices` | empty | which slices there are, see `state.time_index` |
| `large` | slice end, key | a partial too large to be rewritten with its neighbours |
| `revisions` | window name, window end | per key: the last revision sent and the events behind it |
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from state.clock_state import ByteMap, time_key
from state.packed import Entry, pack, unpack
from state.time_index import Stored, TimeIndex

LARGE_PARTIAL_BYTES = 2048
SMALL_SLICE_BYTES = 16_384
"""Up to here what arrives is merged at once: one entry to read for whoever reads the slice."""
Merge = Callable[[Sequence[bytes]], bytes]


class WindowState:
    """Slices and revisions of the current shard.

    Args:
        slices: the map of this name.
        large: the map of this name.
        revisions: the map of this name.
        merge: makes one of two or more partials.
    """

    def __init__(self, slices: ByteMap, large: ByteMap, revisions: ByteMap, merge: Merge) -> None:
        """Wrap the maps; nothing is read yet."""
        self._slices, self._large, self._revisions = slices, large, revisions
        self._merge = merge

    def slice_ends(self, after_ms: int | None = None, up_to_ms: int | None = None) -> list[int]:
        """Return the ends of the slices that exist in `(after_ms, up_to_ms]`, ascending."""
        ends = TimeIndex(self._slices).times
        low = 0 if after_ms is None else bisect_right(ends, after_ms)
        high = len(ends) if up_to_ms is None else bisect_right(ends, up_to_ms)
        return ends[low:high]

    def add(self, slice_end_ms: int, packed: bytes) -> None:
        """Add what arrived to a slice: merged into it, or kept as it is until as much has come together."""
        index = TimeIndex(self._slices)
        known = index.find(slice_end_ms) or Stored(slice_end_ms, 0)
        room = known.base_bytes if known.base_bytes >= SMALL_SLICE_BYTES else 0
        longer = known.with_delta(len(packed), room)
        if longer:
            self._slices.put(longer.delta_names[-1], packed)
            index.put(longer)
        else:
            index.put(self._merged(known, packed))

    def read(self, slice_end_ms: int, keys: Iterable[bytes] | None = None) -> dict[bytes, Entry]:
        """Return what the slice holds for these keys (default: for all), large partials included."""
        index = TimeIndex(self._slices)
        known = index.find(slice_end_ms)
        if known is None:
            return {}
        if known.deltas:
            index.put(self._merged(known))
        entries = self._base(known)
        wanted = entries if keys is None else (key for key in keys if key in entries)
        return {key: self._whole(known, key, entries[key]) for key in wanted}

    def held(self, slice_end_ms: int) -> tuple[list[bytes], int]:
        """Return the keys that the slice holds, and how many bytes it takes in state.

        Large partials are not read for it: their lengths are in the slice. Nothing is merged.
        """
        known = TimeIndex(self._slices).find(slice_end_ms)
        if known is None:
            return [], 0
        keys: dict[bytes, None] = {}
        total = 0
        for name in (known.base_name, *known.delta_names):
            stored = self._slices.get(name)
            entries = unpack(stored)
            keys.update(dict.fromkeys(entries))
            total += len(name) + len(stored)
            total += sum(len(name) + len(key) + entry.apart for key, entry in entries.items() if entry.apart)
        return list(keys), total

    def index_held(self) -> int:
        """Return how many bytes the index of slices takes in state."""
        return TimeIndex.bytes_held(self._slices)

    def drop(self, slice_end_ms: int) -> None:
        """Forget a slice."""
        index = TimeIndex(self._slices)
        known = index.find(slice_end_ms)
        if known is None:
            return
        for key, entry in self._base(known).items():
            if entry.partial is None:
                self._large.remove(known.base_name + key)
        for name in (known.base_name, *known.delta_names):
            self._slices.remove(name)
        index.remove(slice_end_ms)

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

    def _merged(self, known: Stored, *added: bytes) -> Stored:
        """Merge a slice's deltas and what was added into its base; return how it lies in state then."""
        arrived: dict[bytes, list[Entry]] = defaultdict(list)
        for packed in (*map(self._slices.get, known.delta_names), *added):
            for key, entry in unpack(packed).items():
                arrived[key].append(entry)
        entries = self._base(known) if known.base_bytes else {}
        for key, parts in arrived.items():
            held = entries.get(key)
            if held is not None:
                parts.append(self._whole(known, key, held))
            events, partial, apart = *united(parts, self._merge)[:2], 0
            if len(partial) >= LARGE_PARTIAL_BYTES:
                self._large.put(known.base_name + key, partial)
                partial, apart = None, len(partial)
            elif held is not None and held.partial is None:
                self._large.remove(known.base_name + key)
            entries[key] = Entry(events, partial, apart)
        base = pack(entries)
        self._slices.put(known.base_name, base)
        for name in known.delta_names:
            self._slices.remove(name)
        return Stored(known.time_ms, len(base) + sum(entry.apart for entry in entries.values()))

    def _base(self, known: Stored) -> dict[bytes, Entry]:
        return unpack(self._slices.get(known.base_name))

    def _whole(self, known: Stored, key: bytes, entry: Entry) -> Entry:
        if entry.partial is not None:
            return entry
        return Entry(entry.events, self._large.get(known.base_name + key))


def united(entries: Sequence[Entry], merge: Merge) -> Entry:
    """Return one entry for all of these, one or more, of the same key; none of them lies apart."""
    if len(entries) == 1:
        return entries[0]
    return Entry(sum(entry.events for entry in entries), merge([entry.partial for entry in entries]))


def _window_key(window: bytes, end_ms: int) -> bytes:
    return window + time_key(end_ms)
