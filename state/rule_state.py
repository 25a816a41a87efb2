"""What the keeper of rules remembers, and rules as workers hold them.

| map | key | value |
|---|---|---|
| `rules` | empty | version byte, then MessagePack: the names of all rules there ever were |
| `rules` | `r`, name | version byte, then MessagePack: a `KeptRule` |
| `rules` | `v`, number, u32 big-endian | version byte, then 8 bytes each: alerts of so many verdicts |
| `rules` | `v` | version byte, then how many verdicts there were, u64 little-endian |
| `rules on results` | name | version byte, then MessagePack: a `HeldRule` |

Alerts are remembered by 64 bits of a hash: of the last 100,000, one in 184,000,000,000,000 new ones is taken
for one of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from sketches.errors import BadData
from state.clock_state import ByteMap
from state.message_pack import reader

REMEMBERED_ALERTS = 100_000
_IN_BLOCK = 1000
_HASH = 8
_VERSION = b"\x01"
_NAMES, _RULE, _VERDICTS = b"", b"r", b"v"
_encode = msgspec.msgpack.Encoder().encode


class KeptRule(msgspec.Struct, array_like=True):
    """A rule as its keeper knows it.

    Attributes:
        version: the last one that was sent.
        rule: the rule as canonical JSON; None where it was taken away.
        file: the same of the pipeline file when it was read last; None where it did not have the rule.
    """

    version: int
    rule: bytes | None
    file: bytes | None


class HeldRule(msgspec.Struct, array_like=True):
    """A rule on results as a worker holds it.

    Attributes:
        version: which version it is of.
        rule: the rule as JSON, the last one there was; None where there never was one on results.
        removed: whether it was taken away.
        metrics: the metrics that it is and was on.
    """

    version: int
    rule: bytes | None
    removed: bool
    metrics: list[str]


_read_names = reader(list[str], "names of rules", _VERSION)
_read_kept = reader(KeptRule, "a rule", _VERSION)
_read_held = reader(HeldRule, "a rule", _VERSION)


class RuleState:
    """What the keeper remembers; of alerts, all of it stays in memory once it was read.

    That is right as long as the process lives, since whoever restores state does it in a new one.

    Args:
        held: the map.
    """

    def __init__(self, held: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        self._held = held
        self._names: list[str] | None = None
        self._alerts: OrderedDict[bytes, None] | None = None
        self._verdicts, self._block = 0, bytearray()

    def rules(self) -> dict[str, KeptRule]:
        """Return all rules there ever were, by name.

        Raises:
            BadData: where the state cannot be read.
        """
        stored = self._held.get(_NAMES)
        self._names = [] if stored is None else _read_names(stored)
        kept = {}
        for name in self._names:
            stored = self._held.get(_RULE + name.encode())
            if stored is None:
                raise BadData(f"expected rule {name!r}, which is in the list of names, got nothing")
            kept[name] = _read_kept(stored)
        return kept

    def put(self, name: str, kept: KeptRule) -> None:
        """Store a rule; `rules` was called before."""
        self._held.put(_RULE + name.encode(), _VERSION + _encode(kept))
        if name not in self._names:
            self._names.append(name)
            self._held.put(_NAMES, _VERSION + _encode(self._names))

    def remember_alert(self, alert: str) -> bool:
        """Remember that there was a verdict on an alert; return whether it is the first.

        Raises:
            BadData: where the state cannot be read.
        """
        if self._alerts is None:
            self._read_alerts()
        own = blake2b(alert.encode("utf-8", "surrogatepass"), digest_size=_HASH).digest()
        if own in self._alerts:
            return False
        self._alerts[own] = None
        if len(self._alerts) > REMEMBERED_ALERTS:
            self._alerts.popitem(last=False)
        number = self._verdicts // _IN_BLOCK
        self._block += own
        self._verdicts += 1
        self._held.put(_block_name(number), _VERSION + bytes(self._block))
        self._held.put(_VERDICTS, _VERSION + self._verdicts.to_bytes(8, "little"))
        if len(self._block) == _IN_BLOCK * _HASH:
            self._block.clear()
            if number >= REMEMBERED_ALERTS // _IN_BLOCK:
                self._held.remove(_block_name(number - REMEMBERED_ALERTS // _IN_BLOCK))
        return True

    def _read_alerts(self) -> None:
        self._alerts = OrderedDict()
        stored = self._held.get(_VERDICTS)
        if stored is None:
            return
        if stored[:1] != _VERSION or len(stored) != 9:
            raise BadData(f"expected how many verdicts there were in 9 bytes, got {len(stored)}")
        self._verdicts = int.from_bytes(stored[1:], "little")
        blocks = list(self._blocks())
        if self._verdicts % _IN_BLOCK:
            self._block = bytearray(blocks[-1])
        joined = b"".join(blocks)[-REMEMBERED_ALERTS * _HASH :]
        for at in range(0, len(joined), _HASH):
            self._alerts[joined[at : at + _HASH]] = None

    def _blocks(self) -> Iterator[bytes]:
        """Yield the blocks that have some of the last alerts, in order; the last one may not be full."""
        first = max(0, self._verdicts - REMEMBERED_ALERTS) // _IN_BLOCK
        for number in range(first, -(-self._verdicts // _IN_BLOCK)):
            size = min(_IN_BLOCK, self._verdicts - number * _IN_BLOCK) * _HASH
            stored = self._held.get(_block_name(number))
            if stored is None or stored[:1] != _VERSION or len(stored) != size + 1:
                raise BadData(f"expected alerts of {size + 1} bytes, got {len(stored or b'')}")
            yield bytes(stored[1:])


def write_held_rule(held: HeldRule) -> bytes:
    """Write a rule as a worker holds it."""
    return _VERSION + _encode(held)


def read_held_rule(stored: bytes) -> HeldRule:
    """Read what `write_held_rule` wrote.

    Raises:
        BadData: where the bytes are of another version, cut short or too long.
    """
    return _read_held(stored)


def _block_name(number: int) -> bytes:
    return _VERDICTS + number.to_bytes(4, "big")
