"""Answers as JSON lines."""

from __future__ import annotations

import msgspec

from operators.similar.answerer import ItemId

_encode_json = msgspec.json.encode
NO_ITEMS = b"[]"


class AnswerWriter:
    """Writes the answers of one entry to the questions of one record.

    Args:
        name: of the entry.
        query_kind: `item`, `text` or `user`.
        index: what was searched: `flat`, `ivf` or `hnsw`.
        recall: its measured recall, 0 to 1.
        catalogue_items: how many items there were.
    """

    def __init__(self, name: str, query_kind: str, index: str, recall: float, catalogue_items: int) -> None:
        """Write what all of them have in common."""
        self._begin = b'{"answer":%b,"query":{"%b":' % (_encode_json(name), query_kind.encode())
        self._end = _encode_json(
            {"index": index, "recall": round(recall, 4), "catalogue_items": catalogue_items}
        )[1:-1]

    def line(
        self, query: str | int, time_ms: int, items: bytes, reason: str | None, position: bytes
    ) -> bytes:
        """Return one answer.

        Args:
            query: what was asked for.
            time_ms: the time of the event that asked.
            items: the JSON list of items.
            reason: why there are none; None where there are.
            position: where the event is from, a JSON object that is not empty.
        """
        parts = [
            self._begin,
            _encode_json(query),
            b'},"event_time_ms":%d,"items":' % time_ms,
            items,
            b"," if reason is None else b',"reason":"%b",' % reason.encode(),
            self._end,
            b",",
            position[1:],
        ]
        return b"".join(parts)


def items_json(items: list[ItemId], scores: list[float]) -> bytes:
    """Return items with their scores as a JSON list."""
    return _encode_json([{"item": item, "score": score} for item, score in zip(items, scores, strict=True)])
