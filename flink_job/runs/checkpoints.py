"""Finds the checkpoint or savepoint that a run goes on from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlparse

from flink_job.pipeline.file_systems import FILE, expect_file_system, scheme_of
from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import began_file, expect_same_shape

SAVEPOINTS = "savepoints"
_METADATA = "_metadata"
_ID_IN_NAME = 6


def savepoint_folder(pipeline: Pipeline) -> str:
    """Return the URI under which a stopped run leaves its savepoint."""
    return pipeline.checkpoint_uri().rstrip("/") + f"/{SAVEPOINTS}"


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
    scheme = scheme_of(wanted) if "://" in wanted else ""
    if scheme and scheme != FILE:
        try:
            return expect_file_system(wanted)
        except ValueError as problem:
            raise PipelineProblem("--from", [str(problem)]) from None
    folder = _local(wanted) if wanted.startswith(f"{FILE}:") else Path(wanted).absolute()
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
    if scheme_of(uri) != FILE:
        raise PipelineProblem("--from latest", [f"checkpoints are in {uri}; name the one to go on from"])
    began = began_file(pipeline)
    began_ns = began.stat().st_mtime_ns if began.is_file() else 0
    newest = _newest(path for path in _local(uri).glob(f"*/*/{_METADATA}") if _written_ns(path) >= began_ns)
    if newest is None:
        raise PipelineProblem(
            "--from latest",
            [f"there is no checkpoint of {pipeline.name} in {_local(uri)}; run it without --from to begin"],
        )
    return newest


def latest_of_job(folder: str, job: str) -> str | None:
    """Return the URI of a job's newest complete checkpoint or savepoint; None where none is found locally.

    Args:
        folder: URI of the checkpoint folder, which has a subfolder for each job.
        job: the job's id.
    """
    if scheme_of(folder) != FILE:
        return None
    local = _local(folder)
    # Flink names a savepoint after the first six characters of the job's id.
    saved = local.glob(f"{SAVEPOINTS}/savepoint-{job[:_ID_IN_NAME]}-*/{_METADATA}")
    newest = _newest([*local.glob(f"{job}/chk-*/{_METADATA}"), *saved])
    return None if newest is None else newest.as_uri()


def may_exist(uri: str) -> bool:
    """Return whether a checkpoint exists, or may exist where its folder is not visible from this machine."""
    if scheme_of(uri) != FILE:
        return True
    folder = _local(uri)
    return (folder / _METADATA).is_file() or not folder.parent.parent.is_dir()


def _newest(found: Iterable[Path]) -> Path | None:
    """Return the folder of the newest `_metadata` file, which only a complete checkpoint has."""
    newest = max(found, key=_written_ns, default=None)
    return None if newest is None else newest.parent


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # Flink deleted it in the meantime, as newer ones subsume it
        return -1


def _local(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))
