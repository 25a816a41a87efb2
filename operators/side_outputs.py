"""Side outputs that several functions have, of what comes in beside the events."""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream import OutputTag

REJECTS = OutputTag("rejects", Types.STRING())
"""Messages that cannot be used, as the reject output has them."""

TOTALS = OutputTag("totals", Types.STRING())
"""How many of them there are for which reason, JSON objects as ingest makes them."""
