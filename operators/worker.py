"""What a Python worker is told when it begins to work, so that nothing in it waits for long."""

from __future__ import annotations

import gc
import threading
from typing import Any

_THRESHOLDS = (10_000, 20, 100)


def settle() -> None:
    """Have nothing stop the worker that is of no use to it; to be called when a function opens."""
    _take_no_samples()
    _pass_over_what_is_there()


def _pass_over_what_is_there() -> None:
    """Have collections of garbage leave out what there is by now.

    What was imported stays for as long as the process does, some hundred thousand objects, and a full
    collection goes through all of them while nothing else happens: 80 to 115 ms every other second of rules
    at 5,000 events a second. What functions make of events is in no cycles and goes by itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


def _take_no_samples() -> None:
    """Have Beam not look, from a thread of its own, at where the time of each bundle goes.

    The thread is begun with every bundle, and the bundle is not done before the thread has slept out: 1 to 3
    ms. Flink does not ask for what it finds.
    """
    # Workers have Beam loaded by now; a client that only imports this module has not, and need not.
    from apache_beam.runners.worker.statesampler import StateSampler, set_current_tracker

    if StateSampler.start.__module__ == __name__:
        return
    stop_thread = StateSampler.stop

    def start(sampler: Any) -> None:
        sampler.tracked_thread = threading.current_thread()
        sampler.started = sampler.has_no_thread = True
        set_current_tracker(sampler)

    def stop(sampler: Any) -> None:
        if not getattr(sampler, "has_no_thread", False):  # begun before this was called
            stop_thread(sampler)
            return
        sampler.finished = True
        set_current_tracker(None)

    StateSampler.start, StateSampler.stop = start, stop
