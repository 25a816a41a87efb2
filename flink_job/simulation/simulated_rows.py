"""How simulated events become JSON lines, thousands at a time.

Every event is one row of a structured array of fixed-width byte fields: constants come from a template, parts
that vary are looked up in tables of text, and what a field does not fill stays zero. Taking all zero bytes
out of the array's memory leaves the JSON lines.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

ITEMS = 1_000
ACTIONS = ("view", "click", "add_cart", "purchase")
BAD_KINDS = ("truncated", "wrong_type", "missing_user", "negative_value", "not_utf8")
MAX_EVENTS = 10**12  # an event's number has 12 digits

_MEDIAN_PRICE_CENTS = 2_000.0
_TEXT_OF_2_16 = 2**13  # one event in eight has a text


class RowWriter:
    """Writes the fields of rows; all rows of one writer have the same layout.

    Args:
        users: how many users there are, 1 to 10,000,000.
    """

    def __init__(self, users: int) -> None:
        """Lay out the row."""
        digits = max(5, len(str(users - 1)))
        heads = range((users - 1) // 10_000 + 1)
        self._user_heads = np.array([str(head).zfill(digits - 4) for head in heads], dtype="S")
        self._template = _template(user_digits=digits)

    def begin(self, numbers: NDArray[np.int64], times_ms: NDArray[np.int64]) -> NDArray[np.void]:
        """Rows of these event numbers and times; the other fields are still to be written.

        Args:
            numbers: ``(n,) int64``, below ``MAX_EVENTS``.
            times_ms: ``(n,) int64``, epoch ms of 13 digits.

        Returns:
            ``(n,)`` rows.
        """
        rows = np.repeat(self._template, len(numbers))
        _write_digits(rows, ("id_0", "id_1", "id_2"), numbers)
        _write_digits(rows, ("ts_1", "ts_2", "ts_3"), times_ms)
        rows["ts_0"] = _NUMBERS.take(times_ms // 10**12)
        return rows

    def write_users(self, rows: NDArray[np.void], users: NDArray[np.int64]) -> None:
        """Write ``user_id``.

        Args:
            rows: ``(n,)`` rows.
            users: ``(n,) int64`` user numbers.
        """
        rows["user_0"] = self._user_heads.take(users // 10_000)
        rows["user_1"] = _FOUR_DIGITS.take(users % 10_000)

    def write_action(
        self,
        rows: NDArray[np.void],
        actions: NDArray[np.int64],
        items: NDArray[np.int64],
        random: NDArray[np.uint32],
    ) -> None:
        """Write ``action``, ``item_id`` and ``value``.

        Args:
            rows: ``(n,)`` rows.
            actions: ``(n,) int64`` places in ``ACTIONS``.
            items: ``(n,) int64`` item numbers.
            random: ``(n,) uint32`` random bits, for the price.
        """
        rows["action"] = _ACTIONS.take(actions)
        rows["item"] = _FOUR_DIGITS.take(items)
        rows["whole"] = rows["cents"] = b"0"
        priced = np.flatnonzero(actions >= ACTIONS.index("add_cart"))
        cents = _PRICES_CENTS.take(items[priced]) * (0.8 + random[priced] * (0.4 / 2**32))
        whole, cents = np.divmod(np.rint(cents).astype(np.int64), 100)
        rows["whole"][priced] = _NUMBERS.take(whole)
        rows["cents"][priced] = _TWO_DIGITS.take(cents)

    def write_quantity_and_text(
        self, rows: NDArray[np.void], random: NDArray[np.uint16], more_random: NDArray[np.uint16]
    ) -> None:
        """Write ``quantity`` and ``text``, which has its own key since it may be absent.

        Args:
            rows: ``(n,)`` rows.
            random: ``(n,) uint16`` random bits, for the quantity.
            more_random: ``(n,) uint16`` random bits, for the text.
        """
        rows["quantity"] = _QUANTITIES.take(random % len(_QUANTITIES))
        with_text = np.flatnonzero(more_random < _TEXT_OF_2_16)
        rows["text"][with_text] = _TEXTS.take(more_random[with_text] % len(_TEXTS))

    def spoil(self, rows: NDArray[np.void], bad: NDArray[np.int64], random: NDArray[np.uint32]) -> None:
        """Make some finished events bad, each in one of the ways of ``BAD_KINDS``.

        Args:
            rows: ``(n,)`` rows.
            bad: ``(m,) int64`` places of the rows to spoil.
            random: ``(m,) uint32`` random bits, for the way and for the place of a cut.
        """
        kinds, random = random % len(BAD_KINDS), random // len(BAD_KINDS)
        truncated, wrong_type, missing_user, negative_value, not_utf8 = (
            bad[kinds == kind] for kind in range(len(BAD_KINDS))
        )
        table = rows.view(np.uint8).reshape(len(rows), -1)
        width = table.shape[1] - 1  # the newline stays
        kept = 1 + random[kinds == BAD_KINDS.index("truncated")] % (
            width - 2
        )  # never up to the closing brace
        table[truncated, :width] *= np.arange(width) < kept[:, None]
        for field, text in (("whole", b'"n/a"'), ("point", b""), ("cents", b"")):
            rows[field][wrong_type] = text
        for field, text in (("user_key", b'"'), ("user_0", b""), ("user_1", b""), ("action_key", _AFTER_ID)):
            rows[field][missing_user] = text
        rows["whole"][negative_value] = b"-1"
        rows["item"][not_utf8] = b"\xff\xfe"

    def text(self, rows: NDArray[np.void]) -> bytes:
        r"""The rows as JSON lines, each ended by ``\n``."""
        return rows.tobytes().translate(None, b"\0")


def _template(user_digits: int) -> NDArray[np.void]:
    """One row: constants filled in, a zero-filled field for each part that varies."""
    parts: tuple[tuple[str, bytes | int], ...] = (
        ("id_key", b'{"event_id":"e'), ("id_0", 4), ("id_1", 4), ("id_2", 4),
        ("user_key", b'","user_id":"user_'), ("user_0", user_digits - 4), ("user_1", 4),
        ("action_key", b'"' + _AFTER_ID), ("action", _ACTIONS.itemsize),
        ("item_key", b'","item_id":"item_'), ("item", 4),
        ("value_key", b'","value":'), ("whole", 5), ("point", b"."), ("cents", 2),
        ("quantity_key", b',"quantity":'), ("quantity", 1), ("text", _TEXTS.itemsize),
        ("ts_key", b',"ts":'), ("ts_0", 1), ("ts_1", 4), ("ts_2", 4), ("ts_3", 4), ("end", b"}\n"),
    )  # fmt: skip
    widths = [(name, part if isinstance(part, int) else len(part)) for name, part in parts]
    row = np.zeros(1, dtype=[(name, f"S{width}") for name, width in widths])
    for name, part in parts:
        if isinstance(part, bytes):
            row[name] = part
    return row


def _write_digits(rows: NDArray[np.void], fields: tuple[str, ...], numbers: NDArray[np.int64]) -> None:
    for field in reversed(fields):
        numbers, four = np.divmod(numbers, 10_000)
        rows[field] = _FOUR_DIGITS.take(four)


def _texts() -> list[bytes]:
    tags = ("sale", "newin", "gift", "summer", "home", "été", "sport", "スキー")
    phrases = ("love it #{}", "on my #wishlist #{}", "#{} #deal", r"a \"must\" #{}", "size runs small")
    return [f',"text":"{phrase.format(tag)}"'.encode() for tag in tags for phrase in phrases]


def _item_prices_cents() -> NDArray[np.float64]:
    # Log-normal; 617 and 1,000 share no factor, so that every quantile goes to exactly one item.
    normal = NormalDist()
    deviations = [normal.inv_cdf((item * 617 % ITEMS + 0.5) / ITEMS) for item in range(ITEMS)]
    return np.exp(0.8 * np.array(deviations)) * _MEDIAN_PRICE_CENTS


_AFTER_ID = b',"action":"'
_ACTIONS = np.array([action.encode() for action in ACTIONS])
_FOUR_DIGITS = np.array([b"%04d" % number for number in range(10_000)])
_TWO_DIGITS = np.array([b"%02d" % number for number in range(100)])
_NUMBERS = np.array([b"%d" % number for number in range(10_000)])
_QUANTITIES = np.array([b"1"] * 22 + [b"2"] * 5 + [b"3"] * 3 + [b"4"] + [b"5"])
_TEXTS = np.array(_texts())
_PRICES_CENTS = _item_prices_cents()
