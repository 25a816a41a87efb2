"""Folders that hold events: readable by this user only, and without symlinks to other places."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flink_job.machine.environment import EnvironmentProblem

_UMASK = 0o077
_LOGS = "logs"


@contextmanager
def private_folder(folder: Path) -> Iterator[None]:
    """Create a folder that only this user can access, and set the umask so for this process and its children.

    Args:
        folder: the folder; missing parents are created too.

    Raises:
        EnvironmentProblem: the folder, or an entry that would be written to, is a symlink, neither a file nor
            a folder, or owned by another user.
        OSError: the folder cannot be created.
    """
    before = os.umask(_UMASK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _expect_private(folder)
        folder.chmod(0o700)
        for entry in [*folder.iterdir(), *(folder / _LOGS).glob("*")]:
            _expect_private(entry)
        yield
    finally:
        os.umask(before)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically; a symlink at its path is replaced, not followed.

    Args:
        path: the file; its folder must exist.
        data: its content.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with open_private(draft, os.O_EXCL) as file:
        file.write(data)
    draft.replace(path)


def open_private(path: Path, flags: int = 0) -> BinaryIO:
    """Open a file for reading and writing with mode 0600, creating it if missing; symlinks are not followed.

    Args:
        path: the file.
        flags: additional flags of `os.open`.

    Raises:
        OSError: it is a symlink, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    return os.fdopen(descriptor, "r+b")


def _expect_private(path: Path) -> None:
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
