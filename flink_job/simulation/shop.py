"""The scenario `shop`: users who look at items, put them in their carts and buy some.

- **Users**: four visits in five are by regulars, whose activity follows a Zipf law (``user_00000`` is the
  most active); one in five is by anybody, uniformly. So nearly all of 5,000 users are seen in 100,000 events.
- **Items**: 1,000, by a Zipf law, ``item_0000`` the most wanted.
- **Actions**: view 70 %, click 15 %, add_cart 10 %, purchase 5 %.
- **value**: for add_cart and purchase the item's price, which varies by a fifth each way; otherwise 0.0.
- **quantity**: 1 to 5, mostly 1.
- **text**: absent in seven events of eight; often with hashtags, not all of them ASCII.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from flink_job.simulation.random_bits import RandomBits, zipf_slots
from flink_job.simulation.simulated_rows import FOUR_DIGITS, TIME_FIELDS, RowWriter, spoil, write_cents

_ITEMS = 1_000
_ACTION_SHARES = {"view": 0.70, "click": 0.15, "add_cart": 0.10, "purchase": 0.05}
_ACTIONS = np.array([action.encode() for action in _ACTION_SHARES])
_FIRST_PRICED = list(_ACTION_SHARES).index("add_cart")
_REGULARS_OF_256 = 205  # 80 % of the visits
_MEDIAN_PRICE_CENTS = 2_000.0
_TEXT_OF_2_16 = 2**13  # one event in eight has a text
_AFTER_ID = b',"action":"'
_BAD_TEXTS = {
    "wrong_type": {"whole": b'"n/a"', "point": b"", "cents": b""},
    "missing_user": {"user_key": b'"', "user_0": b"", "user_1": b"", "action_key": _AFTER_ID},
    "negative_value": {"whole": b"-1"},
    "not_utf8": {"item": b"\xff\xfe"},
}


class Shop:
    """Makes the shop's events.

    Args:
        users: how many users there are, 1 to 10,000,000.
        skew: Zipf exponent of items and regular users.
        bad_share: the share of events that are spoiled.
    """

    def __init__(self, users: int, skew: float, bad_share: float) -> None:
        """Prepare the tables that random bits are looked up in: a few MB."""
        self._users, self._bad_share = users, bad_share
        digits = max(5, len(str(users - 1)))
        heads = range((users - 1) // 10_000 + 1)
        self._user_heads = np.array([str(head).zfill(digits - 4) for head in heads], dtype="S")
        self._writer = RowWriter(_layout(user_digits=digits))
        self.fields = self._writer.fields
        self._regulars = zipf_slots(users, skew, slots=2**18)
        self._items = zipf_slots(_ITEMS, skew, slots=2**16)
        until = np.cumsum(list(_ACTION_SHARES.values())[:-1])
        self._actions = np.searchsorted(until, (np.arange(2**16) + 0.5) / 2**16)

    def rows(
        self, numbers: NDArray[np.int64], times_ms: NDArray[np.int64], bits: RandomBits
    ) -> NDArray[np.void]:
        """Make events, as `Scenario` says."""
        words = bits.words  # 0, 1: user; 4: price; 5: delay; 6, 7: bad or not, how
        halves = bits.halves  # 4: item; 5: action; 6: quantity; 7: text
        rows = self._writer.begin(numbers, times_ms)
        users = self._choose_users(words)
        rows["user_0"] = self._user_heads.take(users // 10_000)
        rows["user_1"] = FOUR_DIGITS.take(users % 10_000)
        actions, items = self._actions.take(halves[:, 5]), self._items.take(halves[:, 4])
        rows["action"] = _ACTIONS.take(actions)
        rows["item"] = FOUR_DIGITS.take(items)
        rows["whole"] = rows["cents"] = b"0"
        priced = np.flatnonzero(actions >= _FIRST_PRICED)
        cents = _PRICES_CENTS.take(items[priced]) * (0.8 + words[priced, 4] * (0.4 / 2**32))
        write_cents(rows, priced, cents)
        rows["quantity"] = _QUANTITIES.take(halves[:, 6] % len(_QUANTITIES))
        with_text = np.flatnonzero(halves[:, 7] < _TEXT_OF_2_16)
        rows["text"][with_text] = _TEXTS.take(halves[with_text, 7] % len(_TEXTS))
        if self._bad_share:
            bad = np.flatnonzero(words[:, 6] < self._bad_share * 2**32)
            spoil(rows, bad, words[bad, 7], _BAD_TEXTS)
        return rows

    def _choose_users(self, words: NDArray[np.uint32]) -> NDArray[np.int64]:
        anybody = words[:, 0].astype(np.uint64) * np.uint64(self._users) >> np.uint64(32)
        # Ranks rarer than a slot may be missing: one reason for the fifth of visits that is not drawn there.
        regular = self._regulars.take(words[:, 1] & (len(self._regulars) - 1))
        return np.where(words[:, 1] >> 24 < _REGULARS_OF_256, regular, anybody.astype(np.int64))


def _layout(user_digits: int) -> tuple[tuple[str, bytes | int], ...]:
    return (
        ("id_key", b'{"event_id":"e'), ("id_0", 4), ("id_1", 4), ("id_2", 4),
        ("user_key", b'","user_id":"user_'), ("user_0", user_digits - 4), ("user_1", 4),
        ("action_key", b'"' + _AFTER_ID), ("action", _ACTIONS.itemsize),
        ("item_key", b'","item_id":"item_'), ("item", 4),
        ("value_key", b'","value":'), ("whole", 5), ("point", b"."), ("cents", 2),
        ("quantity_key", b',"quantity":'), ("quantity", 1), ("text", _TEXTS.itemsize),
        *TIME_FIELDS, ("end", b"}\n"),
    )  # fmt: skip


def _texts() -> list[bytes]:
    tags = ("sale", "newin", "gift", "summer", "home", "été", "sport", "スキー")
    phrases = ("love it #{}", "on my #wishlist #{}", "#{} #deal", r"a \"must\" #{}", "size runs small")
    return [f',"text":"{phrase.format(tag)}"'.encode() for tag in tags for phrase in phrases]


def _item_prices_cents() -> NDArray[np.float64]:
    # Log-normal; 617 and 1,000 share no factor, so that every quantile goes to exactly one item.
    normal = NormalDist()
    deviations = [normal.inv_cdf((item * 617 % _ITEMS + 0.5) / _ITEMS) for item in range(_ITEMS)]
    return np.exp(0.8 * np.array(deviations)) * _MEDIAN_PRICE_CENTS


_QUANTITIES = np.array([b"1"] * 22 + [b"2"] * 5 + [b"3"] * 3 + [b"4"] + [b"5"])
_TEXTS = np.array(_texts())
_PRICES_CENTS = _item_prices_cents()
