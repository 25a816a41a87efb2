"""Folders with events in them: for this user alone, and without links that lead elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flink_job.machine.environment import EnvironmentProblem

_OTHERS = 0o077
_LOGS = "logs"


@contextmanager
def private_folder(folder: Path) -> Iterator[None]:
    """Make a folder for this user alone; so is all that this process, and what it starts, makes meanwhile.

    Args:
        folder: the folder; its parents are made too.

    Raises:
        EnvironmentProblem: where it, or something in it that would be written, is a link, no file or folder,
            or another user's.
        OSError: where it cannot be made.
    """
    before = os.umask(_OTHERS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _expect_own(folder)
        folder.chmod(0o700)
        for entry in [*folder.iterdir(), *(folder / _LOGS).glob("*")]:
            _expect_own(entry)
        yield
    finally:
        os.umask(before)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a link of its name is replaced, not followed.

    Args:
        path: the file; its folder must be there.
        data: what is to be in it.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with open_own(draft, os.O_EXCL) as file:
        file.write(data)
    draft.replace(path)


def open_own(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file for this user alone; it is made where it is not there, and a link is not followed.

    Args:
        path: the file.
        flags: those of `os.open` besides.

    Raises:
        OSError: where it is a link, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    return os.fdopen(descriptor, "r+b")


def _expect_own(path: Path) -> None:
    found = path.lstat()
    advice = "remove it; the pipeline's checkpoints.dir and sinks.*.path name other places for what is large"
    if stat.S_ISLNK(found.st_mode):
        raise EnvironmentProblem(
            f"{path} is a link: what a run writes there would be written elsewhere", advice
        )
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise EnvironmentProblem(f"{path} is neither a file nor a folder", advice)
    if found.st_uid != os.geteuid():
        raise EnvironmentProblem(
            f"{path} belongs to another user, who could read and change what a run writes there",
            "run in a folder of your own, or have it given to you",
        )
