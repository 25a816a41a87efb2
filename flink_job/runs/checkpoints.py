"""Finds the checkpoint or savepoint that a run goes on from."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import began_file, expect_same_shape

_METADATA = "_metadata"


def savepoint_folder(pipeline: Pipeline) -> str:
    """Return the URI under which a stopped run leaves its savepoint."""
    return pipeline.checkpoint_uri().rstrip("/") + "/savepoints"


def restore_point(pipeline: Pipeline, wanted: str) -> str:
    """Return the URI of what to go on from.

    Args:
        pipeline: the pipeline.
        wanted: `latest`, or the path or URI of a checkpoint or savepoint.

    Raises:
        PipelineProblem: where there is none, or its state is of another shape than the pipeline.
    """
    expect_same_shape(pipeline)
    if wanted == "latest":
        return latest(pipeline).as_uri()
    if "://" in wanted and not wanted.startswith("file:"):
        return wanted
    folder = _local(wanted) if wanted.startswith("file:") else Path(wanted).absolute()
    if not (folder / _METADATA).is_file():
        raise PipelineProblem(
            "--from", [f"{folder} is no checkpoint or savepoint: it has no file {_METADATA}"]
        )
    return folder.as_uri()


def latest(pipeline: Pipeline) -> Path:
    """Return the folder of the newest checkpoint or savepoint since the pipeline was last begun afresh.

    Raises:
        PipelineProblem: where there is none, or checkpoints are not in local files.
    """
    uri = pipeline.checkpoint_uri()
    if not uri.startswith("file:"):
        raise PipelineProblem("--from latest", [f"checkpoints are in {uri}; name the one to go on from"])
    began = began_file(pipeline)
    began_ns = began.stat().st_mtime_ns if began.is_file() else 0
    found = [path for path in _local(uri).glob(f"*/*/{_METADATA}") if path.stat().st_mtime_ns >= began_ns]
    if not found:
        raise PipelineProblem(
            "--from latest",
            [f"there is no checkpoint of {pipeline.name} in {_local(uri)}; run it without --from to begin"],
        )
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent


def _local(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
