"""Results, retractions and late events as JSON."""

from __future__ import annotations

import json
from itertools import combinations

from operators.metric import Metric, resolve_metric
from operators.plan import Plan
from operators.records import LateCandidate
from operators.windows.results import ResultWriter, result_id

TUMBLING = {"type": "tumbling", "start_ms": 0, "end_ms": 60_000, "size_ms": 60_000}
SESSION = {"type": "session", "start_ms": 0, "end_ms": 60_000, "gap_ms": 60_000}


def metric(**options: object) -> Metric:
    plan = Plan.model_validate(
        {
            "name": "p",
            "event": {
                "fields": {"k": "string", "n": "long", "t": "long"},
                "time": {"field": "t", "unit": "ms"},
            },
            "metrics": [{"name": "m", "kind": "count", "windows": [{"tumbling": "1m"}], **options}],
        }
    )
    return resolve_metric(plan.metrics[0], plan.event.column_types(), 0, None)


def test_a_result_says_all_that_is_known_of_it() -> None:
    writer = ResultWriter("p", metric(by=("k", "n")), False)
    text = writer.result(b'["\xc3\xbc",null]', TUMBLING, 3, (3).to_bytes(8, "little"), 2, False).text
    assert json.loads(text) == {
        "id": result_id("p", "m", b'["\xc3\xbc",null]', TUMBLING),
        "pipeline": "p",
        "metric": "m",
        "kind": "count",
        "key": {"k": "ü", "n": None},
        "window": TUMBLING,
        "events": 3,
        "value": 3,
        "lower": 3,
        "upper": 3,
        "confidence": 1.0,
        "revision": 2,
        "final": False,
    }


def test_without_by_the_key_is_empty() -> None:
    writer = ResultWriter("p", metric(), False)
    assert json.loads(writer.result(b"[]", TUMBLING, 1, b"\x01" + b"\0" * 7, 0, True).text)["key"] == {}


def test_a_retraction_has_the_id_of_what_it_takes_back() -> None:
    writer = ResultWriter("p", metric(), False)
    sent = json.loads(writer.result(b"[]", SESSION, 1, b"\x01" + b"\0" * 7, 0, True).text)
    assert json.loads(writer.retraction(b"[]", SESSION, 1).text) == {
        **{name: sent[name] for name in ("id", "pipeline", "metric", "kind", "key", "window")},
        "events": 0,
        "revision": 1,
        "final": True,
        "retracted": True,
    }


def test_ids_differ_in_all_that_names_a_window_and_in_nothing_else() -> None:
    arguments = [
        ("p", "m", b"[]", TUMBLING),
        ("q", "m", b"[]", TUMBLING),
        ("p", "n", b"[]", TUMBLING),
        ("p", "m", b'["a"]', TUMBLING),
        ("p", "m", b'["a",null]', TUMBLING),
        ("p", "m", b"[]", TUMBLING | {"start_ms": -60_000, "end_ms": 0}),
        ("p", "m", b"[]", TUMBLING | {"size_ms": 30_000}),
        ("p", "m", b"[]", TUMBLING | {"type": "sliding", "every_ms": 60_000}),
        ("p", "m", b"[]", TUMBLING | {"type": "sliding", "every_ms": 30_000}),
        ("p", "m", b"[]", SESSION),
        ("p", "m", b"[]", SESSION | {"gap_ms": 1}),
    ]
    ids = [result_id(*each) for each in arguments]
    assert all(one != other for one, other in combinations(ids, 2))
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)
    assert result_id("p", "m", b"[]", SESSION | {"end_ms": 99_000}) == ids[-2], (
        "a session that grows is the same"
    )


def test_the_id_of_a_window_does_not_change_from_version_to_version() -> None:
    assert result_id("ecommerce", "visits", b'["a"]', TUMBLING) == "8f96ea5ae281ce7749deef691df79526"


def test_late_events_that_were_foreseen_come_one_by_one() -> None:
    writer = ResultWriter("p", metric(by=("k",)), False)
    event = b'{"payload": "raw", "topic": "t", "partition": 0, "offset": 7}'
    (late,) = writer.late([LateCandidate(b'["a"]', -3, event)], {b'["a"]': 1}, b"", 50)
    assert late.events == 1
    assert json.loads(late.text) == {
        "payload": "raw",
        "topic": "t",
        "partition": 0,
        "offset": 7,
        "metric": "m",
        "key": {"k": "a"},
        "event_time_ms": -3,
        "watermark_ms": 50,
    }


def test_late_events_that_were_not_foreseen_are_counted_by_key() -> None:
    writer = ResultWriter("p", metric(by=("k",)), False)
    late = writer.late(None, {b'["a"]': 2, b"[null]": 1}, b'{"first": {"line": 1}}', 50)
    assert [
        (each.events, json.loads(each.text)["key"], json.loads(each.text)["events"]) for each in late
    ] == [
        (2, {"k": "a"}, 2),
        (1, {"k": None}, 1),
    ]
    assert json.loads(late[0].text)["batch"] == {"first": {"line": 1}}
    assert writer.late([], {b'["a"]': 2}, b"", 50) == []
