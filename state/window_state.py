"""The keyed state of one shard of one metric, over three maps of bytes to bytes.

| map | key | value |
|---|---|---|
| `slices` | slice end | the packed keys of that slice |
| `slices` | slice end, number | a delta: what arrived for that slice and is not merged yet, packed |
| `slices` | empty | `state.slice_index` |
| `large` | slice end, key | a partial too large to be rewritten with its neighbours |
| `revisions` | window name, window end | per key: the last revision sent and the events behind it |
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from state.clock_state import ByteMap, time_key
from state.packed import Entry, pack, unpack
from state.slice_index import Slice, SliceIndex

LARGE_PARTIAL_BYTES = 2048
Merge = Callable[[Sequence[bytes]], bytes]
_INDEX = b""


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
        ends = self._index().ends
        low = 0 if after_ms is None else bisect_right(ends, after_ms)
        high = len(ends) if up_to_ms is None else bisect_right(ends, up_to_ms)
        return ends[low:high]

    def add(self, slice_end_ms: int, packed: bytes) -> None:
        """Add what arrived to a slice: merged into it, or kept as it is until more has come together."""
        index = self._index()
        known = index.find(slice_end_ms)
        longer = known and known.with_delta(len(packed))
        if longer:
            self._slices.put(_delta_name(longer.end_ms, longer.deltas), packed)
            index.put(longer)
        else:
            index.put(self._merged(known or Slice(slice_end_ms, 0), packed))
        self._write_index(index)

    def read(self, slice_end_ms: int, keys: Iterable[bytes] | None = None) -> dict[bytes, Entry]:
        """Return what the slice holds for these keys (default: for all), large partials included."""
        index = self._index()
        known = index.find(slice_end_ms)
        if known is None:
            return {}
        if known.deltas:
            index.put(self._merged(known))
            self._write_index(index)
        entries = self._base(slice_end_ms)
        wanted = entries if keys is None else (key for key in keys if key in entries)
        return {key: self._whole(slice_end_ms, key, entries[key]) for key in wanted}

    def held(self, slice_end_ms: int) -> tuple[list[bytes], int]:
        """Return the keys that the slice holds, and how many bytes it takes in state.

        Large partials are not read for it: their lengths are in the slice. Nothing is merged.
        """
        known = self._index().find(slice_end_ms)
        if known is None:
            return [], 0
        name = time_key(slice_end_ms)
        keys: dict[bytes, None] = {}
        total = 0
        for part in (name, *_delta_names(known)):
            stored = self._slices.get(part)
            entries = unpack(stored)
            keys.update(dict.fromkeys(entries))
            total += len(part) + len(stored)
            total += sum(len(name) + len(key) + entry.apart for key, entry in entries.items() if entry.apart)
        return list(keys), total

    def index_held(self) -> int:
        """Return how many bytes the index of slices takes in state."""
        return len(self._slices.get(_INDEX) or b"")

    def drop(self, slice_end_ms: int) -> None:
        """Forget a slice."""
        index = self._index()
        known = index.find(slice_end_ms)
        if known is None:
            return
        for key, entry in self._base(slice_end_ms).items():
            if entry.partial is None:
                self._large.remove(time_key(slice_end_ms) + key)
        for name in (time_key(slice_end_ms), *_delta_names(known)):
            self._slices.remove(name)
        index.remove(slice_end_ms)
        self._write_index(index)

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

    def _merged(self, known: Slice, *added: bytes) -> Slice:
        """Merge a slice's deltas and what was added into its base; return how it lies in state then."""
        name, names = time_key(known.end_ms), _delta_names(known)
        arrived: dict[bytes, list[Entry]] = defaultdict(list)
        for packed in (*map(self._slices.get, names), *added):
            for key, entry in unpack(packed).items():
                arrived[key].append(entry)
        entries = self._base(known.end_ms) if known.base_bytes else {}
        for key, parts in arrived.items():
            held = entries.get(key)
            if held is not None:
                parts.append(self._whole(known.end_ms, key, held))
            events, partial, apart = *united(parts, self._merge)[:2], 0
            if len(partial) >= LARGE_PARTIAL_BYTES:
                self._large.put(name + key, partial)
                partial, apart = None, len(partial)
            elif held is not None and held.partial is None:
                self._large.remove(name + key)
            entries[key] = Entry(events, partial, apart)
        base = pack(entries)
        self._slices.put(name, base)
        for delta in names:
            self._slices.remove(delta)
        return Slice(known.end_ms, len(base) + sum(entry.apart for entry in entries.values()))

    def _base(self, slice_end_ms: int) -> dict[bytes, Entry]:
        return unpack(self._slices.get(time_key(slice_end_ms)))

    def _whole(self, slice_end_ms: int, key: bytes, entry: Entry) -> Entry:
        if entry.partial is not None:
            return entry
        return Entry(entry.events, self._large.get(time_key(slice_end_ms) + key))

    def _index(self) -> SliceIndex:
        return SliceIndex.deserialize(self._slices.get(_INDEX))

    def _write_index(self, index: SliceIndex) -> None:
        written = index.serialize()
        if written is None:
            self._slices.remove(_INDEX)
        elif written != self._slices.get(_INDEX):
            self._slices.put(_INDEX, written)


def united(entries: Sequence[Entry], merge: Merge) -> Entry:
    """Return one entry for all of these, one or more, of the same key; none of them lies apart."""
    if len(entries) == 1:
        return entries[0]
    return Entry(sum(entry.events for entry in entries), merge([entry.partial for entry in entries]))


def _delta_names(known: Slice) -> list[bytes]:
    return [_delta_name(known.end_ms, number) for number in range(1, known.deltas + 1)]


def _delta_name(slice_end_ms: int, number: int) -> bytes:
    return time_key(slice_end_ms) + bytes([number])


def _window_key(window: bytes, end_ms: int) -> bytes:
    return window + time_key(end_ms)
