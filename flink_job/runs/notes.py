"""Small JSON files in a run's folder: written whole or not at all, and told plainly where they are broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import msgspec

from flink_job.machine.private_folder import write_whole
from flink_job.pipeline.reading import PipelineProblem

Form = TypeVar("Form")


def write_note(file: Path, content: object) -> None:
    """Write a file; who reads it meanwhile finds it as it was."""
    write_whole(file, json.dumps(content, indent=1).encode())


def read_note(file: Path, form: type[Form], remedy: str) -> Form | None:
    """Read a file, None where it is not there.

    Args:
        file: the file.
        form: what is expected in it.
        remedy: what to do where it holds something else.

    Raises:
        PipelineProblem: where it cannot be read, or holds something else.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=form)
    except FileNotFoundError:
        return None
    except OSError as problem:
        fault = problem.strerror
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        fault = str(problem)
    raise PipelineProblem("--from", [f"{file} is damaged, or not what a run wrote ({fault}); {remedy}"])
