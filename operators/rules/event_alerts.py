"""What alerts and decisions tell of an event."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from operators.records import RuleRecord
from operators.rules.alerts import AlertWriter
from operators.rules.compiled_rule import CompiledRule
from operators.rules.record_columns import RecordColumns, Value
from operators.rules.resolved import Features
from state.history import Pending

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class RecordEvents:
    """Tells of the events of a record; nothing is made before it is asked for.

    Args:
        features: names the columns.
        record: the events.
        columns: their columns, features included.
        owners: the number of each event's entity.
        times: the time of each event.
    """

    def __init__(
        self,
        features: Features,
        record: RuleRecord,
        columns: RecordColumns,
        owners: list[int],
        times: list[int],
    ) -> None:
        """Keep the parts."""
        self._features, self._record, self._columns = features, record, columns
        self._owners, self.times = owners, times

    def key(self, row: int) -> dict[str, Value]:
        """Return the entity of an event."""
        return {self._features.spec.of: self._record.entities[self._owners[row]]}

    def subject(self, row: int) -> bytes:
        """Return what names an event, the same when it comes again: its id, else where it is from."""
        id_ = self.id(row)
        return self.source(row) if id_ is None else _encode(id_)

    def values(self, row: int, rule: CompiledRule) -> dict[str, Value]:
        """Return the values of a rule's columns."""
        return self._columns.row(row, rule.columns)

    def id(self, row: int) -> Value:
        """Return the id of an event, None where it has none."""
        column = self._features.spec.id
        return None if column is None else self._columns.values[column][row]

    def source(self, row: int) -> bytes:
        """Return where an event is from, a JSON object."""
        return self._record.positions[row]

    def about(self, row: int) -> dict[str, object]:
        """Return all that is told of an event."""
        id_ = self.id(row)
        return {
            "event": self._columns.row(row, self._features.events),
            "features": self._columns.row(row, [column.name for column in self._features.columns]),
            **({} if id_ is None else {"event_id": id_}),
            "source": msgspec.Raw(self.source(row)),
        }

    def pending(self, row: int, began_ms: int, within_ms: int) -> Pending:
        """Return an event as a sequence remembers it.

        Args:
            row: the event.
            began_ms: the entity's time at it.
            within_ms: how long the sequence waits.
        """
        told = _encode(self.about(row) | {"event_time_ms": self.times[row]})
        return Pending(began_ms, began_ms + within_ms, self.subject(row), told)


class EventAlerts:
    """Writes the alerts and decisions of rules on events and on sequences.

    Args:
        writer: writes alerts.
        features: names the columns.
    """

    def __init__(self, writer: AlertWriter, features: Features) -> None:
        """Keep the parts."""
        self._writer, self._entity = writer, features.spec.of

    def of_event(self, rule: CompiledRule, events: RecordEvents, row: int, now_ms: int) -> bytes:
        """Return the alert of a rule that speaks of an event."""
        return self._alert(rule, events, row, now_ms, {})

    def of_followed(
        self, rule: CompiledRule, events: RecordEvents, row: int, now_ms: int, began: Pending
    ) -> bytes:
        """Return the alert of a sequence that ends with an event; it is about that event."""
        told = _decode(began.told)
        first = {name: told[name] for name in ("event_id", "source", "event_time_ms") if name in told}
        return self._alert(rule, events, row, now_ms, {"began": first})

    def of_missing(self, rule: CompiledRule, entity: bytes, began: Pending, now_ms: int) -> bytes:
        """Return the alert of a sequence that waited in vain; it is about the event that it began with."""
        told = _decode(began.told)
        time_ms, known = told.pop("event_time_ms"), told["event"] | told["features"]
        values = {name: known.get(name) for name in rule.columns}  # an older version may have known fewer
        about = told | {"due_ms": began.began_ms + rule.rule.within}
        key = {self._entity: _decode(entity)}
        return self._writer.alert(rule, began.subject, "firing", key, values, time_ms, now_ms, about)

    def decision(self, rules: list[CompiledRule], events: RecordEvents, row: int, now_ms: int) -> bytes:
        """Return the answer to an event that rules spoke of, or none did."""
        subject, key, id_ = events.subject(row), events.key(row), events.id(row)
        return self._writer.decision(
            rules,
            subject,
            key,
            events.times[row],
            now_ms,
            msgspec.UNSET if id_ is None else id_,
            events.source(row),
        )

    def _alert(
        self,
        rule: CompiledRule,
        events: RecordEvents,
        row: int,
        now_ms: int,
        more: Mapping[str, object],
    ) -> bytes:
        values, about = events.values(row, rule), events.about(row) | dict(more)
        return self._writer.alert(
            rule, events.subject(row), "firing", events.key(row), values, events.times[row], now_ms, about
        )
