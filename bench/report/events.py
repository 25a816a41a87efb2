"""The events of the benchmarks: JSON lines of about 100 bytes, 100,000 users, no line twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

USERS = 100_000
ITEMS = 5_000
BATCH = 40_000
"""Lines of a batch: 4 MB, which is what the job reads of a file at a time."""

ACTIONS = (b"view", b"cart", b"purchase", b"search")
_FIRST_MS = 1_700_000_000_000
_DISORDER_MS = 2_000
_STRIDE = 7_919
"""A prime that divides no number of users: its multiples come by all of them."""
_LINE = b'{"user_id":"user_%07d","action":"%b","item_id":"item_%d","value":%d.%02d,"ts":%d}'


def batches(
    count: int,
    per_second: int = 1_000,
    seed: int = 1,
    users: int = USERS,
    items: int = ITEMS,
    in_turn: bool = False,
) -> Iterator[list[bytes]]:
    """Make batches of lines, up to two seconds out of order, but not beyond their batch.

    Args:
        count: how many batches.
        per_second: events in a second of event time, at most 100,000.
        seed: another one, other lines.
        users: how many users there may be.
        in_turn: whether each user comes as often as every other, so that as many events have all of them.
        items: how many items.

    Yields:
        Lines without newlines; those of one millisecond differ in their value's last digits, so that no two
        lines of a run are alike.
    """
    random = np.random.default_rng(seed)
    for number in range(count):
        index = np.arange(number * BATCH, (number + 1) * BATCH)
        in_order = index * 1_000 // per_second
        order = np.argsort(in_order + random.integers(0, _DISORDER_MS, BATCH), kind="stable")
        cents = 100 * random.integers(0, 100, BATCH) + (index % 100)[order]
        columns = (
            index * _STRIDE % users if in_turn else random.integers(0, users, BATCH),
            random.choice(np.array(ACTIONS), BATCH, p=(0.6, 0.2, 0.1, 0.1)),
            random.integers(0, items, BATCH),
            cents // 100,
            cents % 100,
            _FIRST_MS + in_order[order],
        )
        yield [_LINE % row for row in zip(*(column.tolist() for column in columns), strict=True)]


def torn(lines: list[bytes], share: float, seed: int) -> list[bytes]:
    """Cut some lines short at a random place, as a writer that dies does.

    Args:
        lines: whole lines.
        share: how many of them to cut, 0 to 1.
        seed: another one, other lines.

    Returns:
        As many lines; each cut one has at least its first byte and lacks at least its last.
    """
    random = np.random.default_rng(seed)
    chosen = np.flatnonzero(random.random(len(lines)) < share).tolist()
    cut = list(lines)
    for line in chosen:
        cut[line] = lines[line][: random.integers(1, len(lines[line]))]
    return cut
