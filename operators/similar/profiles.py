"""Users' profiles: the mean of the vectors that a user touched, in which what is older counts less.

A touch at `t` counts `2 ** -((T - t) / half_life)` at `T`. Event times decide and not the order in which
events come: a late touch has the weight that it would have had in time. What is kept of a user is the sum of
the weighted vectors, the sum of the weights and the newest time, to which both refer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from state.profile_state import Profiles, ProfileState

LEAST_WEIGHT = 2.0**-20
"""A profile of less weight than this is none: twenty half-lives after its only touch."""


def add_touch(profiles: Profiles, user: bytes, time_ms: int, vector: np.ndarray, half_life_ms: int) -> None:
    """Add a touch to the profile of a user, who may not have had one.

    Args:
        profiles: where it is.
        user: the user's name.
        time_ms: when.
        vector: of the item that was touched, `(d,) float32` of length 1.
        half_life_ms: after which a touch counts half.
    """
    row = profiles.new_row(user)
    weight, last_ms = float(profiles.weights[row]), int(profiles.times[row])
    if weight == 0 or time_ms >= last_ms:
        factor = _decay(time_ms - last_ms, half_life_ms) if weight else 0.0
        profiles.sums[row] = profiles.sums[row] * factor + vector
        profiles.weights[row] = weight * factor + 1.0
        profiles.times[row] = time_ms
    else:
        factor = _decay(last_ms - time_ms, half_life_ms)
        profiles.sums[row] += vector * np.float32(factor)
        profiles.weights[row] += factor


def user_name(user: str | int) -> bytes:
    """Return the name by which a user's profile is kept."""
    return str(user).encode("utf-8", "surrogatepass")


class DecayedProfiles:
    """Adds touches to profiles and tells their directions.

    Args:
        state: the profiles by shard.
        half_life_ms: after which a touch counts half.
    """

    def __init__(self, state: ProfileState, half_life_ms: int) -> None:
        """Wrap the state."""
        self.state, self._half_life_ms = state, half_life_ms

    def take(
        self,
        shard: str,
        users: Sequence[bytes],
        owners: np.ndarray,
        times: np.ndarray,
        vectors: Sequence[np.ndarray | None],
        asks: np.ndarray,
    ) -> list[np.ndarray | None]:
        """Take some events of the shard at hand, in their order; a touch counts for its own question.

        Args:
            shard: names the shard at hand.
            users: the names of the users.
            owners: the number of each event's user, `(n,) int64`.
            times: the time of each event, `(n,) int64` milliseconds.
            vectors: what each event touches, `(d,) float32`; None where nothing.
            asks: whether each event asks, `(n,) bool`.

        Returns:
            For each event that asks the direction of its user's profile, `(d,) float32` of length 1; None
            where there is no profile.
        """
        profiles = self.state.shard(shard)
        directions: list[np.ndarray | None] = []
        changed: dict[bytes, None] = {}
        told = zip(owners.tolist(), times.tolist(), vectors, asks.tolist(), strict=True)
        for owner, time_ms, vector, is_question in told:
            user = users[owner]
            if vector is not None:
                add_touch(profiles, user, time_ms, vector, self._half_life_ms)
                changed[user] = None
            if is_question:
                directions.append(self._direction(profiles, profiles.row(user), time_ms))
        if changed:
            # The oldest event decides, lest one with a wrong clock has everybody forgotten.
            now_ms = int(times.min())
            self.state.write(shard, list(changed), lambda rows: self._faded(profiles, rows, now_ms))
        return directions

    def _direction(self, profiles: Profiles, row: int | None, time_ms: int) -> np.ndarray | None:
        if row is None:
            return None
        age_ms = max(0, time_ms - int(profiles.times[row]))
        if profiles.weights[row] * _decay(age_ms, self._half_life_ms) < LEAST_WEIGHT:
            return None
        mean = profiles.sums[row] / profiles.weights[row]
        length = float(np.linalg.norm(mean))
        # Vectors that point in opposite ways leave nothing but what was rounded.
        return None if length < 1e-6 else (mean / length).astype(np.float32)

    def _faded(self, profiles: Profiles, rows: np.ndarray, now_ms: int) -> np.ndarray:
        """Return which of these rows are no profiles any more, `(n,) bool`."""
        ages = np.maximum(now_ms - profiles.times[rows], 0) / self._half_life_ms
        return profiles.weights[rows] * 2.0**-ages < LEAST_WEIGHT


def _decay(age_ms: int, half_life_ms: int) -> float:
    return 2.0 ** -(age_ms / half_life_ms)
