"""Who makes which simulated payment, and which are planted frauds: arithmetic of an event's number.

Event numbers are cut into **rounds** of about as many numbers as there are users: in each round everybody
pays once. A round is made of **lanes** of 16 numbers each, one every 15 to 30 s. A lane is a **team**'s for
16 rounds: 16 users, each in one of its rows, shuffled from round to round. Then they are gone and another
team has the lane, so that some users are always new; lanes change hands at different rounds. In a team's
last round one of its users may have an **episode**: payments in several rows, in which others then do not
pay.

So it is known without looking back how often a user has paid before, when it was, and what of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flink_job.simulation.random_bits import Mixer
from operators.durations import format_duration

KINDS = ("large", "risky_country", "first_large", "outlier", "velocity", "travel", "many_cards")
"""What a planted payment can be; its place here plus 1 is its code, 0 is an honest one."""
EPISODES = ("none", "velocity", "travel", "many_cards", "rush")
"""What a team's last round can have; a rush is honest: as fast as `velocity`, but of small amounts."""

TEAM = 16
ROUNDS = 16
_STEP_S = 15.0
_SHORTEST_S, _LONGEST_S = 25 * 60.0, 86_400.0
_LOWEST_RATE = 0.1
_MAX_DISORDER_MS = 10_000
_RUSHES_OF_256 = 16

# Of each episode: the rows that it takes, and those of its payments that are frauds.
_ROWS = {
    "velocity": (range(10), range(5, 10)),
    "travel": ((3, 12), (12,)),
    "many_cards": ((0, 3, 6, 9, 12), (9, 12)),
    "rush": (range(TEAM), ()),
}
_FRAUDS = ("velocity", "travel", "many_cards")
_FRAUDS_A_TEAM = TEAM + sum(len(_ROWS[episode][1]) for episode in _FRAUDS) / len(_FRAUDS)
MAX_FRAUD_SHARE = 0.05
"""Below the share where each user had a fraud of its own and each team an episode."""

# Kinds of a single payment: the first round of a user's that they can be in, and how many rounds can be.
_SINGLE = KINDS[:4]
_FIRST_ROUND = np.array([1, 1, 0, 5])
_POSSIBLE_ROUNDS = np.array([4, 14, 1, 10])


def check_payers(users: int, event_rate: float, disorder_ms: int) -> None:
    """Refuse what frauds could not be told from honest payments in.

    Args:
        users: how many pay at a time.
        event_rate: payments a second of event time.
        disorder_ms: how late a payment may come.

    Raises:
        ValueError: begins with the key.
    """
    if event_rate < _LOWEST_RATE:
        raise ValueError(
            f"event_rate: expected at least {_LOWEST_RATE} with scenario payments, got {event_rate:g}"
        )
    if not _SHORTEST_S <= users / event_rate <= _LONGEST_S:
        fewest, most = math.ceil(_SHORTEST_S * event_rate), math.floor(_LONGEST_S * event_rate)
        raise ValueError(
            f"users: expected {fewest} to {most} with scenario payments and event_rate {event_rate:g}, "
            f"so that each pays once in 25 minutes to 1 day, got {users}"
        )
    if disorder_ms > _MAX_DISORDER_MS:
        raise ValueError(
            f"disorder: expected at most 10s with scenario payments, got {format_duration(disorder_ms)}"
        )


@dataclass(frozen=True)
class Turns:
    """Whose turn some payments are, and what they are part of.

    Attributes:
        payers: ``(n,) int64`` numbers of users.
        traits: ``(n,) uint64`` random bits of each payment's user.
        episodes: ``(n,) uint8`` places in `EPISODES`: that of the user's team, now or later.
        rows: ``(n,) int64`` rows in the lane, 0 to 15.
        in_episode: ``(n,) bool``, whether the payment is one of the episode.
        high: ``(n,) bool``, which goes to and fro with each payment of a user.
        planted: ``(n,) uint8``, 0 or a place in `KINDS` plus 1.
        bad: ``(n,) bool``, whether the event is to be spoiled.
    """

    payers: NDArray[np.int64]
    traits: NDArray[np.uint64]
    episodes: NDArray[np.uint8]
    rows: NDArray[np.int64]
    in_episode: NDArray[np.bool_]
    high: NDArray[np.bool_]
    planted: NDArray[np.uint8]
    bad: NDArray[np.bool_]


