"""The scenario `payments`: card payments with planted frauds, each labelled with its kind.

Who pays when, and in which rounds of a user's life frauds are, is in `payers`. An event has `payment_id`,
`user_id`, `card_id`, `amount` (euros and cents), `country` (the terminal's), `merchant`, `lat` and `lon` (the
payer's, in degrees), `ts`, and `planted` where it is a fraud. A pipeline does not declare `planted`: it is
the label.

**Honest payments**:

- A user pays 15 times, or 16, once in `users / event_rate` seconds, 8 minutes and `disorder` more or less.
- The amount is 0.8 to 0.9 times the user's mean and 1.1 to 1.2 times in turn; means are 5 to 800,
  log-uniform. So no amount is above 960, and from the sixth payment on none is more than 3 standard
  deviations above the mean of those before.
- Places are within 0.1 degrees of the user's home, which is within 0.1 degrees of one of 32 cities. So no two
  are more than 35 km apart: below 200 km/h.
- One user in four has two cards, all others one.
- Merchants are 1,000, by a Zipf law. The country is the city's.
- In one team in 16 somebody pays 16 times within 8 minutes at the end, not more than 384 in all.

**Planted frauds**, and which share of them each kind is in the long run:

| kind | share | what it is |
|---|---|---|
| `large` | 3/14 | the second to fifth payment is 10,001 to 50,000 |
| `risky_country` | 3/14 | the country is IR, KP or MM |
| `first_large` | 3/14 | the first payment is 1,500 to 9,000 |
| `outlier` | 3/14 | one from the sixth on is 5 to 8 times the user's mean and 100 more; at most 6,500 |
| `velocity` | 5/56 | the sixth to tenth of ten payments within 5 minutes, together more than 400 |
| `many_cards` | 1/28 | the last two of five payments within 6 minutes, each with another card |
| `travel` | 1/56 | two to five minutes after a payment at home one in a city 4,000 km away, or more |

Bad events are those of users who have no good ones. A fraud is of no other kind: what is 10,001 and more
comes before a user has a mean to be far from, and what comes in episodes is the last that is heard of a
user.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flink_job.simulation.payers import EPISODES, KINDS, TEAM, Payers, Turns
from flink_job.simulation.random_bits import RandomBits, zipf_slots
from flink_job.simulation.simulated_rows import (
    FOUR_DIGITS,
    NUMBERS,
    TIME_FIELDS,
    Layout,
    RowWriter,
    spoil,
    write_cents,
    write_digits,
)

_MERCHANTS = 1_000
_TWO_CARDS_OF_256 = 64
_NEAR = 1_000  # 0.1 degrees
_CITIES = (  # from the one half of them to the other it is far
    ("GB", 51.5074, -0.1278), ("FR", 48.8566, 2.3522), ("DE", 52.5200, 13.4050), ("ES", 40.4168, -3.7038),
    ("IT", 41.9028, 12.4964), ("AT", 48.2082, 16.3738), ("PL", 52.2297, 21.0122), ("SE", 59.3293, 18.0686),
    ("PT", 38.7223, -9.1393), ("IE", 53.3498, -6.2603), ("GR", 37.9838, 23.7275), ("CZ", 50.0755, 14.4378),
    ("HU", 47.4979, 19.0402), ("FI", 60.1699, 24.9384), ("NO", 59.9139, 10.7522), ("CH", 47.3769, 8.5417),
    ("US", 40.7128, -74.0060), ("CA", 43.6532, -79.3832), ("BR", -23.5505, -46.6333),
    ("AR", -34.6037, -58.3816), ("MX", 19.4326, -99.1332), ("US", 34.0522, -118.2437),
    ("US", 41.8781, -87.6298), ("CL", -33.4489, -70.6693), ("JP", 35.6762, 139.6503),
    ("KR", 37.5665, 126.9780), ("SG", 1.3521, 103.8198), ("AU", -33.8688, 151.2093), ("IN", 19.0760, 72.8777),
    ("TH", 13.7563, 100.5018), ("ZA", -26.2041, 28.0473), ("KE", -1.2921, 36.8219),
)  # fmt: skip
_RISKY = np.array([b"IR", b"KP", b"MM"])
_COUNTRIES = np.array([country.encode() for country, _, _ in _CITIES])
_DEGREES = np.rint(np.array([place for _, *place in _CITIES]) * 10_000).astype(np.int64)

# The means of users, by the episode of their team: from, to. A velocity must add up, a rush must not.
_MEANS = np.array([{"velocity": (100, 800), "rush": (5, 20)}.get(name, (5, 800)) for name in EPISODES])
_LOG_FROM, _LOG_TO = np.log(_MEANS * 100.0).T
_PLANTED = np.array([b""] + [f',"planted":"{kind}"'.encode() for kind in KINDS])
_LARGE, _RISKY_COUNTRY, _FIRST_LARGE, _OUTLIER, _, _TRAVEL, _ = range(1, len(KINDS) + 1)

_BAD_TEXTS = {
    "wrong_type": {"whole": b'"n/a"', "point": b"", "cents": b""},
    "missing_user": {"user_key": b"", "user_0": b"", "user_1": b"", "user_2": b"", "user_end": b""},
    "negative_value": {"whole": b"-1"},
    "not_utf8": {"merchant": b"\xff\xfe"},
}
_LAYOUT: Layout = (
    ("id_key", b'{"payment_id":"p'), ("id_0", 4), ("id_1", 4), ("id_2", 4), ("id_end", b'"'),
    ("user_key", b',"user_id":"u'), ("user_0", 4), ("user_1", 4), ("user_2", 4), ("user_end", b'"'),
    ("card_key", b',"card_id":"c'), ("card_0", 4), ("card_1", 4), ("card_2", 4), ("card_dash", b"-"),
    ("card", 1), ("amount_key", b'","amount":'), ("whole", 5), ("point", b"."), ("cents", 2),
    ("country_key", b',"country":"'), ("country", 2),
    ("merchant_key", b'","merchant":"shop_'), ("merchant", 4),
    ("lat_key", b'","lat":'), ("lat_sign", 1), ("lat_whole", 2), ("lat_point", b"."), ("lat_rest", 4),
    ("lon_key", b',"lon":'), ("lon_sign", 1), ("lon_whole", 3), ("lon_point", b"."), ("lon_rest", 4),
    *TIME_FIELDS, ("planted", _PLANTED.itemsize), ("end", b"}\n"),
)  # fmt: skip


class Payments:
    """Makes payments.

    Args:
        payers: whose turn each payment is.
        skew: Zipf exponent of merchants.
    """

    def __init__(self, payers: Payers, skew: float) -> None:
        """Prepare the tables that random bits are looked up in."""
        self._payers = payers
        self._writer = RowWriter(_LAYOUT)
        self.fields = self._writer.fields
        self._merchants = zipf_slots(_MERCHANTS, skew, slots=2**16)

    def rows(
        self, numbers: NDArray[np.int64], times_ms: NDArray[np.int64], bits: RandomBits
    ) -> NDArray[np.void]:
        """Make payments, as `Scenario` says."""
        words = bits.words  # 0: amount; 5: delay; 7: how bad
        halves = bits.halves  # 2, 3: place; 4: merchant; 5: card; 6: country
        turns = self._payers.turns(numbers)
        rows = self._writer.begin(numbers, times_ms)
        write_digits(rows, ("user_0", "user_1", "user_2"), turns.payers)
        write_digits(rows, ("card_0", "card_1", "card_2"), turns.payers)
        rows["card"] = NUMBERS.take(_cards(turns, halves[:, 5]))
        write_cents(rows, np.arange(len(rows)), _cents(turns, words[:, 0]))
        cities = (turns.traits % np.uint64(len(_CITIES))).astype(np.int64)
        cities ^= (turns.planted == _TRAVEL) * (len(_CITIES) // 2)
        is_risky = turns.planted == _RISKY_COUNTRY
        rows["country"] = np.where(is_risky, _RISKY.take(halves[:, 6] % 3), _COUNTRIES.take(cities))
        rows["merchant"] = FOUR_DIGITS.take(self._merchants.take(halves[:, 4]))
        for axis, name in enumerate(("lat", "lon")):
            home = _DEGREES[cities, axis] + _near(turns.traits >> np.uint64(8 + 16 * axis))
            _write_degrees(rows, name, home + np.where(turns.in_episode, 0, _near(halves[:, 2 + axis])))
        rows["planted"] = _PLANTED.take(turns.planted)
        bad = np.flatnonzero(turns.bad)
        spoil(rows, bad, words[bad, 7], _BAD_TEXTS)
        return rows


def _cents(turns: Turns, random: NDArray[np.uint32]) -> NDArray[np.float64]:
    part = random / 2**32
    quantile = (turns.traits >> np.uint64(48)) / 2**16
    mean = np.exp(_LOG_FROM[turns.episodes] * (1 - quantile) + _LOG_TO[turns.episodes] * quantile)
    cents = mean * (0.8 + 0.3 * turns.high + 0.1 * part)
    for code, planted in (
        (_LARGE, 1_000_100 + part * 3_999_900),
        (_FIRST_LARGE, 150_000 + part * 750_000),
        (_OUTLIER, 10_000 + mean * (5 + 3 * part)),
    ):
        cents = np.where(turns.planted == code, planted, cents)
    return cents


def _cards(turns: Turns, random: NDArray[np.uint16]) -> NDArray[np.int64]:
    many = turns.episodes == EPISODES.index("many_cards")  # whose users have one of their own
    two = (turns.traits >> np.uint64(40) & np.uint64(255) < _TWO_CARDS_OF_256) & ~many
    return np.where(many & turns.in_episode, _OTHERS_CARDS[turns.rows], two * (random & 1))


def _near(random: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """Up to 0.1 degrees either way, in ten-thousandths."""
    return ((random & 0x7FFF).astype(np.int64) * (2 * _NEAR + 1) >> 15) - _NEAR


def _write_degrees(rows: NDArray[np.void], name: str, degrees: NDArray[np.int64]) -> None:
    whole, rest = np.divmod(np.abs(degrees), 10_000)
    rows[f"{name}_sign"] = np.where(degrees < 0, b"-", b"")
    rows[f"{name}_whole"] = NUMBERS.take(whole)
    rows[f"{name}_rest"] = FOUR_DIGITS.take(rest)


_OTHERS_CARDS = np.array([0] + [1 + row // 3 for row in range(1, TEAM)])
"""By row of an episode of many cards: the user's own in the first, from there on another in every third."""
