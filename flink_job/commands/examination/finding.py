"""What a check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Args:
        name: What was checked.
        status: `ok`; `warn` where some uses are hampered; `fail` where nothing can run.
        detail: What was found.
        remedy: The step that puts it right; empty when all is well.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def guarded(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Return what a check finds; one that breaks is itself a failed finding.

    Args:
        name: What is checked.
        check: Finds out.
    """
    # A doctor that falls over tells the user nothing about the other checks.
    try:
        return check()
    except Exception as error:
        detail = f"the check itself broke: {type(error).__name__}: {error}"
        return [Finding(name, "fail", detail, "Report this as a bug, with this line.")]
