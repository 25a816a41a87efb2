"""Features, rules on events and on sequences, and decisions: the logic, without an engine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from operators.records import Beat, RuleChange, RuleRecord
from operators.rules.alerts import AlertWriter
from operators.rules.compiled_rule import CompiledRule
from operators.rules.event_alerts import EventAlerts, RecordEvents
from operators.rules.features import FeatureRunner, Lives
from operators.rules.record_columns import RecordColumns
from operators.rules.resolved import Features
from operators.rules.rule_set import Held, RuleSet
from operators.rules.sequences import Deadlines, SequenceRunner
from operators.windows.runner import Clock, Timers
from operators.windows.silence import Silence
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState
from state.history_state import HistoryState

_GRID_MS = 1000
_LONGEST_SWEEP_MS = 3_600_000
_KEPT_AT_MOST = 1000


class Alert(NamedTuple):
    """An alert, a JSON object."""

    text: bytes


class Decision(NamedTuple):
    """The answer to an event, a JSON object."""

    text: bytes


Outputs = Iterator[Alert | Decision]


class RulesRunner:
    """Raises alerts and answers events.

    Args:
        pipeline: the pipeline's name.
        features: what rules know of the past.
        decides: whether events are answered.
        rules: the rules of the pipeline file.
        state: the histories of the shard at hand.
        clock_state: what the shard at hand remembers of time.
        timers: the timers of the shard at hand.
        silence: what is known of the source's silence.

    Attributes:
        rules: the rules in force.
        state: the histories.
        events: how many events were seen.
        alerts: how many alerts were raised, by rule.
        decisions: how many events were answered.
    """

    def __init__(
        self,
        pipeline: str,
        features: Features,
        decides: bool,
        rules: tuple[CompiledRule, ...],
        state: HistoryState,
        clock_state: ClockState,
        timers: Timers,
        silence: Silence,
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._features, self._decides, self.state = features, decides, state
        self._clock_state, self._timers, self._silence = clock_state, timers, silence
        self.rules = RuleSet(features, rules)
        self._runner = FeatureRunner(features, state)
        self._alerts = EventAlerts(AlertWriter(pipeline), features)
        self._sequences = SequenceRunner(self._alerts, lambda: self.rules.sequences)
        self._deadlines = Deadlines(state, lambda: self.rules.waits)
        remember_ms = features.spec.remember
        self._sweep_ms = max(_GRID_MS, min(remember_ms // 4, _LONGEST_SWEEP_MS) // _GRID_MS * _GRID_MS)
        self.events = self.decisions = 0
        self.alerts: Counter[str] = Counter()

    def change(self, change: RuleChange, restored: bool = False) -> bool:
        """Change a rule, see `RuleSet.change`."""
        return self.rules.change(change, restored)

    def on_record(self, shard: str, record: RuleRecord | Beat, clock: Clock) -> Outputs:
        """Take the events of a record, or a beat.

        Args:
            shard: names the shard at hand.
            record: the events.
            clock: the times now.
        """
        self._deadlines.turn_to(shard)
        look_again_ms = self._silence.heard(clock.now_ms)
        if isinstance(record, RuleRecord):
            yield from self._take(shard, record, clock.now_ms)
            newest_ms = int(np.frombuffer(record.times, "<i8").max())
            self._timers.at_event_time((newest_ms // self._sweep_ms + 1) * self._sweep_ms)
        self._ask(shard, clock.watermark_ms)
        if look_again_ms is not None and self._deadlines.first_ms(shard) is not None:
            self._timers.at_processing_time(look_again_ms)

    def on_event_time(self, shard: str, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the watermark reaches a time: end sequences, now and then forget entities."""
        self._deadlines.turn_to(shard)
        yield from self._settle(shard, time_ms, clock.now_ms)
        ended = clock.watermark_ms == END_OF_TIME_MS
        if time_ms % self._sweep_ms == 0:
            reached_ms = time_ms if ended else max(time_ms, clock.watermark_ms)
            if self._forget(shard, reached_ms) and not ended:
                self._timers.at_event_time((reached_ms // self._sweep_ms + 1) * self._sweep_ms)
        self._ask(shard, clock.watermark_ms)

    def on_processing_time(self, shard: str, time_ms: int, clock: Clock) -> Outputs:
        """Let deadlines pass while the source is silent."""
        self._deadlines.turn_to(shard)
        to_ms = self._silence.goes_on_to(clock, self._clock_state, lambda: self._newest_ms(shard))
        if to_ms is not None:
            self._clock_state.set_horizon(to_ms)
            yield from self._settle(shard, to_ms, clock.now_ms)
        look_again_ms = self._silence.look_again_ms(clock.now_ms)
        if look_again_ms is not None and self._deadlines.first_ms(shard) is not None:
            self._timers.at_processing_time(look_again_ms)

    def _take(self, shard: str, record: RuleRecord, now_ms: int) -> Outputs:
        lives = self._runner.lives(shard, record)
        size = len(lives.owners)
        made = self._runner.run(shard, record, lives)
        own = dict(zip(self._features.events, record.columns, strict=True))
        columns = RecordColumns(self._features.types, own | made, size)
        owners, times = (np.frombuffer(record.owners, "<i4"), np.frombuffer(record.times, "<i8"))
        events = RecordEvents(self._features, record, columns, owners.tolist(), times.tolist())
        self.events += size
        yield from self._speak(record, lives, events, self.rules.evaluate(columns), now_ms)
        self._runner.write(shard, lives)
        for entity, history in zip(lives.entities, lives.histories, strict=True):
            if history.pending:
                self._deadlines.put(shard, entity, history.due_ms)

    def _speak(
        self, record: RuleRecord, lives: Lives, events: RecordEvents, held: list[Held], now_ms: int
    ) -> Outputs:
        """Yield the alerts and answers of a record's events, event by event."""
        spoke, begins, ends = (defaultdict(list) for _ in range(3))
        for one in held:
            rule = one.condition.rule
            by_row = ends if one.condition.key != "when" else spoke if rule.rule.kind == "event" else begins
            for row in one.rows:
                by_row[row].append(rule)
        answers = record.answers if self._decides else bytes(len(lives.owners))
        for row, (owner, clock_ms) in enumerate(zip(lives.owners, lives.clocks, strict=True)):
            for rule in spoke.get(row, ()):
                self.alerts[rule.rule.name] += 1
                yield Alert(self._alerts.of_event(rule, events, row, now_ms))
            history = lives.histories[owner]
            if history.pending or row in begins:
                for rule, text in self._sequences.step(
                    lives.entities[owner], history, clock_ms, ends.get(row, ()), begins.get(row, ()),
                    events, row, now_ms,
                ):  # fmt: skip
                    self.alerts[rule.rule.name] += 1
                    yield Alert(text)
            if answers[row]:
                self.decisions += 1
                yield Decision(self._alerts.decision(spoke.get(row, []), events, row, now_ms))

    def _settle(self, shard: str, up_to_ms: int, now_ms: int) -> Outputs:
        """End the sequences of the shard at hand that wait no longer than to this time."""
        settled = {}
        for entity in list(self._deadlines.take_due(shard, up_to_ms)):
            history = self.state.read(shard, entity)
            if not history.pending:  # what it waited for has come, and perhaps it was forgotten since
                continue
            for rule, text in self._sequences.settle(entity, history, up_to_ms, now_ms):
                self.alerts[rule.rule.name] += 1
                yield Alert(text)
            settled[entity] = history
            self._deadlines.put(shard, entity, history.due_ms)
        self.state.write(shard, settled)

    def _ask(self, shard: str, watermark_ms: int) -> None:
        """Ask for a call at the next deadline, on a grid; never for a time that the watermark has passed."""
        first_ms = self._deadlines.first_ms(shard)
        if first_ms is not None and watermark_ms != END_OF_TIME_MS:
            self._timers.at_event_time(max(-(-first_ms // _GRID_MS), watermark_ms // _GRID_MS + 1) * _GRID_MS)

    def _forget(self, shard: str, reached_ms: int) -> bool:
        """Forget the entities of the shard at hand that had no event for long; return whether any is left.

        Alerts wait meanwhile, so it looks no further than at some that are to be kept: those behind them were
        written later. What it misses is as good as forgotten and found another time: others come first then.
        """
        before_ms, gone, kept = reached_ms - self._features.spec.remember, [], []
        for entity, time_ms, due_ms in self.state.times(shard):
            if time_ms <= before_ms and due_ms == END_OF_TIME_MS:
                gone.append(entity)
                continue
            kept.append(entity)
            if len(kept) == _KEPT_AT_MOST:
                break
        self.state.forget(shard, gone)
        self.state.put_last(shard, kept)
        return self.state.holds_any(shard)

    def _newest_ms(self, shard: str) -> int | None:
        newest_ms = max((time_ms for _, time_ms, _ in self.state.times(shard)), default=MIN_TIME_MS)
        return None if newest_ms == MIN_TIME_MS else newest_ms
