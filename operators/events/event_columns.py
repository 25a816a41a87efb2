"""From the parsed fields of a batch to its accepted events: derived columns, event times, checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from operators.durations import format_duration
from operators.events.event import DeriveSpec, EventSpec
from operators.events.event_time import format_time, read_event_time
from operators.expressions import compile_expression
from operators.parsing.parsed import with_one_zero

# Whether what a match covers, taken alone, still matches in the same way depends on these: they look around.
_LOOKS_AROUND: Final = re.compile(r"[\^$]|\\[bBAz<>]")
# A plain prefix and then one group to the end: the value is the match without the prefix.
_PREFIXED: Final = re.compile(
    r"([^\\.^$*+?()\[\]{}|]+)"  # characters that stand for themselves
    r"\((?!\?)(?:\\[a-zA-Z]|\[[^\[\]()\\]+\]|[^()\[\]\\])*\)"
)
# Non-characters, which no text meant for interchange holds: one marks where groups start and end, the other
# stands in for it where a text holds it all the same.
_MARK: Final = "\ufdd0"
_NO_MARK: Final = "\ufdd1"


class Refused(NamedTuple):
    """An event that is not accepted: its row, why in a word, and the field or check it is about."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True)
class Prepared:
    """The accepted events of a batch.

    ``frame`` has the accepted rows with the derived columns after the fields; ``time_ms`` (m,) int64 their
    event times; ``keep`` (m,) int64 their row numbers in the batch, rising; ``rejected`` the others by row.
    """

    frame: pl.DataFrame
    time_ms: np.ndarray
    keep: np.ndarray
    rejected: list[Refused]


class EventColumns:
    """Applies the ``event`` section to batches; stateless, built once for a worker process.

    A rejected event has one reason, the first that holds of ``missing_field`` (a required column is null),
    ``bad_time`` (null, unreadable or not an existing time), ``too_old``, ``too_far_in_future`` and
    ``failed_check``. As with CHECK constraints of SQL, a check fails where it is false, not where it is null:
    ``require`` is what refuses nulls.
    """

    def __init__(self, spec: EventSpec) -> None:
        """Compiles every expression and pattern.

        Args:
            spec: The checked ``event`` section.
        """
        self._spec = spec
        types = spec.column_types()
        self._steps = _derivation_steps(spec, types)
        self._failures = {
            text: (~compile_expression(text, types, "bool").polars()).alias(text) for text in spec.checks
        }

    def prepare(
        self,
        frame: pl.DataFrame,
        kafka_timestamp_ms: np.ndarray | None,
        now_ms: int | None,
        check_max_future: bool = True,
        check_min_time: bool = True,
    ) -> Prepared:
        """Derives columns, reads event times and sorts out what is not accepted.

        Args:
            frame: (n rows) One column a field, String, Int64, Float64 or Boolean.
            kafka_timestamp_ms: (n,) int64 timestamps of the records, negative where there is none; needed
                where the event time is the record's.
            now_ms: The wall clock, epoch milliseconds; needed where ``check_max_future`` applies.
            check_max_future: Whether ``max_future`` applies (files: not).
            check_min_time: Whether ``min_time`` applies (files: not).

        Returns:
            The accepted events.

        Raises:
            ValueError: If the wall clock or the record timestamps are needed and missing.
        """
        for step in self._steps:
            frame = frame.with_columns_seq(step)
        refusals = _Refusals(frame.height)
        for name in self._spec.require:
            column = frame.get_column(name)
            if column.null_count():
                refusals.add(column.is_null(), "missing_field", name)
        times = self._times(frame, kafka_timestamp_ms)
        if times.null_count():
            self._add_bad_times(frame, times, refusals)
        time_ms = times.fill_null(0).to_numpy() if times.null_count() else times.to_numpy()
        if len(time_ms):
            self._check_bounds(time_ms, now_ms, check_max_future, check_min_time, refusals)
        if self._failures:
            checked = frame.with_columns_seq(self._failures.values())
            for text in self._failures:
                failed = checked.get_column(text)
                if failed.any():
                    refusals.add(failed.fill_null(False), "failed_check", f"{text} is false")
        keep = refusals.kept()
        if len(keep) < frame.height:
            frame, time_ms = frame[keep], time_ms[keep]
        return Prepared(frame, time_ms, keep, refusals.sorted())

    def _times(self, frame: pl.DataFrame, kafka_timestamp_ms: np.ndarray | None) -> pl.Series:
        spec = self._spec.time
        if spec.field is not None:
            return read_event_time(frame.get_column(spec.field), str(spec.unit), spec.zone)
        if kafka_timestamp_ms is None:
            raise ValueError("expected the timestamps of the records, as time is kafka_timestamp, got None")
        times = pl.Series(np.asarray(kafka_timestamp_ms, np.int64))
        absent = times < 0
        return times.set(absent, None) if absent.any() else times

    def _add_bad_times(self, frame: pl.DataFrame, times: pl.Series, refusals: _Refusals) -> None:
        spec = self._spec.time
        if spec.field is None:
            refusals.add(times.is_null(), "bad_time", "the record has no timestamp")
            return
        given = frame.get_column(spec.field)
        if given.null_count():
            refusals.add(given.is_null(), "bad_time", f"{spec.field} is null")
        where = f" in {spec.zone}" if spec.zone else ""
        refusals.add(times.is_null(), "bad_time", f"{spec.field} is no time as {spec.unit}{where}")

    def _check_bounds(
        self,
        time_ms: np.ndarray,
        now_ms: int | None,
        check_max_future: bool,
        check_min_time: bool,
        refusals: _Refusals,
    ) -> None:
        what = self._spec.time.field or "the record's timestamp"
        earliest, ahead_ms = self._spec.min_time, self._spec.max_future
        if check_min_time and earliest is not None and time_ms.min() < earliest:
            refusals.add(time_ms < earliest, "too_old", f"{what} is before {format_time(earliest)}")
        if check_max_future and ahead_ms is not None:
            if now_ms is None:
                raise ValueError("expected the wall clock, as max_future applies, got None")
            if time_ms.max() > now_ms + ahead_ms:
                detail = f"{what} is more than {format_duration(ahead_ms)} ahead of the wall clock"
                refusals.add(time_ms > now_ms + ahead_ms, "too_far_in_future", detail)


