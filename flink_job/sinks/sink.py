"""What the job asks of a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyflink.datastream import DataStream


class Sink(Protocol):
    """A place that lines of JSON go to, each exactly once unless its documentation says otherwise.

    Attributes:
        takes_keys: whether a line may carry a key behind `operators.enrich.enriched_lines.KEY_MARK`.
    """

    takes_keys: bool

    def attach(self, lines: DataStream, uid: str) -> None:
        """End a stream of JSON texts here.

        Args:
            lines: the stream.
            uid: the sink's name in savepoints.
        """
