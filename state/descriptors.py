"""The names and types of what is kept in Flink's keyed state; a name is for ever.

Values are plain bytes with a format version of their own (see the codecs beside this file), never pickle.
"""

from __future__ import annotations

from pyflink.common import Types
from pyflink.datastream.state import MapStateDescriptor

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())


def _bytes_to_bytes(name: str) -> MapStateDescriptor:
    return MapStateDescriptor(name, _BYTES, _BYTES)


SLICES = _bytes_to_bytes("slices")
LARGE_PARTIALS = _bytes_to_bytes("large-partials")
REVISIONS = _bytes_to_bytes("revisions")
SESSIONS = _bytes_to_bytes("sessions")
CLOCK = _bytes_to_bytes("clock")
SEEN = _bytes_to_bytes("seen")
RUNNING = _bytes_to_bytes("running")
GATHERED = _bytes_to_bytes("gathered")
PROFILES = _bytes_to_bytes("profiles")
ITEMS = _bytes_to_bytes("items")
HISTORIES = _bytes_to_bytes("histories")
RULE_CHANGES = _bytes_to_bytes("rule-changes")
KEPT_RULES = _bytes_to_bytes("kept-rules")
RESULT_RULES = _bytes_to_bytes("result-rules")
ALARMS = _bytes_to_bytes("alarms")
DELIVERIES = _bytes_to_bytes("deliveries")
