"""Ingest: envelopes of partials, rejects and a watermark; beats; positions."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from engine import Engine

from operators.ingest.ingest import Ingest
from operators.ingest.source_batch import LONGEST_PAYLOAD, SourceBatch
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import Beat, Envelope, decode_record
from operators.shard_keys import shard_key

PUNCTUAL = {"out_of_orderness": "5ms", "idle_timeout": "40s"}


def plan(metrics: list[dict[str, Any]] | None = None, **event: Any) -> dict[str, Any]:
    return {
        "name": "p",
        "event": {
            "fields": {"k": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
            **PUNCTUAL,
            **event,
        },
        "metrics": metrics or [{"name": "n", "kind": "count", "windows": [{"tumbling": "10ms"}]}],
    }


def ingest_of(given: dict[str, Any], format: str = "json") -> Ingest:
    return Ingest(Plan.model_validate(given), format, True, True, False)


def source(
    *payloads: bytes | None, partitions: list[int] | None = None, names: tuple = ("p0",), **more: Any
) -> SourceBatch:
    where = None if partitions is None else np.array(partitions)
    return SourceBatch(Payloads.from_messages(list(payloads)), lambda i: {"offset": i}, names, where, **more)


def json_event(t: int, k: str = "a") -> bytes:
    return json.dumps({"k": k, "t": t}).encode()


def records(envelope: Envelope) -> list[tuple[str, Any]]:
    return [(shard, decode_record(data)) for shard, data in envelope.records]


def test_a_batch_gives_its_watermark_its_records_and_its_count() -> None:
    watermark_ms, envelope = ingest_of(plan()).take(
        source(json_event(101), json_event(117), json_event(90)), 0
    )
    assert (watermark_ms, envelope.events, envelope.rejects) == (112, 3, [])
    slices = [record.slice_end_ms for _, record in records(envelope) if not isinstance(record, Beat)]
    assert sorted(slices) == [100, 110, 120]


def test_every_partition_has_its_own_clock() -> None:
    ingest = ingest_of(plan())
    batch = source(json_event(1000), json_event(50), json_event(900), partitions=[1, 0, 1], names=("a", "b"))
    assert ingest.take(batch, 0)[0] == 45
    assert ingest.take(source(json_event(2000), names=("a",)), 1)[0] == 995


def test_events_at_a_negative_time_are_taken_where_the_clock_is_not_checked() -> None:
    given = plan(min_time="off")
    watermark_ms, envelope = ingest_of(given).take(source(json_event(-101)), 0)
    assert (watermark_ms, envelope.rejects) == (-106, [])


def test_what_is_no_event_is_a_reject_with_its_position_and_payload() -> None:
    payloads = [
        json_event(5),
        b"{broken",
        None,
        b"\xff\xfe",
        b'{"k": "a"}',
        b'{"k": 3, "t": 1}',
        json_event(10**13),
    ]
    _, envelope = ingest_of(plan()).take(source(*payloads), 0)
    found = {reject["offset"]: reject for reject in map(json.loads, envelope.rejects)}
    assert envelope.events == 7 and len(envelope.rejects) == 6
    assert {offset: reject["reason"] for offset, reject in found.items()} == {
        1: "malformed_json",
        2: "empty_payload",
        3: found[3]["reason"],
        4: "bad_time",
        5: "wrong_type",
        6: "too_far_in_future",
    }
    assert (found[1]["payload"], found[2]["payload"], found[3]["payload_base64"]) == ("{broken", None, "//4=")


def test_a_reject_of_a_message_of_many_events_names_the_one() -> None:
    message = b'{"k":"a","t":1}\n\n{"k":"b"}\n{"k":"c","t":3}\nnonsense'
    _, envelope = ingest_of(plan(), "ndjson").take(source(message, json_event(4)), 0)
    found = [(r["offset"], r["index"], r["payload"]) for r in map(json.loads, envelope.rejects)]
    assert sorted(found) == [(0, 1, '{"k":"b"}'), (0, 3, "nonsense")]
    assert envelope.events == 5


def test_a_late_event_of_a_message_of_many_is_the_one_with_its_index() -> None:
    given = plan()
    engine = Engine(given, format="ndjson")
    engine.send_raw(json_event(500))
    engine.move_watermark(100)
    engine.send_raw(b'{"k":"a","t":300}\n{"k":"b","t":7}')
    (late,) = engine.late
    assert (late["payload"], late["offset"], late["index"]) == ('{"k":"b","t":7}', 1, 1)


def test_the_time_of_the_record_serves_where_the_pipeline_says_so() -> None:
    given = plan(time={"kafka_timestamp": True})
    batch = source(b'{"k": "a"}', b"broken", b'{"k": "b"}', record_time_ms=np.array([40, 7, -1]))
    watermark_ms, envelope = ingest_of(given).take(batch, 0)
    assert (watermark_ms, sorted(json.loads(r)["offset"] for r in envelope.rejects)) == (35, [1, 2])


def test_the_first_batch_beats_for_every_shard_and_later_ones_where_silence_matters() -> None:
    metrics = [
        {"name": "n", "kind": "count", "shards": 2, "windows": [{"tumbling": "10ms"}, {"session": "7ms"}]},
        {"name": "m", "kind": "count", "windows": [{"session": "5ms"}]},
        {"name": "f", "kind": "first_seen", "of": "k", "value_shards": 2, "windows": [{"tumbling": "10ms"}]},
    ]
    streams = {"n": 2, "n@7": 2, "m@5": 1, "f": 1, "f@seen": 2}
    everyone = [shard_key(stream, shard) for stream, shards in streams.items() for shard in range(shards)]

    def beats(ingest: Ingest, now_ms: int) -> list[str]:
        envelope = ingest.take(source(), now_ms)[1]
        return [shard for shard, record in records(envelope) if isinstance(record, Beat)]

    advancing = ingest_of(plan(metrics, on_idle="advance"))
    assert [beats(advancing, now) for now in (7, 10_006, 10_007, 10_008, 20_007)] == [
        everyone,
        [],
        everyone,
        [],
        everyone,
    ]
    waiting = ingest_of(plan(metrics))
    assert [beats(waiting, now) for now in (7, 10**9)] == [everyone, []]


@pytest.mark.parametrize("on_idle", ["wait", "advance"])
def test_an_empty_batch_is_nothing_but_beats(on_idle) -> None:
    watermark_ms, envelope = ingest_of(plan(on_idle=on_idle)).take(source(), 0)
    assert (watermark_ms, envelope.events, envelope.rejects, len(envelope.records)) == (None, 0, [], 1)


@pytest.mark.parametrize(
    ("payload", "field", "shown"),
    [
        (b"x" * 200_000, "payload", "x" * LONGEST_PAYLOAD),
        ("\N{EURO SIGN}".encode() * 60_000, "payload", "\N{EURO SIGN}" * (LONGEST_PAYLOAD // 3)),
        (b"\xff" * 200_000, "payload_base64", b64encode(b"\xff" * LONGEST_PAYLOAD).decode()),
        (b"x" * LONGEST_PAYLOAD, "payload", "x" * LONGEST_PAYLOAD),
    ],
    ids=["ascii", "cut within a character", "no text", "just short enough"],
)
def test_of_a_payload_too_long_to_be_sent_on_the_beginning_is_shown(payload, field, shown) -> None:
    _, envelope = ingest_of(plan()).take(source(payload), 0)
    reject = json.loads(envelope.rejects[0])
    assert reject[field] == shown
    assert reject.get("payload_bytes", LONGEST_PAYLOAD) == len(payload)


def test_the_longest_payload_fits_into_a_message_whatever_is_in_it() -> None:
    _, envelope = ingest_of(plan()).take(source(b"\0" * 1_000_000, b"\xff" * 1_000_000), 0)
    assert max(map(len, envelope.rejects)) < 1_000_000
