"""What travels from ingest to windows and on; never kept longer than a checkpoint's in-flight data.

MessagePack arrays, each tagged with its name and version, so that a newer job refuses what it cannot read.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from state.message_pack import reader


class LateCandidate(msgspec.Struct, array_like=True):
    """An event that could be late, with all that the late output says of it.

    Attributes:
        key: the metric's key as canonical JSON.
        event_time_ms: its event time.
        event: its payload and position, a JSON object.
    """

    key: bytes
    event_time_ms: int
    event: bytes


class Beat(msgspec.Struct, array_like=True, tag="beat1"):
    """Tells a shard that the source is alive, so that it follows the watermark without having data."""


class SliceRecord(msgspec.Struct, array_like=True, tag="slice1"):
    """The partials of one shard and slice from one batch.

    Attributes:
        slice_end_ms: names the slice.
        packed: the keys, their events and partials, see `state.packed`.
        candidates: each event that may be late; None where ingest knows of none.
        origin: where the batch comes from, a JSON object; empty where `candidates` are there.
    """

    slice_end_ms: int
    packed: bytes
    candidates: list[LateCandidate] | None
    origin: bytes


class LocalSession(msgspec.Struct, array_like=True):
    """Events of one key within one batch, none more than the gap from the next."""

    key: bytes
    first_ms: int
    last_ms: int
    events: int
    partial: bytes
    candidates: list[LateCandidate] | None


class SessionRecord(msgspec.Struct, array_like=True, tag="session1"):
    """The local sessions of one shard from one batch, and where the batch comes from."""

    sessions: list[LocalSession]
    origin: bytes


class Progress(msgspec.Struct, array_like=True, tag="progress1"):
    """Tells the windows of a metric that one shard of the stage before them has sent all up to some time.

    Attributes:
        shard: the number of the stage's shard.
        watermark_ms: windows that end a millisecond later or before have got all from it; the greatest int64
            at the input's end.
    """

    shard: int
    watermark_ms: int


class SeenPane(msgspec.Struct, array_like=True):
    """A key and a slice that events are in, and those that may be late; None where ingest knows of none."""

    slice_end_ms: int
    key: bytes
    candidates: list[LateCandidate] | None


class SeenRecord(msgspec.Struct, array_like=True, tag="seen1"):
    """The events of one batch whose values are of one shard of a first-seen metric.

    Attributes:
        panes: the keys and slices that they are in.
        hashes: the two words of each different value, u64 little-endian.
        values: those values; None where nobody wants to know them.
        owners: the number of each event's value, u32 little-endian, in the order of the events.
        groups: the number of each event's pane, u32 little-endian.
        times: the time of each event in milliseconds, i64 little-endian.
        origin: where the batch comes from, a JSON object.
    """

    panes: list[SeenPane]
    hashes: bytes
    values: list[str | int | float | bool] | None
    owners: bytes
    groups: bytes
    times: bytes
    origin: bytes


class EnrichRecord(msgspec.Struct, array_like=True, tag="enrich1"):
    """The events of one batch that are to be enriched and whose users are of one shard.

    Attributes:
        frame: the events, an Arrow IPC stream.
        users: the two words of each different user's hash, u64 little-endian.
        owners: the number of each event's user, i32 little-endian, -1 where it has none.
        times: the time of each event in milliseconds, i64 little-endian.
        actions: the different actions.
        action_codes: the number of each event's action, i32 little-endian, -1 where it has none; empty where
            actions are not counted.
        values: what each event adds to its action's total, f64 little-endian; empty where nothing is added.
    """

    frame: bytes
    users: bytes
    owners: bytes
    times: bytes
    actions: list[str]
    action_codes: bytes
    values: bytes


class AnnotatedRecord(msgspec.Struct, array_like=True, tag="annotated1"):
    """An `EnrichRecord` with the running estimates by then.

    Attributes:
        frame: as there, and so are all others up to `action_codes`.
        counts: how often each event's action came, it included, i64 little-endian.
        totals: the total of each event's action, f64 little-endian, NaN where it is not kept; empty where
            nothing is added up.
        unique_users: the estimate of different users.
    """

    frame: bytes
    users: bytes
    owners: bytes
    times: bytes
    actions: list[str]
    action_codes: bytes
    counts: bytes
    totals: bytes
    unique_users: int


class SimilarRecord(msgspec.Struct, array_like=True, tag="similar1"):
    """The events of one batch that ask for similar items, or touch an item, whose queries are of one shard.

    Attributes:
        values: the different queries: items, texts or users.
        owners: the number of each event's query, u32 little-endian, in the order of the events.
        asks: whether each event asks, a byte, 0 or 1.
        items: the different items that are touched.
        touches: the number of the item that each event touches, i32 little-endian, -1 where it touches none;
            empty where touches do not count.
        times: the time of each event in milliseconds, i64 little-endian.
        positions: where each event that asks is from, a JSON object.
    """

    values: list[str | int]
    owners: bytes
    asks: bytes
    items: list[str | int]
    touches: bytes
    times: bytes
    positions: list[bytes]


class RuleRecord(msgspec.Struct, array_like=True, tag="rule1"):
    """The events of one batch that rules see and whose entities are of one shard, in their order.

    Records may be of a few events each, so their columns are lists: these are read in microseconds.

    Attributes:
        columns: the values of each column that rules may read, in the order in which the plan has them.
        entities: the different entities.
        owners: the number of each event's entity, i32 little-endian; no event is without one.
        times: the time of each event in milliseconds, i64 little-endian.
        counts: for each feature with a condition, in the order of features, whether each event counts for it,
            a byte each, 0 or 1.
        answers: whether each event is to be answered, a byte each, 0 or 1.
        positions: where each event is from, a JSON object.
    """

    columns: list[list[str | int | float | bool | None]]
    entities: list[str | int | float | bool]
    owners: bytes
    times: bytes
    counts: list[bytes]
    answers: bytes
    positions: list[bytes]


class RuleChange(msgspec.Struct, array_like=True, tag="rulechange1"):
    """A rule that takes effect, as the keeper of rules sends it to all workers.

    Attributes:
        name: the rule's name.
        version: rises with every change of the rule.
        rule: the rule as JSON; None where it was taken away.
    """

    name: str
    version: int
    rule: bytes | None


class FinalResults(msgspec.Struct, array_like=True, tag="results1"):
    """Final results of one shard of a metric, in their order, for rules on results.

    Attributes:
        lines: the results, each a JSON object.
    """

    lines: list[bytes]


class ItemRecord(msgspec.Struct, array_like=True, tag="item1"):
    """A change of a catalogue that is a stream.

    Attributes:
        catalogue: the name of the entry of `similar`.
        item: the item's id.
        vector: as `state.item_state` writes it; None where the item is taken away.
    """

    catalogue: str
    item: str | int
    vector: bytes | None


class Envelope(NamedTuple):
    """All that one ingest call made.

    Attributes:
        events: events read, rejected ones included.
        rejects: each a JSON object as the reject output has it.
        records: shard key and encoded record, in order.
    """

    events: int
    rejects: list[bytes]
    records: list[tuple[str, bytes]]


class RejectReason(msgspec.Struct):
    """What is read of a reject to count it."""

    reason: str
    lines: int = 1


Record = Beat | SliceRecord | SessionRecord | Progress
encode = msgspec.msgpack.Encoder().encode
decode_record = reader(Record, "a record for windows")
decode_seen = reader(Beat | SeenRecord, "a record of values")
decode_enrich = reader(EnrichRecord, "a record to enrich")
decode_annotated = reader(AnnotatedRecord, "an enriched record")
decode_similar = reader(SimilarRecord, "a record of questions")
decode_rule_record = reader(RuleRecord | Beat, "a record for rules")
decode_rule_change = reader(RuleChange, "a change of a rule")
decode_final_results = reader(FinalResults, "final results")
decode_item = reader(ItemRecord, "a change of an item")
decode_reason = msgspec.json.Decoder(RejectReason).decode
