"""What a rule on results reads: the columns there are, and their values in a result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from math import isfinite
from typing import NamedTuple

import msgspec
import numpy as np

from operators.metric import Metric
from operators.rules.compiled_rule import COLUMNS_BEFORE
from operators.rules.rule_spec import Rule
from operators.windows.slices import SessionWindow, TimeWindow

Window = TimeWindow | SessionWindow
_OF_WINDOWS = {"window_start_ms": "long", "window_end_ms": "long", "events": "long"}
_BEFORE: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean_before": lambda known: known.mean(axis=1),
    "stddev_before": lambda known: known.std(axis=1),
    "median_before": lambda known: _medians(known),
    "mad_before": lambda known: _medians(np.abs(known - _medians(known)[:, None])),
}
"""Of several rows, each with the numbers of as many windows before it."""


class ReadResult(msgspec.Struct):
    """What is read of every result, whatever its kind.

    Attributes:
        id: as in the result, and so are all others.
        key: the values of `by`.
        window: the window.
        events: how many events are behind it.
        revision: rises with every emission of the id.
        final: whether the window has ended.
        retracted: whether there is no such window any more.
    """

    id: str
    key: dict[str, str | int | float | bool | None]
    window: dict[str, int | str]
    events: int
    revision: int
    final: bool
    retracted: bool = False


class Row(NamedTuple):
    """What a rule looks at: a result, or one of the items of a result.

    Attributes:
        item: the item as JSON; empty bytes where a result has none.
        key: the key of the result, and the item where there is one.
        values: of all columns but those of the windows before.
        number: what is compared with the windows before, NaN for null.
    """

    item: bytes
    key: Mapping[str, object]
    values: Mapping[str, object]
    number: float


read_result = msgspec.json.Decoder(ReadResult).decode
_read_all = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.encode


def result_columns(metric: Metric) -> dict[str, str]:
    """Return the type of each column that rules on a metric's results read, by name.

    Those of `COLUMNS_BEFORE` are there where its results have a number to compare windows by. A column of
    `by` is hidden by one of the result that is called the same.
    """
    answer = metric.aggregator.columns()
    before = {} if answer.history is None else COLUMNS_BEFORE
    return dict(zip(metric.by, metric.key_types, strict=True)) | _OF_WINDOWS | dict(answer.types) | before


def windows_of(metric: Metric) -> tuple[Window, ...]:
    """Return all windows of a metric."""
    over_time = () if metric.grid is None else metric.grid.windows
    return (*over_time, *metric.sessions)


def window_name(window: Window) -> str:
    """Return what tells a window from others of the same metric, in keyed state."""
    return window.name.decode() if isinstance(window, TimeWindow) else f"session/{window.gap_ms}"


def window_of(rule: Rule, metric: Metric) -> Window:
    """Return which window of the metric a rule is on.

    Raises:
        ValueError: where the metric has no such window, or has several and the rule names none.
    """
    windows = windows_of(metric)
    if rule.window is None:
        if len(windows) > 1:
            raise ValueError(
                f"window: is missing; {metric.name} has {len(windows)} windows, name one of them"
            )
        return windows[0]
    window = rule.window.window()
    if window not in windows:
        raise ValueError(f"window: {metric.name} has no such window")
    return window


def is_of(described: Mapping[str, int | str], window: Window) -> bool:
    """Return whether a window as results describe it is one of these."""
    if isinstance(window, SessionWindow):
        return described.get("gap_ms") == window.gap_ms
    if described.get("size_ms") != window.size_ms:
        return False
    every_ms = described.get("every_ms", window.size_ms)
    return every_ms == window.every_ms and (described["start_ms"] - window.offset_ms) % every_ms == 0


class ResultRows:
    """Takes results of one metric apart.

    Args:
        metric: the metric.
    """

    def __init__(self, metric: Metric) -> None:
        """Keep what its answers look like."""
        self._metric, self._answer = metric, metric.aggregator.columns()
        self.types = result_columns(metric)

    def key(self, result: ReadResult) -> bytes:
        """Return the values of `by` as a canonical JSON array."""
        return _encode([result.key[name] for name in self._metric.by])

    def rows(self, line: bytes, result: ReadResult) -> Iterator[Row]:
        """Yield what rules look at.

        Args:
            line: the result.
            result: the same, read.
        """
        window = result.window
        common = result.key | {
            "window_start_ms": window["start_ms"],
            "window_end_ms": window["end_ms"],
            "events": result.events,
        }
        named = self._answer.item
        for row in self._metric.aggregator.rows(_read_all(line)):
            values = common | {name: _fitting(row[name], type_) for name, type_ in self._answer.types.items()}
            compared = None if self._answer.history is None else values[self._answer.history]
            number = float("nan") if compared is None else float(compared)
            if named is None:
                yield Row(b"", result.key, values, number)
            else:
                yield Row(_encode(row[named]), result.key | {named: row[named]}, values, number)


def before_values(numbers: Sequence[np.ndarray], names: Set[str]) -> list[dict[str, float | int | None]]:
    """Return values of some of `COLUMNS_BEFORE` for several rows.

    Args:
        numbers: for each row those of the windows before, in their order, `(n,) float64`, NaN where there was
            none.
        names: which are asked for.

    Returns:
        For each row `mean_before` and so on of those that are numbers, `previous` of the window just before;
        null where there is no such number. `stddev_before` is that of the population, `mad_before` the median
        of the distances from the median.
    """
    told: list[dict[str, float | int | None]] = [dict.fromkeys(names) for _ in numbers]
    known = [own[~np.isnan(own)] for own in numbers]
    alike: dict[int, list[int]] = defaultdict(list)
    for row, own in enumerate(known):
        alike[len(own)].append(row)
        if "previous" in names and len(own) and isfinite(numbers[row][-1]):
            told[row]["previous"] = float(numbers[row][-1])
        if "count_before" in names:
            told[row]["count_before"] = len(own)
    for rows in (rows for count, rows in alike.items() if count):
        table = np.stack([known[row] for row in rows])
        for name in names & _BEFORE.keys():
            with np.errstate(over="ignore", invalid="ignore"):
                values = _scaled_figure(_BEFORE[name], table).tolist()
            for row, value in zip(rows, values, strict=True):
                told[row][name] = value if isfinite(value) else None
    return told


def _scaled_figure(figure: Callable[[np.ndarray], np.ndarray], table: np.ndarray) -> np.ndarray:
    """Return a figure of each row; rows whose intermediate values overflow a double are scaled down first."""
    values = figure(table)
    if np.isfinite(values).all():
        return values
    size = np.abs(table).max(axis=1)
    return np.where(np.isfinite(values), values, figure(table / size[:, None]) * size)


def _medians(known: np.ndarray) -> np.ndarray:
    """Return the median of each row; a row is sorted faster than its middle is found without."""
    count = known.shape[1]
    return np.sort(known, axis=1)[:, (count - 1) // 2 : count // 2 + 1].mean(axis=1)


def _fitting(value: object, type_: str) -> object:
    """Return a JSON value as one of the column's type; a long, such as a total, may exceed 64 bits."""
    if value is None:
        return None
    return float(value) if type_ == "double" else value
