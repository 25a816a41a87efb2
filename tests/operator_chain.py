"""Drives the Flink functions of all operators without Flink: metrics, state and timers in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from engine import ShardedMap
from pyflink.common import Row
from pyflink.datastream import TimeDomain
from pyflink.metrics import MetricGroup

from operators.first_seen.first_seen_function import FIRST_SEEN, FirstSeenFunction
from operators.gather.gather_function import GATHER_LATE, GatherFunction
from operators.ingest import branches
from operators.ingest.gather_records import is_gather_stream
from operators.ingest.ingest_function import IngestFunction
from operators.ingest.seen_records import is_seen_stream
from operators.ingest.source_batch import SourceBatch
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import decode_final_results
from operators.shard_keys import stream_of
from operators.side_outputs import REJECTS
from operators.similar.similar_function import ItemParser, SimilarFunction, SimilarOnStream
from operators.similar.similar_spec import StreamedItems
from operators.windows.window_function import FINAL, LATE, WindowFunction


class Group(MetricGroup):
    """Metrics in memory; a counter loses what a timer adds to it, as PyFlink's do."""

    def __init__(self, path: tuple[str, ...] = (), top: Group | None = None) -> None:
        self.path, self.top = path, top or self
        if top is None:
            self.in_timer = False
            self.counters: Counter[tuple[str, ...]] = Counter()
            self.gauges: dict[tuple[str, ...], Callable[[], int]] = {}

    def add_group(self, name: str, extra: str | None = None) -> Group:
        return Group((*self.path, name if extra is None else f"{name}={extra}"), self.top)

    def counter(self, name: str) -> Any:
        top, path = self.top, (*self.path, name)
        assert path not in top.counters and path not in top.gauges, f"{path} is there twice"
        top.counters[path] = 0

        class Own:
            def inc(self, n: int = 1) -> None:
                assert type(n) is int
                top.counters[path] += 0 if top.in_timer else n

        return Own()

    def gauge(self, name: str, obj: Callable[[], int]) -> None:
        path = (*self.path, name)
        assert path not in self.top.counters and path not in self.top.gauges, f"{path} is there twice"
        self.top.gauges[path] = obj

    def meter(self, name: str, time_span_in_seconds: int = 60) -> Any:
        raise AssertionError("meters are no whole numbers")

    def distribution(self, name: str) -> Any:
        raise AssertionError("distributions read 0.0 in the Prometheus reporter")

    def read(self) -> dict[str, int]:
        """Return every metric's value, by its path."""
        values = dict(self.counters) | {path: gauge() for path, gauge in self.gauges.items()}
        assert all(type(value) is int for value in values.values()), values
        return {"/".join(path): value for path, value in values.items()}


class Context:
    """What a function is opened with."""

    def __init__(self) -> None:
        self.group, self.maps = Group(), {}

    def get_metric_group(self) -> Group:
        return self.group

    get_metrics_group = get_metric_group

    def get_map_state(self, descriptor: Any) -> ShardedMap:
        return self.maps.setdefault(descriptor.get_name(), ShardedMap())


class BroadcastMap(dict):
    """Broadcast state in memory."""

    def put(self, key: bytes, value: bytes) -> None:
        assert isinstance(key, bytes) and isinstance(value, bytes)
        self[key] = value

    def remove(self, key: bytes) -> None:
        self.pop(key, None)


class Messages:
    """Reads a column of payloads."""

    def read(self, *columns: Any) -> Iterator[tuple[int, SourceBatch]]:
        payloads = Payloads.from_messages(list(columns[0]))
        yield 0, SourceBatch(payloads, lambda i: {"offset": i}, ("p0",))


class Ingested(IngestFunction):
    """Ingest, whose records are taken out of what Flink gets."""

    def sent(self, *payloads: bytes) -> list[tuple[str, str, bytes]]:
        """Return what comes of a batch: the branch, the shard and the record of each."""
        answer = self.eval(pd.Series(list(payloads)))
        assert answer[["branches", "shards", "records"]].iloc[1:].isna().all(axis=None)
        self.watermark_ms = int(answer["watermark_ms"][0])
        return list(zip(*(answer[name][0] for name in ("branches", "shards", "records")), strict=True))


