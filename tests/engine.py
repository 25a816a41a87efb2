"""A single-process engine that drives ingest and the window runners as Flink does.

State is dicts, timers are sets, and time is moved by the test. What Flink promises is kept: a bundle of
records sees one watermark; timers up to a new watermark fire in order and see that watermark; timers that a
callback asks for in the past wait for the next watermark; after a restart the watermark starts anew. Of what
Flink does not promise the worst is done: windows see a new watermark before anything of the batch that raises
it has come through a stage.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from operators.first_seen.first_seen import FirstSeenEvent, FirstSeenRunner
from operators.first_seen.seen_shards import SeenShards
from operators.gather.runner import GatherRunner
from operators.ingest.gather_records import gather_stream, is_gather_stream
from operators.ingest.ingest import Ingest
from operators.ingest.partials import session_stream
from operators.ingest.seen_records import is_seen_stream, seen_stream
from operators.ingest.source_batch import SourceBatch
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import decode_record, decode_seen, decode_similar
from operators.shard_keys import stream_of
from operators.similar.similar_runner import SimilarRunner
from operators.windows.delay import Delayed, DelayedTimers
from operators.windows.results import Late, Result, ResultWriter
from operators.windows.runner import Clock, Outputs, Runner
from operators.windows.sessions import SessionRunner
from operators.windows.silence import Silence
from operators.windows.staged import time_windows
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState
from state.gather_state import GatherState
from state.session_state import SessionState
from state.window_state import WindowState

WINDOW_MAPS = ("slices", "large", "revisions", "sessions", "clock")
MAPS = (*WINDOW_MAPS, "seen", "gathered", "profiles")


class ShardedMap:
    """One keyed map of bytes to bytes: what it holds depends on the shard at hand."""

    def __init__(self) -> None:
        self.shards: dict[str, dict[bytes, bytes]] = defaultdict(dict)
        self.shard = ""
        self.reads = 0

    def get(self, key: bytes) -> bytes | None:
        self.reads += 1
        return self.shards[self.shard].get(key)

    def put(self, key: bytes, value: bytes) -> None:
        assert isinstance(key, bytes) and isinstance(value, bytes)
        self.shards[self.shard][key] = value

    def remove(self, key: bytes) -> None:
        self.shards[self.shard].pop(key, None)

    def items(self) -> list[tuple[bytes, bytes]]:
        return list(self.shards[self.shard].items())


@dataclass
class Snapshot:
    """What a checkpoint holds: keyed state and timers, no clock."""

    state: dict[str, dict[str, dict[bytes, bytes]]]
    event_timers: set[tuple[int, str]] = field(default_factory=set)
    clock_timers: set[tuple[int, str]] = field(default_factory=set)


class Engine:
    """Runs a plan.

    Args:
        plan: the plan, as the pipeline file has it.
        snapshot: what to go on from; None for a job that starts afresh.
        follow: whether the watermark is the one that ingest gives; else the test moves it, and ingest,
            without one of its own, takes every event for one that may be late.
        now_ms: the wall clock at the start.
        with_sketch: whether results carry sketches.
        stages_first: whether windows see a new watermark only when all of the batch has come through a stage.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        snapshot: Snapshot | None = None,
        *,
        follow: bool = False,
        now_ms: int = 0,
        with_sketch: bool = False,
        format: str = "json",
        stages_first: bool = False,
    ) -> None:
        self.plan = Plan.model_validate(plan)
        self.watermark_ms, self.now_ms, self._follow = MIN_TIME_MS, now_ms, follow
        self._stages_ms, self._stages_first = MIN_TIME_MS, stages_first
        self.all_heard = follow
        self.results: list[dict[str, Any]] = []
        self.late: list[dict[str, Any]] = []
        self.rejects: list[dict[str, Any]] = []
        self.first_seen: list[dict[str, Any]] = []
        self.similar: list[dict[str, Any]] = []
        self.records: list[tuple[str, Any]] = []
        self.maps = {name: ShardedMap() for name in MAPS}
        self._event_timers: set[tuple[int, str]] = set()
        self._clock_timers: set[tuple[int, str]] = set()
        self._offset = 0
        self._shard = ""
        if snapshot is not None:
            for name, shards in copy.deepcopy(snapshot.state).items():
                self.maps[name].shards.update(shards)
            self._event_timers, self._clock_timers = set(snapshot.event_timers), set(snapshot.clock_timers)
        self.ingest = Ingest(self.plan, format, False, follow and snapshot is None, True)
        self._runners = dict(self._build(with_sketch))
        types = self.plan.event.column_types()
        self._seen_runners = {
            seen_stream(metric): FirstSeenRunner(
                metric,
                SeenShards(metric.seen, metric.seen.of, types[metric.seen.of], self.maps["seen"]),
                self,
            )
            for metric in self.plan.resolved_metrics()
            if metric.seen is not None
        }

        self.similar_runners = {
            answerer.stream: SimilarRunner(answerer, self.maps["profiles"])
            for answerer in self.plan.resolved_similar()
        }

    def send(self, *events: dict[str, Any], partition: str = "p0") -> list[dict[str, Any]]:
        """Ingest one batch of events of one partition; return the results that come of it at once."""
        return self.send_raw(*(json.dumps(event).encode() for event in events), partition=partition)

    def send_raw(self, *payloads: bytes | None, partition: str = "p0") -> list[dict[str, Any]]:
        """Ingest one batch of payloads."""
        first = self._offset
        self._offset += len(payloads)
        source = SourceBatch(
            Payloads.from_messages(list(payloads)),
            lambda i: {"topic": "events", "partition": partition, "offset": first + i},
            (partition,),
            all_heard=self.all_heard,
        )
        watermark_ms, envelope = self.ingest.take(source, self.now_ms)
        self.rejects += [json.loads(reject) for reject in envelope.rejects]
        before = len(self.results)
        for shard, data in envelope.records:
            if not _is_staged(shard):
                self._take(shard, data)
        to_ms = watermark_ms - 1 if self._follow and watermark_ms is not None else MIN_TIME_MS
        self._go_on(to_ms, [(shard, data) for shard, data in envelope.records if _is_staged(shard)])
        return self.results[before:]

    def move_watermark(self, to_ms: int) -> list[dict[str, Any]]:
        """Let the watermark rise; return the results of the timers that this fires."""
        before = len(self.results)
        self._go_on(to_ms, [])
        return self.results[before:]

    def _go_on(self, to_ms: int, staged: list[tuple[str, bytes]]) -> None:
        """Let stages and windows get a new watermark, and stages what comes before it."""
        if not self._stages_first:
            self._move_windows(to_ms)
        for shard, data in staged:
            self._take(shard, data)
        if to_ms > self._stages_ms:
            self._stages_ms = to_ms
            self._fire(to_ms, staged=True)
        if self._stages_first:
            self._move_windows(to_ms)

    def _move_windows(self, to_ms: int) -> None:
        if to_ms > self.watermark_ms:
            self.watermark_ms = to_ms
            self._fire(to_ms, staged=False)

    def _fire(self, to_ms: int, staged: bool) -> None:
        """Call the event-time timers of the stages or of the windows that are due, in order."""
        due = sorted(
            timer for timer in self._event_timers if timer[0] <= to_ms and _is_staged(timer[1]) == staged
        )
        self._event_timers.difference_update(due)
        for time_ms, shard in due:
            self._show(shard)
            seen = self._seen_runners.get(stream_of(shard))
            if seen is not None:
                self._emit(seen.on_event_time(shard, self._stages_ms))
            else:
                self._emit(self._turn_to(shard).on_event_time(time_ms, self._clock()))

    def move_clock(self, to_ms: int) -> list[dict[str, Any]]:
        """Let the wall clock go on; return the results of the timers that this fires."""
        before = len(self.results)
        while due := sorted(timer for timer in self._clock_timers if timer[0] <= to_ms):
            time_ms, shard = due[0]
            self._clock_timers.discard(due[0])
            self.now_ms = max(self.now_ms, time_ms)
            self._emit(self._turn_to(shard).on_processing_time(time_ms, self._clock()))
        self.now_ms = max(self.now_ms, to_ms)
        return self.results[before:]

    def end(self) -> list[dict[str, Any]]:
        """End the input: all event-time timers fire."""
        return self.move_watermark(END_OF_TIME_MS)

    def snapshot(self) -> Snapshot:
        """Return a copy of state and timers."""
        state = {
            name: {shard: dict(held) for shard, held in m.shards.items()} for name, m in self.maps.items()
        }
        return Snapshot(state, set(self._event_timers), set(self._clock_timers))

    def held(self) -> dict[tuple[str, str], list[bytes]]:
        """Return the keys of all that is in state but for the clocks, by map and shard."""
        return {
            (name, shard): sorted(held)
            for name, sharded in self.maps.items()
            for shard, held in sharded.shards.items()
            if held and name != "clock"
        }

    def timers(self) -> int:
        """Return how many timers there are."""
        return len(self._event_timers) + len(self._clock_timers)

    def at_event_time(self, time_ms: int) -> None:
        """Register a timer for the shard at hand."""
        assert MIN_TIME_MS <= time_ms <= END_OF_TIME_MS
        self._event_timers.add((time_ms, self._shard))

    def at_processing_time(self, time_ms: int) -> None:
        """Register a timer for the shard at hand."""
        self._clock_timers.add((time_ms, self._shard))

    def _build(self, with_sketch: bool) -> Iterable[tuple[str, Runner]]:
        slices, large, revisions, sessions, clock = (self.maps[name] for name in WINDOW_MAPS)
        event = self.plan.event
        silence = Silence(event.idle_timeout if event.on_idle == "advance" else None, event.out_of_orderness)
        clock_state = ClockState(clock)
        for metric in self.plan.resolved_metrics():
            writer = ResultWriter(self.plan.name, metric, with_sketch)
            if metric.grid is not None:
                state = WindowState(slices, large, revisions, metric.aggregator.merge)
                yield metric.name, time_windows(metric, writer, state, clock, self, silence)
            if metric.gather is not None:
                timers = DelayedTimers(self, metric.lateness_ms)
                held = GatherState(self.maps["gathered"])
                gathering = GatherRunner(metric, writer, held, clock_state, timers, lambda: self._shard)
                yield gather_stream(metric), Delayed(gathering, metric.lateness_ms)
            for window in metric.sessions:
                runner = SessionRunner(
                    metric, window, writer, SessionState(sessions), clock_state, self, silence
                )
                yield session_stream(metric, window), runner

    def _take(self, shard: str, data: bytes) -> None:
        """Give a record to the operator that it is for."""
        self._show(shard)
        stream = stream_of(shard)
        if stream in self.similar_runners:
            self.similar += map(
                json.loads, self.similar_runners[stream].on_record(shard, decode_similar(data))
            )
        elif stream in self._seen_runners:
            self._emit(self._seen_runners[stream].on_record(shard, decode_seen(data), self._stages_ms))
        else:
            self.records.append((shard, decode_record(data)))
            self._emit(self._runners[stream].on_record(decode_record(data), self._clock()))

    def _turn_to(self, shard: str) -> Runner:
        self._show(shard)
        return self._runners[stream_of(shard)]

    def _show(self, shard: str) -> None:
        self._shard = shard
        for sharded in self.maps.values():
            sharded.shard = shard

    def _clock(self) -> Clock:
        return Clock(self._stages_ms if _is_staged(self._shard) else self.watermark_ms, self.now_ms)

    def _emit(self, outputs: Outputs) -> None:
        for output in list(outputs):
            if isinstance(output, tuple):  # from a stage to the windows
                self._take(*output)
            elif isinstance(output, FirstSeenEvent):
                self.first_seen.append(json.loads(output.text))
            else:
                assert isinstance(output, Result | Late)
                (self.results if isinstance(output, Result) else self.late).append(json.loads(output.text))


