"""JSON and ndjson: lines of a known layout all at once, every other event strictly one by one.

Most producers write every event with the same keys in the same order. The layout is learned from the lines
themselves and serves as a template; a line that fits is read by array arithmetic, at a fraction of the cost
of decoding it. What does not fit exactly goes to the strict decoder, which alone decides what an event is:
templates change how fast a batch is read, never what comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from operators.parsing.byte_words import Words
from operators.parsing.event_store import EventStore
from operators.parsing.events import Events, lines_of, whole_payloads
from operators.parsing.json_template import learn_template
from operators.parsing.parsed import FieldPaths, Parsed, Reject
from operators.parsing.payloads import Payloads
from operators.parsing.strict_json import BadEvent, StrictJson, plan_leaves
from operators.parsing.template_scan import TemplateScan

FEWEST_TO_SCAN = 1000
"""Below this many lines, decoding them one by one is cheaper than setting up the arrays."""

_BLOCK = 12_000
"""Lines read in step: so few that their bytes stay in the processor's cache from one value to the next."""

_MOST_TEMPLATES = 8
_MOST_ATTEMPTS = 6
_FIRST_PRINTABLE = 0x20


class JsonParser:
    """Reads payloads of JSON objects, one a payload or one a line."""

    def __init__(self, fields: FieldPaths, many: bool, fewest_to_scan: int = FEWEST_TO_SCAN) -> None:
        """Prepares for the declared fields.

        Args:
            fields: the declared fields.
            many: whether a payload holds one event a line (ndjson) instead of one event.
            fewest_to_scan: batches of fewer events are decoded one by one.

        Raises:
            ValueError: a path cannot be read, or two contradict each other.
        """
        self._leaves, self._leaf_of = plan_leaves(fields)
        self._strict = StrictJson(self._leaves)
        self._many = many
        self._fewest_to_scan = fewest_to_scan
        self._scans: list[TemplateScan] = []

    def parse(self, payloads: Payloads) -> Parsed:
        """Reads every event of a batch; what cannot be read is a reject, never an exception."""
        events, rejects = lines_of(payloads) if self._many else whole_payloads(payloads)
        count = len(events.starts)
        store = EventStore(events.data, events.starts, [leaf.type for leaf in self._leaves])
        left = self._scan(events, store) if count >= self._fewest_to_scan else np.arange(count)
        dropped = self._decode(events, left, store, rejects)
        keep = None
        if dropped:
            accepted = np.ones(count, bool)
            accepted[dropped] = False
            keep = np.flatnonzero(accepted)
        series = store.series(keep)
        frame = pl.DataFrame({name: series[leaf] for name, leaf in self._leaf_of.items()})
        rejects.sort(key=lambda reject: (reject.row, reject.index or 0))
        row = events.row if keep is None else events.row[keep]
        index = events.index if keep is None or events.index is None else events.index[keep]
        return Parsed(frame, row, index, rejects)

    def _scan(self, events: Events, store: EventStore) -> np.ndarray:
        """Reads the events that fit a template into the store; returns the numbers of the others."""
        words = Words(events.data)
        plain = _plain_events(events, words)
        left = np.flatnonzero(plain)
        others = np.flatnonzero(~plain)
        enough = max(self._fewest_to_scan // 10, len(left) // 100, 1)
        for scan in list(self._scans):
            if len(left) < enough:
                break
            before = len(left)
            left = _apply(scan, words, events, left, store)
            if before - len(left) < enough:
                self._scans.remove(scan)
        for attempt in range(_MOST_ATTEMPTS):
            if len(left) < enough:
                break
            # Spread over the batch, so that a run of odd lines does not use up the attempts.
            scan = self._learn(events, int(left[len(left) * attempt // _MOST_ATTEMPTS]))
            if scan is None:
                continue
            before = len(left)
            left = _apply(scan, words, events, left, store)
            if before - len(left) >= enough:
                self._scans = [*self._scans, scan][-_MOST_TEMPLATES:]
        return np.sort(np.concatenate((left, others))) if len(others) else left

    def _learn(self, events: Events, event: int) -> TemplateScan | None:
        raw = events.raw(event)
        try:
            self._strict.decode(raw)
        except BadEvent:
            return None
        template = learn_template(raw, self._leaves)
        return None if template is None else TemplateScan(template)

    def _decode(
        self, events: Events, numbers: np.ndarray, store: EventStore, rejects: list[Reject]
    ) -> list[int]:
        """Decodes events one by one into the store; returns the numbers of those that are rejects."""
        data, decode = events.data, self._strict.decode
        records: list[Any] = []
        dropped: list[int] = []
        spans = zip(events.starts[numbers].tolist(), events.ends[numbers].tolist(), strict=True)
        for number, (start, end) in zip(numbers.tolist(), spans, strict=True):
            try:
                records.append(decode(data[start:end]))
            except BadEvent as bad:
                dropped.append(number)
                rejects.append(events.reject(number, bad.reason, bad.detail))
        if records:
            accepted = np.setdiff1d(numbers, dropped, assume_unique=True) if dropped else numbers
            store.add_values(accepted, self._strict.columns(records))
        return dropped


def _apply(
    scan: TemplateScan, words: Words, events: Events, left: np.ndarray, store: EventStore
) -> np.ndarray:
    """Reads the events among `left` that fit into the store; returns the others."""
    unmatched = np.ones(len(left), bool)
    for begin in range(0, len(left), _BLOCK):
        block = left[begin : begin + _BLOCK]
        matched = scan.match(words, events.starts[block], events.ends[block])
        store.add_matched(block if len(matched.rows) == len(block) else block[matched.rows], matched)
        unmatched[begin + matched.rows] = False
    return left[unmatched]


def _plain_events(events: Events, words: Words) -> np.ndarray:
    """Tells which events a template may read: no backslash, no control character, valid UTF-8, margins."""
    starts, ends = events.starts, events.ends
    plain = (starts >= 8) & (ends <= words.limit) & (ends > starts)
    plain &= ~events.holding("\\")
    region = words.bytes[int(starts[0]) : int(ends[-1])]
    # At least one newline lies between two events: if there are no more control characters, none is inside.
    if np.count_nonzero(region < _FIRST_PRINTABLE) != len(starts) - 1:
        plain[events.at(np.flatnonzero(words.bytes < _FIRST_PRINTABLE))] = False
    plain &= events.in_utf8()
    return plain
