"""`trending`: a window's top items, and which of all items are rising against the time before it.

How much an item rises is told by a *burst score*: by how many standard deviations its count in the window is
above what the time before it would make one expect (below where negative), as T.-P. Li and Y.-Q. Ma give it
for events counted on and off a source in gamma-ray astronomy ("Analysis methods for results in gamma-ray
astronomy", The Astrophysical Journal 272, 1983, equation 17): the signed root of the likelihood ratio of two
Poisson counts, one rate against two. Unlike `(count - expected) / sqrt(expected)` it takes into account that
what is expected is itself a count, of whatever time was seen: after a start, when there are but minutes to
hold a window against, and for items that never came before, it is no larger than the counts support. Where
events of an item come independently of each other at a steady rate, a score exceeds 3 about once in 740
windows by chance. Events that come in clumps, such as a user's repeats, score higher than that.

Guarantee: an item's true count in the window, its true count before it and its true score always lie between
their bounds. With M = 2**lg_max_map_size, bounds of a count are no further apart than 3.5/M of all items of
the window, those of a count before it than 3.5/M of all items of that time, and both are exact while no more
than 3/4 M different items occur there. The score rises with the count and falls with the count before, so its
bounds are the scores at the corners. An item that comes 3.5/M of all items of the window oftener than `least`
is never overlooked when rising ones are looked for; with exact counts none is that comes `least` times.

    >>> round(burst_score(30, 120, 5, 60), 2)  # 30 in 5 minutes, 10 expected from the hour before
    4.79
    >>> round(burst_score(30, 10, 5, 5), 2)  # 10 expected from 5 minutes before: less certain
    3.23
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.durations import DurationMs
from operators.metrics.items import check_item_columns, item_of, item_type
from operators.metrics.kind import Aggregator, AnswerColumns, Before, Fields, Kind, item_columns
from operators.metrics.top_k import TopItems, TopKAggregator
from sketches.top_k import TopK

Entry = dict[str, Any]
_FIGURES = ("before", "score")


class Trending(Kind):
    """Options of `trending`.

    `of` is a column of any type; each value of an event counts one. Every window is held against the time
    `against` before its start, of which what was seen is told as `against_ms`. `items` are the `k` items of
    the highest count. `rising` are the `k` of the highest score among those that surely came `least` times
    and surely more often than before. The sketch of a slice keeps up to `3/4 * 2**lg_max_map_size` items;
    counts are exact while no more occur.
    """

    kind: Literal["trending"]
    of: str
    k: int = Field(10, ge=1, le=1000)
    against: Annotated[DurationMs, Field(gt=0)] = Field("1h", validate_default=True)
    least: int = Field(5, ge=1)
    lg_max_map_size: int = Field(12, ge=5, le=20)
    takes_sessions: ClassVar[bool] = False
    answer_options: ClassVar[frozenset[str]] = frozenset({"k", "least"})

    @property
    def before_ms(self) -> int:
        """How long the time before a window is that the window is held against."""
        return self.against

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the aggregator of the column's items."""
        return TrendingAggregator(self, check_item_columns("trending", columns, self.of, None))


