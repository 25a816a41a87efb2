"""What a Python worker is told when it starts to work, so that nobody waits in it for long."""

from __future__ import annotations

import gc
import sys

_YOUNG = 20_000
_SWITCH_S = 0.0005


def settle() -> None:
    """Let threads take turns more often and collections of garbage come more seldom; when a function opens.

    A bundle passes through four threads of the worker, and with other bundles at work each hop waits as long
    as a thread may go on: 5 ms by default. What has been imported by now stays with the process, hundreds of
    thousands of objects, and a full collection goes through all of them while nothing else happens; what
    functions make of events is in no cycles and goes by itself.
    """
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 50, 100)
