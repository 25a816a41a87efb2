"""Small JSON files in a run's folder: atomic writes, validated reads with a clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import msgspec

from flink_job.machine.private_folder import write_atomically
from flink_job.pipeline.reading import PipelineProblem

Form = TypeVar("Form")


def write_json(file: Path, content: object) -> None:
    """Write an object as JSON, atomically: a concurrent reader sees the old or the new file, never a part."""
    write_atomically(file, json.dumps(content, indent=1).encode())


def read_json(file: Path, form: type[Form], remedy: str) -> Form | None:
    """Read and validate a JSON file; None where it does not exist.

    Args:
        file: the file.
        form: the type that its content must have.
        remedy: what to do where the content is invalid, for the message.

    Raises:
        PipelineProblem: the file cannot be read, or its content is invalid.
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