class Operators:
    """Ingest, first seen, gather and windows, in a row, with Flink's part played by this class.

    Args:
        plan: what to run.
        begun_ms: when the job was begun afresh; None for one that may have a former life.
        items: the broadcast state of items to go on from.
        for_rules: whether windows send final results to rules, too.
    """

    def __init__(
        self,
        plan: Plan,
        begun_ms: int | None = None,
        items: BroadcastMap | None = None,
        for_rules: bool = False,
    ) -> None:
        self.context, text = Context(), plan.model_dump_json(by_alias=True)
        self.read = self.context.group.read
        self.ingest = Ingested(text, '"json"', Messages(), False, begun_ms, True)
        self.seen, self.windows = FirstSeenFunction(text), WindowFunction(text, False, for_rules)
        for function in (self.ingest, self.seen, self.windows):
            function.open(self.context)
        self.gather, self.gather_context = GatherFunction(text), Context()
        self.gather.open(self.gather_context)
        streamed = [entry for entry in plan.similar if isinstance(entry.items, StreamedItems)]
        self.similar = SimilarOnStream(text) if streamed else SimilarFunction(text)
        self.parsers = {entry.name: ItemParser(text, entry.name, entry.name) for entry in streamed}
        self.similar.open(self.context)
        for parser in self.parsers.values():
            parser.open(Context())
        self.items = items if items is not None else BroadcastMap()
        self.answers, self.item_rejects = [], []
        self.watermark_ms, self.now_ms, self.key = -(2**63), 0, ""
        self.timers: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        self.records, self.results, self.late, self.totals, self.first_seen = 0, [], [], [], []
        self.final: list[tuple[str, list[bytes]]] = []

    def send(self, *payloads: bytes) -> None:
        """Send a batch through; the watermark follows."""
        for branch, shard, record in self.ingest.sent(*payloads):
            if branch == branches.TOTALS:
                assert json.loads(record)["events"] == len(payloads)
                self.totals.append(json.loads(record))
                continue
            if branch == branches.REJECTS:
                continue
            self.records += 1
            self._turn_to(shard)
            if branch == branches.SEEN:
                self._remembered(self.seen.process_element(record, self))
            elif branch == branches.GATHER:
                self._gathered(self.gather.process_element(record, self))
            elif branch == branches.SIMILAR:
                for block in list(self.similar.process_element(record, self)):
                    self.answers += map(json.loads, block.split("\n"))
            else:
                self._take(self.windows.process_element(record, self))
        self.move_watermark(self.ingest.watermark_ms - 1)

    def send_item(self, name: str, key: bytes | None, value: bytes | None, offset: int = 0) -> None:
        """Send a message of the topic of items of an entry."""
        for made in list(self.parsers[name].process_element(Row(key, value, 0, offset), None)):
            if isinstance(made, tuple):
                if made[0] is REJECTS:
                    self.item_rejects.append(json.loads(made[1]))
            else:
                assert list(self.similar.process_broadcast_element(made, self)) == []

    def get_broadcast_state(self, descriptor: Any) -> BroadcastMap:
        return self.items

    def _remembered(self, outputs: Iterator) -> None:
        for made in list(outputs):
            if isinstance(made, tuple):
                assert made[0] is FIRST_SEEN
                self.first_seen.append(json.loads(made[1]))
            else:
                self._count(made)

    def _gathered(self, outputs: Iterator) -> None:
        for made in list(outputs):
            if isinstance(made, tuple):
                assert made[0] is GATHER_LATE
                self.late.append(json.loads(made[1]))
            else:
                self._count(made)

    def _count(self, record: Row) -> None:
        self._turn_to(record[0])
        self._take(self.windows.process_element(record[1], self))

    def end(self) -> None:
        """End the input."""
        self.move_watermark(2**63 - 1)

    def move_watermark(self, to_ms: int) -> None:
        """Let the watermark rise and fire what is due."""
        self.watermark_ms = max(self.watermark_ms, to_ms)
        for staged in (False, True):
            self._fire(True, self.watermark_ms, staged)

    def pass_time(self, to_ms: int) -> None:
        """Let the wall clock go on and fire what is due."""
        self.now_ms = to_ms
        for staged in (True, False):
            self._fire(False, to_ms, staged)

    def _fire(self, event_time: bool, up_to_ms: int, staged: bool) -> None:
        due = sorted(
            (time_ms, key)
            for time_ms, key in self.timers[event_time]
            if time_ms <= up_to_ms
            and (is_gather_stream(stream_of(key)) or is_seen_stream(stream_of(key))) == staged
        )
        self.timers[event_time].difference_update(due)
        self.event_time = event_time
        self.context.group.in_timer = self.gather_context.group.in_timer = True
        for time_ms, key in due:
            self._turn_to(key)
            if is_gather_stream(stream_of(key)):
                self._gathered(self.gather.on_timer(time_ms, self))
            elif staged:
                self._remembered(self.seen.on_timer(time_ms, self))
            else:
                self._take(self.windows.on_timer(time_ms, self))
        self.context.group.in_timer = self.gather_context.group.in_timer = False

    def _turn_to(self, key: str) -> None:
        self.key = key
        for sharded in (*self.context.maps.values(), *self.gather_context.maps.values()):
            sharded.shard = key

    def _take(self, outputs: Iterator) -> None:
        for output in outputs:
            if isinstance(output, str):
                self.results.append(json.loads(output))
            elif output[0] is LATE:
                self.late.append(json.loads(output[1]))
            else:
                assert output[0] is FINAL
                shard, record = output[1]
                self.final.append((shard, decode_final_results(record).lines))

    def get_current_key(self) -> str:
        return self.key

    def timer_service(self) -> Operators:
        return self

    def time_domain(self) -> TimeDomain:
        return TimeDomain.EVENT_TIME if self.event_time else TimeDomain.PROCESSING_TIME

    def current_watermark(self) -> int:
        return self.watermark_ms

    def current_processing_time(self) -> int:
        return self.now_ms

    def register_event_time_timer(self, time_ms: int) -> None:
        self.timers[True].add((time_ms, self.key))

    def register_processing_time_timer(self, time_ms: int) -> None:
        self.timers[False].add((time_ms, self.key))
