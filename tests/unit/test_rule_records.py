"""What ingest sends to the operator of rules: which columns, in which order, by which shard."""

from __future__ import annotations

import json
import math
from collections import defaultdict

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from rule_job import plan

from operators.batch.event_batch import EventBatch
from operators.ingest.ingest import Ingest
from operators.ingest.source_batch import SourceBatch
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import RuleRecord, decode_rule_record
from operators.rules.rule_records import RuleRecords, is_rules_stream
from operators.shard_keys import stream_of


def records(spec: Plan, *events: dict[str, object]) -> dict[str, RuleRecord]:
    payloads = Payloads.from_messages([json.dumps(event).encode() for event in events])
    _, envelope = Ingest(spec, "json", False, True, False).take(
        SourceBatch(payloads, lambda i: {"offset": i}, ("p",)), 0
    )
    found = [(key, data) for key, data in envelope.records if is_rules_stream(stream_of(key))]
    assert len(dict(found)) == len(found), "one record a shard and batch"
    return {key: decode_rule_record(data) for key, data in found}


def test_a_record_has_all_columns_but_those_of_several_values() -> None:
    derive = {"twice": {"expr": "amount * 2"}, "tags": {"from": "shop", "extract": "#(x)", "all": True}}
    spec = plan({}, event={"derive": derive}, shards=1)
    assert list(spec.resolved_features().events)[-1] == "twice"
    (record,) = records(spec, {"card": "a", "amount": 1.5, "shop": "#x", "t": 7}).values()
    columns = dict(zip(spec.resolved_features().events, record.columns, strict=True))
    assert columns["twice"] == [3.0] and columns["shop"] == ["#x"] and columns["n"] == [None]
    assert "tags" not in columns and record.positions == [b'{"offset":0}']


def test_conditions_of_features_and_of_answers_are_told_by_event() -> None:
    columns = {
        "a": {"kind": "first"},
        "b": {"kind": "first", "where": "ok"},
        "c": {"kind": "since", "where": "n > 1"},
    }
    spec = plan(columns, decide={"where": "n is not null"}, shards=1)
    events = [
        {"card": "x", "t": 1, "ok": True, "n": 1},
        {"card": "x", "t": 2, "ok": None, "n": 2},
        {"card": "x", "t": 3},
    ]
    (record,) = records(spec, *events).values()
    assert record.counts == [bytes([1, 0, 0]), bytes([0, 1, 0])] and record.answers == bytes([1, 1, 0])


@given(st.lists(st.tuples(st.sampled_from([*"abcdefgh", None]), st.integers(0, 99)), max_size=40))
def test_events_keep_their_order_and_an_entity_is_in_one_shard(drawn: list[tuple[str | None, int]]) -> None:
    events = [{"card": card, "n": n, "t": 1_000 - n} for card, n in drawn]
    shards, seen = defaultdict(set), []
    found = records(plan({}), *events) if events else {}
    for shard, record in found.items():
        owners, times = (
            np.frombuffer(record.owners, "<i4").tolist(),
            np.frombuffer(record.times, "<i8").tolist(),
        )
        offsets = [json.loads(position)["offset"] for position in record.positions]
        assert offsets == sorted(offsets) and len(set(record.entities)) == len(record.entities)
        for offset, owner, time_ms in zip(offsets, owners, times, strict=True):
            card = record.entities[owner]
            shards[card].add(shard)
            seen.append(offset)
            assert (card, 1_000 - time_ms) == drawn[offset]
    assert sorted(seen) == [number for number, (card, _) in enumerate(drawn) if card is not None]
    assert all(len(own) == 1 for own in shards.values())


def test_a_double_that_is_no_number_or_infinite_is_null() -> None:
    features = plan({}).resolved_features()
    types = {"string": pl.String, "long": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}
    frame = pl.DataFrame(schema={name: types[type_] for name, type_ in features.events.items()})
    own = pl.DataFrame({"card": ["a"] * 5, "amount": [1.5, math.inf, math.nan, None, -math.inf]})
    batch = EventBatch(pl.concat([frame, own], how="diagonal"), np.arange(5))
    ((_, data),) = RuleRecords(features, None).records(batch, lambda row: b"{}")
    columns = dict(zip(features.events, decode_rule_record(data).columns, strict=True))
    assert columns["amount"] == [1.5, None, None, None, None]
