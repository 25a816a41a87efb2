"""How far a shard of a stage is, as it tells the windows behind it (see `operators.windows.staged`)."""

from __future__ import annotations

from collections.abc import Iterator

from operators.metric import Metric
from operators.records import Progress, encode
from operators.shard_keys import shard_key, shard_number
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS


class StageNews:
    """Knows when windows wait for the word of a stage, and gives it.

    Args:
        metric: the metric; it has a stage.
    """

    def __init__(self, metric: Metric) -> None:
        """Keep what is asked for."""
        self._metric, self._span_ms = metric, metric.stage.span_ms

    def next_ms(self, watermark_ms: int) -> int:
        """Return the first watermark of the stage after this one that windows wait for.

        That is the first of all, as no window goes on before every shard was heard from, and then each at
        which a window ends or closes, whether the shard has anything for it or not.
        """
        if watermark_ms == MIN_TIME_MS:
            return MIN_TIME_MS + 1
        return self._metric.grid.next_boundary(watermark_ms - self._span_ms) + self._span_ms

    def records(self, shard: str, watermark_ms: int) -> Iterator[tuple[str, bytes]]:
        """Yield the news for every shard of windows that all up to a watermark was sent.

        Args:
            shard: names the shard of the stage.
            watermark_ms: its watermark.
        """
        at_end = watermark_ms == END_OF_TIME_MS
        told = Progress(shard_number(shard), END_OF_TIME_MS if at_end else watermark_ms - self._span_ms)
        for number in range(self._metric.shards):
            yield shard_key(self._metric.name, number), encode(told)
