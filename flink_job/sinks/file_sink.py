"""Files as a sink: JSON lines in part files that appear, whole, with each checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from flink_job.machine.environment import EnvironmentProblem

if TYPE_CHECKING:
    from pyflink.datastream import DataStream

PART_PREFIX, PART_SUFFIX = "part", ".jsonl"


class FileSinkSpec(BaseModel):
    """Options of a sink `{type: file}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["file"]
    path: str = Field(min_length=1, description="A folder; part files appear in it with each checkpoint.")


class ResultFileSinkSpec(FileSinkSpec):
    """Options of a sink `{type: file}` for results."""

    with_sketch: bool = Field(False, description="Whether results carry the sketch's own image in base64.")


class FileSink:
    """A folder of part files, exactly once: a part is renamed to its final name when its checkpoint is done.

    Args:
        folder: where the part files go; made if it is not there.
    """

    takes_keys = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def attach(self, lines: DataStream, uid: str) -> None:
        """End a stream of JSON texts in this folder."""
        from pyflink.common.serialization import Encoder
        from pyflink.datastream.connectors import file_system as flink

        self.folder.mkdir(parents=True, exist_ok=True)
        names = flink.OutputFileConfig.builder().with_part_prefix(PART_PREFIX).with_part_suffix(PART_SUFFIX)
        sink = (
            flink.FileSink.for_row_format(self.folder.absolute().as_uri(), Encoder.simple_string_encoder())
            .with_bucket_assigner(flink.BucketAssigner.base_path_bucket_assigner())
            .with_rolling_policy(flink.RollingPolicy.on_checkpoint_rolling_policy())
            .with_output_file_config(names.build())
            .build()
        )
        lines.sink_to(sink).uid(uid).name(uid)


def parts(folder: Path) -> list[Path]:
    """Return the finished part files of a folder, oldest first."""
    found = (path for path in folder.glob(f"{PART_PREFIX}-*{PART_SUFFIX}") if not path.name.startswith("."))
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))


def read_lines(folder: Path) -> Iterator[bytes]:
    """Yield the lines of all finished part files of a folder."""
    for path in parts(folder):
        with path.open("rb") as file:
            yield from file


def read_objects(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of all finished part files of a folder.

    Raises:
        EnvironmentProblem: a line is not a JSON object, so it was not written by a run.
    """
    for path in parts(folder):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield msgspec.json.decode(line, type=dict[str, Any])
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
                    raise EnvironmentProblem(
                        f"{path}, line {number}: a run did not write this: {problem}",
                        "Remove that file, or put it back as it was. The run is done; only what it tells at "
                        "its end cannot be counted.",
                    ) from None
