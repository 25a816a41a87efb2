"""Waiting for what another process or thread is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_for(
    found: Callable[[], Any], what: str, alive: Callable[[], bool] = lambda: True, *, timeout_s: float = 150
) -> Any:
    """Return what is found once it is truthy.

    Args:
        found: what to look at, again and again.
        what: what a failure says was waited for.
        alive: whether it can still come; asked after each look in vain.
        timeout_s: how long to wait: long enough for a machine that is busy.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if result := found():
            return result
        assert alive(), f"it ended before there was: {what}"
        time.sleep(0.05)
    raise AssertionError(f"waited {timeout_s} s for {what}")
