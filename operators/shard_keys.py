"""The keys that records are shuffled by: a stream and the number of one of its shards.

Flink puts a key on the worker of its key group, which is a hash of it: of eight keys as they come six may be
on one worker and two on the other. So a key ends in a number that is chosen such that a stream's shards are
spread over the key groups as evenly as they can be, where there are 128 of those, as by default. With another
number of them keys are as good as any.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from zlib import crc32

_KEY_GROUPS = 128
_WORD = 2**32


@lru_cache(4096)
def shard_key(stream: str, shard: int) -> str:
    """Return the key that a record is shuffled by: the metric's stream of windows and the shard."""
    wanted = (crc32(stream.encode()) + _turned(shard)) % _WORD * _KEY_GROUPS // _WORD
    keys = (f"{stream}/{shard}.{salt}" for salt in count())
    return next(key for key in keys if key_group(key, _KEY_GROUPS) == wanted)


def stream_of(key: str) -> str:
    """Return the stream part of a shard key."""
    return key.rpartition("/")[0]


def shard_number(key: str) -> int:
    """Return which of its stream's shards a key is of."""
    return int(key.rpartition("/")[2].partition(".")[0])


def key_group(key: str, key_groups: int) -> int:
    """Return the key group that Flink puts a key into: of a row of one field, this text.

    Source: `KeyGroupRangeAssignment`, `MathUtils.murmurHash`, `Row.hashCode` and `String.hashCode`.
    """
    hashed = 0
    units = key.encode("utf-16-be")
    for place in range(0, len(units), 2):
        hashed = (31 * hashed + (units[place] << 8 | units[place + 1])) % _WORD
    code = (hashed + 31 * 2) % _WORD * 0xCC9E2D51 % _WORD
    code = _rotated(code, 15) * 0x1B873593 % _WORD
    code = (_rotated(code, 13) * 5 + 0xE6546B64) % _WORD ^ 4
    code = (code ^ code >> 16) * 0x85EBCA6B % _WORD
    code = (code ^ code >> 13) * 0xC2B2AE35 % _WORD
    code ^= code >> 16
    return (code if code < _WORD // 2 else (_WORD - code) % (_WORD // 2)) % key_groups


def _rotated(code: int, bits: int) -> int:
    return (code << bits | code >> 32 - bits) % _WORD


def _turned(shard: int) -> int:
    """Return the bits of a number in turned order, as a part of a word: 0, 1/2, 1/4, 3/4, 1/8 ..."""
    return sum((shard >> bit & 1) << 31 - bit for bit in range(shard.bit_length()))
