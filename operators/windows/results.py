"""Results and late events as the JSON objects that leave the job."""

from __future__ import annotations

from base64 import b64encode
from hashlib import blake2b

import msgspec

from operators.metric import Metric
from operators.metrics.kind import Before
from operators.records import LateCandidate

encode_json = msgspec.json.encode


class Result(msgspec.Struct):
    """A result or a retraction, as JSON, and whether it is final."""

    text: bytes
    final: bool


class Late(msgspec.Struct):
    """An entry of the late output, as JSON, and how many events it stands for."""

    text: bytes
    events: int


class ResultWriter:
    """Writes what comes out of one metric.

    Args:
        pipeline: the pipeline's name.
        metric: the metric.
        with_sketch: whether results carry the sketch's own image.
    """

    def __init__(self, pipeline: str, metric: Metric, with_sketch: bool) -> None:
        """Keep what all results of the metric have in common."""
        self._pipeline, self._metric, self._with_sketch = pipeline, metric, with_sketch

    def result(
        self,
        key: bytes,
        window: dict[str, int | str],
        events: int,
        partial: bytes,
        revision: int,
        final: bool,
        before: Before | None = None,
    ) -> Result:
        """Return a result.

        Args:
            key: the values of `by` as a canonical JSON array.
            window: the window as results describe it.
            events: how many events are behind it.
            partial: all partials of the window, merged.
            revision: 0 for the first emission of the id.
            final: whether the watermark passed the window's end.
            before: what came before the window; None where the metric does not look back.
        """
        aggregator = self._metric.aggregator
        fields = self._head(key, window)
        fields["events"] = events
        if before is None:
            fields |= aggregator.answer(partial, events)
        else:
            fields |= aggregator.answer_against(partial, events, before)
        fields |= {"revision": revision, "final": final}
        if self._with_sketch and (image := aggregator.sketch(partial)) is not None:
            fields["sketch"] = b64encode(image).decode()
        return Result(encode_json(fields), final)

    def retraction(self, key: bytes, window: dict[str, int | str], revision: int) -> Result:
        """Return the last word on an id whose session became part of another."""
        head = self._head(key, window)
        return Result(
            encode_json(head | {"events": 0, "revision": revision, "final": True, "retracted": True}), True
        )

    def late(
        self,
        candidates: list[LateCandidate] | None,
        events: dict[bytes, int],
        origin: bytes,
        watermark_ms: int,
    ) -> list[Late]:
        """Return the late output of events that came too late.

        Args:
            candidates: the events, where ingest foresaw that they could be late.
            events: how many there are of each key; what is said where there are no candidates.
            origin: where the batch comes from, a JSON object.
            watermark_ms: the watermark they came after, as the metric's windows see it.
        """
        common = {"metric": self._metric.name, "watermark_ms": watermark_ms + self._metric.delay_ms}
        if candidates is not None:
            return [
                Late(
                    encode_json(msgspec.json.decode(c.event) | self._late(c.key, c.event_time_ms) | common), 1
                )
                for c in candidates
            ]
        batch = {"payload": None, "batch": msgspec.json.decode(origin)}
        return [
            Late(encode_json(batch | {"events": count} | self._late(key, None) | common), count)
            for key, count in events.items()
        ]

    def _late(self, key: bytes, event_time_ms: int | None) -> dict[str, object]:
        return {"key": self._key(key), "event_time_ms": event_time_ms}

    def _key(self, key: bytes) -> dict[str, object]:
        return dict(zip(self._metric.by, msgspec.json.decode(key), strict=True))

    def _head(self, key: bytes, window: dict[str, int | str]) -> dict[str, object]:
        return {
            "id": result_id(self._pipeline, self._metric.name, key, window),
            "pipeline": self._pipeline,
            "metric": self._metric.name,
            "kind": self._metric.kind,
            "key": self._key(key),
            "window": window,
        }


def result_id(pipeline: str, metric: str, key: bytes, window: dict[str, int | str]) -> str:
    """Return the id of a window of a key: the same for every emission, different for all else.

    Args:
        pipeline: the pipeline's name.
        metric: the metric's name.
        key: the values of `by` as a canonical JSON array.
        window: the window as results describe it.

    Returns:
        32 hexadecimal digits.
    """
    size = window.get("size_ms", window.get("gap_ms"))
    identity = [pipeline, metric, window["type"], size, window.get("every_ms"), window["start_ms"]]
    return blake2b(encode_json(identity) + key, digest_size=16).hexdigest()