class Payers:
    """Knows whose turn each payment is.

    Args:
        seed: the simulation's.
        users: how many pay at a time; as many as make whole lanes, so it may be a few less.
        event_rate: payments a second of event time.
        fraud_share: the share of planted frauds in the long run, 0 to ``MAX_FRAUD_SHARE``. It is less in the
            first 16 rounds, since frauds need users whose life is known from its beginning.
        bad_share: the share of users whose events are all to be spoiled. Nobody has good ones besides, so
            that what is rejected is missing in nobody's past.
    """

    def __init__(
        self, seed: int, users: int, event_rate: float, fraud_share: float, bad_share: float
    ) -> None:
        """Lay out the round."""
        blocks = users // (TEAM * math.ceil(_STEP_S * event_rate))
        self._step = users // (TEAM * blocks)  # numbers from one row of a lane to the next
        self._lanes = blocks * self._step
        self._fraud_of_2_32 = fraud_share * TEAM * ROUNDS / _FRAUDS_A_TEAM * 2**32
        self._bad_of_2_32 = bad_share * 2**32
        self._begins, self._shuffles, self._teams, self._spoils, self._traits, self._frauds = (
            Mixer(seed, purpose) for purpose in range(1, 7)
        )

    def turns(self, numbers: NDArray[np.int64]) -> Turns:
        """Return whose turn the payments of these numbers are."""
        rounds, place = np.divmod(numbers, TEAM * self._lanes)
        block, place = np.divmod(place, TEAM * self._step)
        rows, lanes = np.divmod(place, self._step)
        lanes += block * self._step
        begun = (self._begins.bits(lanes) % np.uint64(ROUNDS)).astype(np.int64)
        lives, ages = np.divmod(rounds + begun, ROUNDS)
        teams = lives * self._lanes + lanes
        known = rounds >= ages  # all rounds of the team are at or after the first event
        episodes = self._episodes(teams)
        shuffle = (self._shuffles.bits(teams * ROUNDS + ages) % np.uint64(TEAM)).astype(np.int64)
        in_episode = _TAKES[episodes, rows] & known & (ages == ROUNDS - 1)
        # An episode is of the user whose row is its first.
        payers = teams * TEAM + (np.where(in_episode, _FIRST_ROWS[episodes], rows) ^ shuffle)
        bad = self._spoils.bits(payers) >> np.uint64(32) < self._bad_of_2_32
        planted = np.where(in_episode, _CODES[episodes, rows], self._single(payers, ages) * known)
        return Turns(
            payers=payers,
            traits=self._traits.bits(payers),
            episodes=episodes,
            rows=rows,
            in_episode=in_episode,
            high=((ages + rows * in_episode) & 1).astype(bool),
            planted=np.where(bad, 0, planted).astype(np.uint8),
            bad=bad,
        )

    def _episodes(self, teams: NDArray[np.int64]) -> NDArray[np.uint8]:
        bits = self._teams.bits(teams)
        fraud = 1 + bits % np.uint64(len(_FRAUDS))
        rush = np.where(bits >> np.uint64(8) & np.uint64(255) < _RUSHES_OF_256, EPISODES.index("rush"), 0)
        return np.where(bits >> np.uint64(32) < self._fraud_of_2_32, fraud, rush).astype(np.uint8)

    def _single(self, payers: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.int64]:
        """The code of a fraud that is one payment, where this is the round for it."""
        bits = self._frauds.bits(payers)
        kinds = (bits % np.uint64(len(_SINGLE))).astype(np.int64)
        when = (bits >> np.uint64(8) & np.uint64(0xFFFF)).astype(np.int64)
        when = _FIRST_ROUND[kinds] + when % _POSSIBLE_ROUNDS[kinds]
        is_now = (bits >> np.uint64(32) < self._fraud_of_2_32) & (ages == when)
        return np.where(is_now, kinds + 1, 0)


def _tables() -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.uint8]]:
    takes = np.zeros((len(EPISODES), TEAM), dtype=bool)
    first_rows = np.zeros(len(EPISODES), dtype=np.int64)
    codes = np.zeros((len(EPISODES), TEAM), dtype=np.uint8)
    for name, (taken, frauds) in _ROWS.items():
        episode = EPISODES.index(name)
        takes[episode, list(taken)] = True
        first_rows[episode] = taken[0]
        if frauds:
            codes[episode, list(frauds)] = KINDS.index(name) + 1
    return takes, first_rows, codes


_TAKES, _FIRST_ROWS, _CODES = _tables()