class _Refusals:
    """Collects refused rows; the first reason a row gets is the one it keeps."""

    def __init__(self, height: int) -> None:
        self._height = height
        self._refused: np.ndarray | None = None
        self._found: list[Refused] = []

    def add(self, mask: pl.Series | np.ndarray, reason: str, detail: str) -> None:
        wanted = mask.to_numpy() if isinstance(mask, pl.Series) else mask
        if self._refused is None:
            self._refused = np.zeros(self._height, bool)
        new = wanted & ~self._refused
        self._refused |= new
        self._found += [Refused(row, reason, detail) for row in np.flatnonzero(new).tolist()]

    def kept(self) -> np.ndarray:
        return np.arange(self._height) if self._refused is None else np.flatnonzero(~self._refused)

    def sorted(self) -> list[Refused]:
        return sorted(self._found)


def _derivation_steps(spec: EventSpec, types: dict[str, str]) -> list[list[pl.Expr]]:
    """Groups derived columns so that each group reads only fields and columns of the groups before it."""
    level = dict.fromkeys(spec.fields, 0)
    steps: list[list[pl.Expr]] = []
    for name, derived in spec.derive.items():
        if derived.expr is not None:
            expression = compile_expression(derived.expr, types)
            reads, made = expression.columns, expression.polars()
            if expression.type == "double":
                made = made.map_batches(with_one_zero, return_dtype=pl.Float64, is_elementwise=True)
        else:
            reads, made = frozenset([str(derived.source)]), _extraction(derived)
        level[name] = 1 + max(level[column] for column in reads)
        if level[name] > len(steps):
            steps.append([])
        steps[level[name] - 1].append(made.alias(name))
    return steps


def _extraction(derived: DeriveSpec) -> pl.Expr:
    """The value or values that a regular expression takes from a text.

    With ``all``, a value that is empty is left out: a bare ``#`` is no tag.
    """
    pattern = str(derived.extract)
    text = pl.col(str(derived.source))
    group = len(pl.Series([""]).str.extract_groups(pattern).struct.fields)
    if not derived.all:
        return text.str.extract(pattern, group)
    prefixed = _PREFIXED.fullmatch(pattern)
    if prefixed:
        values, value = text.str.extract_all(pattern), pl.element().str.strip_prefix(prefixed[1])
    elif group and _LOOKS_AROUND.search(pattern):
        marked = text.str.replace_all(_MARK, _NO_MARK, literal=True).str.replace_all(
            pattern, f"{_MARK}${{1}}{_MARK}"
        )
        values, value = marked.str.split(_MARK).list.gather_every(2, 1), pl.element()
    else:
        values = text.str.extract_all(pattern)
        value = pl.element().str.extract(pattern, 1) if group else pl.element()
    return values.list.eval(value.filter(value != ""))
