"""Timing on one core: several ways to do a thing, in turn, over and over, so that all meet the same weather.

The clock is the CPU time of this process, pinned to one core and with one thread: on a quiet machine that is
the wall time, and on a shared one it leaves out the time that neighbours had the core. What they do to caches
and memory stays in, so that the best of many rounds is the figure to read, and the median says how steady it
is. Rounds have to be alike for that: none may have less work to do than another.
`core_share` tells how much of the core the process got: well below 1, the machine was not quiet.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Timing:
    """How long one contender took, round by round.

    Attributes:
        name: what it is called in the table.
        seconds: CPU time of each round.
        items: how many items each round had.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    items: list[int] = field(default_factory=list)

    @property
    def best_ns(self) -> float:
        """The fewest nanoseconds an item of all rounds."""
        return min(self._each())

    @property
    def median_ns(self) -> float:
        """The median of the rounds' nanoseconds an item."""
        return median(self._each())

    @property
    def best_rate(self) -> float:
        """The most items a second of all rounds."""
        return 1e9 / self.best_ns

    def _each(self) -> list[float]:
        return [1e9 * taken / count for taken, count in zip(self.seconds, self.items, strict=True)]


@dataclass(frozen=True)
class Race:
    """Contenders timed side by side.

    Attributes:
        timings: one a contender, in the order they were given.
        core_share: CPU time over wall time of all that was timed, 0 to 1.
    """

    timings: tuple[Timing, ...]
    core_share: float

    def __getitem__(self, name: str) -> Timing:
        """Return the timing of a contender."""
        return next(timing for timing in self.timings if timing.name == name)


def pin_to_one_core() -> None:
    """Bind this process to the last core it may use, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def race(
    contenders: dict[str, Callable[[object], object]],
    rounds: Iterator[tuple[int, dict[str, object]]] | Sequence[tuple[int, dict[str, object]]],
    warm_up: int = 1,
) -> Race:
    """Time every contender once in each round, the order turned by one from round to round.

    Args:
        contenders: what to time, by name; each is called with its own input.
        rounds: for each round how many items it has, and the input of every contender.
        warm_up: how many rounds at the start are run but not counted.

    Returns:
        The timings.
    """
    timings = {name: Timing(name) for name in contenders}
    cpu = wall = 0.0
    for number, (count, inputs) in enumerate(rounds):
        names = list(contenders)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            run, given = contenders[name], inputs[name]
            gc.collect()
            gc.disable()
            wall_began, began = time.perf_counter(), time.process_time()
            run(given)
            taken = time.process_time() - began
            wall += time.perf_counter() - wall_began
            gc.enable()
            cpu += taken
            if number >= warm_up:
                timings[name].seconds.append(taken)
                timings[name].items.append(count)
    return Race(tuple(timings.values()), min(1.0, cpu / wall))