def _is_staged(shard: str) -> bool:
    """Return whether a shard is one of a stage before the windows."""
    return is_seen_stream(stream_of(shard)) or is_gather_stream(stream_of(shard))


def latest(results: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the answer of each id: the result of the highest revision; revisions must rise by one."""
    answers: dict[str, dict[str, Any]] = {}
    for result in results:
        expected = answers[result["id"]]["revision"] + 1 if result["id"] in answers else 0
        assert result["revision"] == expected, f"expected revision {expected}, got {result}"
        answers[result["id"]] = result
    return answers


def spans(results: Iterable[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return start and end of the window of each result."""
    return [(result["window"]["start_ms"], result["window"]["end_ms"]) for result in results]


def counting_plan(
    *windows: dict[str, str], event: Mapping[str, str] = MappingProxyType({}), **options: Any
) -> dict[str, Any]:
    """Return a plan with one metric `n` that counts events of key `k` and time `t` over these windows."""
    metric = {"name": "n", "kind": "count", "by": ["k"], "windows": list(windows), **options}
    return {
        "name": "shop",
        "event": {"fields": {"k": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}, **event},
        "metrics": [metric],
    }


def at(*minutes: float, key: str = "a") -> list[dict[str, Any]]:
    """Return an event of a key at each of these minutes."""
    return [{"k": key, "t": int(minute * 60_000)} for minute in minutes]


def told(results: Iterable[dict[str, Any]]) -> list[tuple[float, int, int, bool]]:
    """Return end in minutes, value, revision and final of each result."""
    return [(r["window"]["end_ms"] / 60_000, r["value"], r["revision"], r["final"]) for r in results]