class TrendingAggregator(Aggregator):
    """A partial is that of `top_k`; one holds the window, another the time before it."""

    def __init__(self, options: Trending, type_: str) -> None:
        """Take the options and the column's type."""
        self._options, self._type = options, type_
        counted = {"of": options.of, "k": options.k, "lg_max_map_size": options.lg_max_map_size}
        self._counts = TopKAggregator(TopItems(kind="top_k", **counted), type_)

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Sketch the items of each group."""
        return self._counts.partials(batch, groups)

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Return the merged sketch."""
        return self._counts.merge(partials)

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the top items of a window of which nothing is known that came before it."""
        return self.answer_against(partial, events, Before(None, 0, 0))

    def answer_against(self, partial: bytes, events: int, before: Before) -> Fields:
        """Return the top items and the most rising ones, each with its counts, its score and their bounds.

        Rising ones go by the lower bound of the score, what is certain of it; then by count and item.
        """
        k, size = self._options.k, self._options.lg_max_map_size
        counts = TopK.deserialize(partial).top(1 << size, order=self._item)
        entry = _Entries(size, before, self._item)
        rising: list[Entry] = []
        if before.seen_ms:
            sure = (entry(*count) for count in counts if count[2] >= self._options.least)
            rising = sorted(
                (found for found in sure if found["score"]["lower"] > 0),
                key=lambda found: -found["score"]["lower"],
            )
        return {
            "items": [entry(*count) for count in counts[:k]],
            "rising": rising[:k],
            "against_ms": before.seen_ms,
            "confidence": 1.0,
        }

    def sketch(self, partial: bytes) -> bytes | None:
        """Return the window's frequent-items sketch of strings as Apache DataSketches writes it."""
        return self._counts.sketch(partial)

    def columns(self) -> AnswerColumns:
        """Return those of an item, with what was expected and the score, each with its bounds."""
        own = item_columns(item_type(self._type))
        figures = {figure + bound: "double" for figure in _FIGURES for bound in ("", "_lower", "_upper")}
        return AnswerColumns(own.types | figures | {"against_ms": "long"}, own.history, own.item)

    def rows(self, answer: Mapping[str, Any]) -> Sequence[Mapping[str, object]]:
        """Return a row an item that is among the top or the rising ones."""
        rows = {}
        for entry in (*answer["items"], *answer["rising"]):
            row = entry | {"against_ms": answer["against_ms"]}
            for figure in _FIGURES:
                own = entry[figure]
                row |= {
                    figure: own["value"],
                    f"{figure}_lower": own["lower"],
                    f"{figure}_upper": own["upper"],
                }
            rows[entry["item"]] = row
        return list(rows.values())

    def _item(self, text: str) -> object:
        """Return an item in its type, by which items of the same count go."""
        return item_of(text, self._type)


def burst_score(count: int, before: int, window_ms: int, before_ms: int) -> float:
    """Return by how many standard deviations a count is above what came before.

    Args:
        count: how often the item came in the window.
        before: how often it came in the time before.
        window_ms: the window's length, 1 and up.
        before_ms: the length of the time before, 1 and up.

    Returns:
        The score: 0 where the rates are the same, negative where the item came less often than before. It
        rises with `count` and falls with `before`.
    """
    above, total = count * before_ms - before * window_ms, count + before
    if not above:
        return 0.0
    # Each logarithm is that of a count over the expected one, were both rates the same.
    in_window = count * math.log1p(above / (window_ms * total)) if count else 0.0
    in_before = before * math.log1p(-above / (before_ms * total)) if before else 0.0
    return math.copysign(math.sqrt(2.0 * max(in_window + in_before, 0.0)), above) + 0.0


class _Entries:
    """Makes the entries of items: what is told of each, with the bounds of all figures."""

    def __init__(self, size: int, before: Before, item: Callable[[str], object]) -> None:
        self._before = TopK(size) if before.partial is None else TopK.deserialize(before.partial)
        self._window_ms, self._before_ms, self._item = before.window_ms, before.seen_ms, item

    def __call__(self, text: str, count: int, lower: int, upper: int) -> Entry:
        entry = {"item": self._item(text), "count": count, "lower": lower, "upper": upper}
        if not self._before_ms:
            return entry | {"before": _figure(None, None, None), "score": _figure(None, None, None)}
        sketch = self._before
        then, least, most = sketch.estimate(text), sketch.lower_bound(text), sketch.upper_bound(text)
        expected = (number * self._window_ms / self._before_ms for number in (then, least, most))
        score = self._score(count, then), self._score(lower, most), self._score(upper, least)
        return entry | {"before": _figure(*expected), "score": _figure(*score)}

    def _score(self, count: int, before: int) -> float:
        return burst_score(count, before, self._window_ms, self._before_ms)


def _figure(value: float | None, lower: float | None, upper: float | None) -> dict[str, float | None]:
    return {"value": value, "lower": lower, "upper": upper}
