"""Side outputs that several functions have, of what comes in beside the events."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import OutputTag
from pyflink.metrics import MetricGroup

from operators.reject_counters import RejectCounters

REJECTS = OutputTag("rejects", Types.STRING())
"""Messages that cannot be used, as the reject output has them."""

TOTALS = OutputTag("totals", Types.STRING())
"""How many of them there are for which reason, JSON objects as ingest makes them."""


class SideRejects:
    """Writes and counts what cannot be used.

    Args:
        group: the function's metric group.
    """

    def __init__(self, group: MetricGroup) -> None:
        """Register the counters."""
        self._counters = RejectCounters(group)

    def outputs(self, reason: str, text: str) -> Iterator[tuple[OutputTag, str]]:
        """Yield what a function has to put out for a reject.

        Args:
            reason: why it is one.
            text: it, as the reject output has it.
        """
        self._counters.count(reason, 1)
        yield REJECTS, text
        yield TOTALS, json.dumps({"events": 0, "rejects": {reason: 1}})
