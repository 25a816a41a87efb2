"""Which rules on results there are now, by metric and window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from operators.metric import Metric
from operators.records import RuleChange
from operators.rules.compiled_rule import CompiledRule
from operators.rules.readable import Readable
from operators.rules.result_columns import Window, window_name, window_of, windows_of
from operators.rules.rule_messages import rule_text
from operators.rules.rule_spec import Rule
from operators.windows.slices import TimeWindow
from state.rule_state import HeldRule

_MOST_LATE_WINDOWS = 100
_LEAST_REMEMBERED_MS = 7 * 86_400_000


@dataclass(frozen=True)
class WindowRules:
    """The rules on one window of a metric.

    Attributes:
        window: the window.
        rules: those that are on, by name.
        marks: for each of them a number that is another one for another version or text.
        keep: how many windows of a key are held for them: those that they compare with, or that have to be in
            a row, and those that may still change.
        absent_for_ms: how long each key may have no result for each of the rules that ask for that, by name.
        remember_ms: how long after the end of its last window a key is forgotten.
    """

    window: Window
    rules: Mapping[str, CompiledRule]
    marks: Mapping[str, int]
    keep: int
    absent_for_ms: Mapping[str, int]
    remember_ms: int


@dataclass(frozen=True)
class MetricRules:
    """The rules on one metric.

    Attributes:
        by_window: those of each window, by the window's name.
        former: rules that are on the metric no more, or are off, but may have spoken.
    """

    by_window: Mapping[str, WindowRules]
    former: frozenset[str]


@dataclass
class ResultRules:
    """The rules on results as one worker knows them.

    Args:
        metrics: whose results there are.
        file: the rules of the pipeline file, which hold until the keeper of rules says something else.
    """

    metrics: Sequence[Metric]
    file: Iterable[Rule]
    _held: dict[str, HeldRule] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the rules of the file."""
        self._by_name = {metric.name: metric for metric in self.metrics}
        self._readable = Readable({}, self.metrics)
        for rule in self.file:
            if rule.metric is not None:
                self._held[rule.name] = HeldRule(1, rule_text(rule), False, [rule.metric])
        self._build()

    def restore(self, held: Mapping[str, HeldRule]) -> None:
        """Take over what was known before a restart."""
        self._held |= held
        self._build()

    def change(self, change: RuleChange) -> HeldRule | None:
        """Take over a change; return what is to be known after a restart, None where nothing changes."""
        known = self._held.get(change.name)
        if known is not None and change.version <= known.version:
            return None
        rule = None if change.rule is None else _read(change.rule)
        if rule is not None and rule.metric in self._by_name:
            metrics = {rule.metric, *(known.metrics if known else ())}
            held = HeldRule(change.version, change.rule, False, sorted(metrics))
        elif known is not None:
            held = HeldRule(change.version, known.rule, True, known.metrics)
        else:
            return None
        self._held[change.name] = held
        self._build()
        return held

    def on(self, metric: str) -> MetricRules | None:
        """Return the rules on a metric; None where there is none and never was."""
        return self._on.get(metric)

    def rule(self, name: str) -> CompiledRule | None:
        """Return a rule that is or was on some metric; one that cannot be used any more has no text."""
        return self._rules.get(name)

    def _build(self) -> None:
        """Put the rules in order; done with every change, which are rare."""
        self._rules: dict[str, CompiledRule] = {}
        on: dict[str, list[CompiledRule]] = {}
        touched: dict[str, set[str]] = {}
        for name, held in self._held.items():
            for metric in held.metrics:
                touched.setdefault(metric, set()).add(name)
            rule = _read(held.rule)
            if rule is None:
                continue
            try:
                compiled = self._readable.compile(rule, held.version)
            except ValueError:  # the pipeline has not all that it reads any more; the keeper will tell
                self._rules[name] = CompiledRule(rule.model_copy(update={"text": None}), held.version, {}, ())
                continue
            self._rules[name] = compiled
            if rule.enabled and not held.removed:
                on.setdefault(rule.metric, []).append(compiled)
        self._on = {
            metric: self._of_metric(self._by_name[metric], on.get(metric, ()), names)
            for metric, names in touched.items()
            if metric in self._by_name
        }

    def _of_metric(
        self, metric: Metric, rules: Sequence[CompiledRule], touched: Iterable[str]
    ) -> MetricRules:
        by_window = {
            window_name(window): _of_window(metric, window, own) for window, own in _apart(metric, rules)
        }
        return MetricRules(by_window, frozenset(touched) - {rule.rule.name for rule in rules})


def _apart(metric: Metric, rules: Sequence[CompiledRule]) -> Iterator[tuple[Window, list[CompiledRule]]]:
    for window in windows_of(metric):
        yield window, [rule for rule in rules if window_of(rule.rule, metric) == window]


def _of_window(metric: Metric, window: Window, rules: Sequence[CompiledRule]) -> WindowRules:
    every_ms = window.every_ms if isinstance(window, TimeWindow) else window.gap_ms
    late = min(_MOST_LATE_WINDOWS, -(-metric.allowed_lateness_ms // every_ms))
    keep = late + max((max((one.rule.before or 0) + 1, one.rule.for_windows) for one in rules), default=1)
    absent = {one.rule.name: one.rule.absent_for for one in rules if one.rule.absent_for is not None}
    longest = max(absent.values(), default=0)
    remember_ms = max(_LEAST_REMEMBERED_MS, 10 * longest, 2 * keep * every_ms)
    marks = {one.rule.name: _mark(one) for one in rules}
    return WindowRules(window, {one.rule.name: one for one in rules}, marks, keep, absent, remember_ms)


def _mark(rule: CompiledRule) -> int:
    """Return a mark, of the text too: where nobody keeps rules, all of them are version 1 for ever."""
    text = rule_text(rule.rule) + rule.version.to_bytes(8, "little")
    return int.from_bytes(blake2b(text, digest_size=7).digest(), "little")


def _read(text: bytes) -> Rule | None:
    """Return a rule; None where it was written by another version of this software."""
    try:
        return Rule.model_validate_json(text)
    except ValueError:
        return None
