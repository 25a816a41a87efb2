"""From batches to records: shards, slices, local sessions, candidates for the late output."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl
import pytest

from operators.batch.event_batch import EventBatch
from operators.ingest.partials import MetricPartials, session_stream, shard_of
from operators.metric import Metric, resolve_metric
from operators.plan import Plan
from operators.records import SessionRecord, SliceRecord, decode_record
from operators.shard_keys import shard_key, stream_of
from operators.windows.slices import SessionWindow
from state.packed import unpack

NEVER, ALWAYS = -(2**63), 2**63 - 1
ORIGIN = b'{"first": 1}'


def metric(**options: Any) -> Metric:
    plan = Plan.model_validate(
        {
            "name": "p",
            "event": {
                "fields": {"k": "string", "n": "long", "text": "string", "t": "long"},
                "derive": {"tags": {"from": "text", "extract": r"#(\w+)", "all": True}},
                "time": {"field": "t", "unit": "ms"},
            },
            "metrics": [{"name": "m", "kind": "count", "windows": [{"tumbling": "10ms"}], **options}],
        }
    )
    return resolve_metric(plan.metrics[0], plan.event.column_types(), 0, None)


def batch_of(times: list[int], **columns: list[Any]) -> EventBatch:
    return EventBatch(pl.DataFrame({"t": times, **columns}), np.array(times))


def raw(event: int) -> bytes:
    return json.dumps({"event": event}).encode()


def records(of: Metric, batch: EventBatch, late_before_ms: int = NEVER) -> list[tuple[str, Any]]:
    made = MetricPartials(of).records(batch, late_before_ms, raw, ORIGIN)
    return [(shard, decode_record(data)) for shard, data in made]


def events_of(candidates: list | None) -> list[tuple] | None:
    if candidates is None:
        return None
    return [(json.loads(c.key), c.event_time_ms, json.loads(c.event)["event"]) for c in candidates]


def test_a_record_holds_the_keys_of_one_shard_and_slice() -> None:
    times = [1, 2, 3, 11, 12, -1] * 20
    keys = [f"k{n % 9}" for n in range(120)]
    made = records(metric(by=["k"], shards=4), batch_of(times, k=keys))
    counted: Counter[tuple] = Counter()
    assert len({(shard, record.slice_end_ms) for shard, record in made}) == len(made)
    for shard, record in made:
        assert isinstance(record, SliceRecord) and record.candidates is None and record.origin == ORIGIN
        for key, entry in unpack(record.packed).items():
            assert shard == shard_key("m", crc32(key) % 4)
            assert int.from_bytes(entry.partial, "little") == entry.events
            counted[json.loads(key)[0], record.slice_end_ms] += entry.events
    assert counted == Counter((k, t // 10 * 10 + 10) for k, t in zip(keys, times, strict=True))


def test_events_that_do_not_meet_the_condition_leave_no_trace() -> None:
    of = metric(by=["k"], where="n > 1")
    made = records(of, batch_of([1, 12, 3], k=["a", "b", None], n=[2, 1, None]), ALWAYS)
    assert [unpack(r.packed).keys() for _, r in made] == [{b'["a"]'}]
    assert events_of(made[0][1].candidates) == [(["a"], 1, 0)]
    assert records(of, batch_of([1], k=["a"], n=[0])) == []
    nothing = pl.DataFrame(schema={"k": pl.String, "n": pl.Int64})
    assert records(of, EventBatch(nothing, np.array([], np.int64))) == []


@pytest.mark.parametrize(("late_before_ms", "candidates"), [(8, None), (9, [(["a"], 3, 0), (["b"], 1, 1)])])
def test_candidates_come_along_for_slices_that_the_highest_watermark_may_have_closed(
    late_before_ms, candidates
) -> None:
    of = metric(by=["k"], shards=1)
    made = records(of, batch_of([3, 1, 15], k=["a", "b", "a"]), late_before_ms)
    (early, late) = sorted((record for _, record in made), key=lambda record: record.slice_end_ms)
    assert events_of(early.candidates) == candidates
    assert early.origin == (ORIGIN if candidates is None else b"")
    assert (late.candidates, late.origin) == (None, ORIGIN)


def test_without_a_key_all_events_of_a_slice_are_candidates() -> None:
    ((_, record),) = records(metric(), batch_of([3, 1, 4]), ALWAYS)
    assert events_of(record.candidates) == [([], 3, 0), ([], 1, 1), ([], 4, 2)]


def test_an_event_of_several_keys_counts_for_each_and_is_a_candidate_once() -> None:
    of = metric(by=["tags", "k"], shards=2)
    tags = [["a", "b"], [], None, ["b"]]
    made = records(of, batch_of([1, 2, 3, 4], k=["x", "x", "x", "y"], tags=tags), ALWAYS)
    counts = {key: entry.events for _, record in made for key, entry in unpack(record.packed).items()}
    assert counts == {b'["a","x"]': 1, b'["b","x"]': 1, b'[null,"x"]': 1, b'["b","y"]': 1}
    found = [event for _, record in made for event in events_of(record.candidates)]
    assert sorted(event for _, _, event in found) == [0, 2, 3]


def test_a_condition_holds_for_the_event_whatever_its_keys() -> None:
    of = metric(by=["tags"], where="n = 1", shards=1)
    ((_, record),) = records(of, batch_of([1, 2], n=[1, 2], tags=[["a", "b"], ["a", "c"]]))
    assert {key: entry.events for key, entry in unpack(record.packed).items()} == {b'["a"]': 1, b'["b"]': 1}


def local_sessions(made: list[tuple[str, Any]]) -> list[tuple]:
    assert all(isinstance(record, SessionRecord) for _, record in made)
    return sorted(
        (json.loads(s.key), s.first_ms, s.last_ms, s.events, events_of(s.candidates))
        for _, record in made
        for s in record.sessions
    )


def test_local_sessions_are_chains_of_events_no_more_than_the_gap_apart() -> None:
    of = metric(by=["k"], windows=[{"session": "10ms"}], shards=2)
    made = records(of, batch_of([30, 0, 20, 10, 41, 5, -7], k=["a", "a", "a", "a", "a", "b", "b"]))
    assert local_sessions(made) == [
        (["a"], 0, 30, 4, None),
        (["a"], 41, 41, 1, None),
        (["b"], -7, -7, 1, None),
        (["b"], 5, 5, 1, None),
    ]
    assert {shard for shard, _ in made} == {
        shard_key("m@10", shard_of(key, 2)) for key in (b'["a"]', b'["b"]')
    }
    assert all(record.origin == ORIGIN for _, record in made)


def test_events_that_may_be_late_come_by_themselves_and_in_the_order_of_time() -> None:
    of = metric(windows=[{"session": "10ms"}])
    made = records(of, batch_of([30, 4, 0, 2, 3, 2]), late_before_ms=11)
    assert [(s.first_ms, s.last_ms, events_of(s.candidates)) for s in made[0][1].sessions] == [
        (0, 0, [([], 0, 2)]),
        (2, 2, [([], 2, 3)]),
        (2, 2, [([], 2, 5)]),
        (3, 4, None),
        (30, 30, None),
    ]
    assert made[0][1].origin == ORIGIN
    assert records(of, batch_of([0]), late_before_ms=9)[0][1].origin == b""
    assert records(of, batch_of([0]), late_before_ms=8)[0][1].origin == ORIGIN


def test_only_the_windows_that_close_last_ask_for_the_raw_events() -> None:
    of = metric(windows=[{"tumbling": "10ms"}, {"session": "10ms"}, {"session": "90ms"}])
    made = dict(records(of, batch_of([1]), ALWAYS))
    assert made[shard_key("m", 0)].candidates is None
    assert made[shard_key("m@10", 0)].sessions[0].candidates is None
    assert events_of(made[shard_key("m@90", 0)].sessions[0].candidates) == [([], 1, 0)]


def test_streams_and_shards_have_names_that_come_apart_again() -> None:
    of = metric(windows=[{"session": "10ms"}])
    assert session_stream(of, SessionWindow(10)) == "m@10"
    assert stream_of(shard_key("m@10", 3)) == "m@10"


def test_a_key_has_the_same_shard_on_every_machine() -> None:
    assert [shard_of(key, 8) for key in (b"[]", b'["a"]', b'["\xc3\xbc"]')] == [1, 4, 6]
