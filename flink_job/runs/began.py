"""What a run was begun with: a run that goes on must not read its state as something else."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.redaction import without_secrets
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.json_files import read_json, write_json

_REMEDY = (
    "run it without --from to begin afresh; or remove that file to go on, and see to it yourself that "
    "metrics are what they were when the run began"
)
_FREE, _COUNTS = {"emit_every", "allowed_lateness"}, "counts_revisions"
_SALT, _SHA256 = "salt", "sha256"


def began_file(pipeline: Pipeline) -> Path:
    """Return the file that is written when the pipeline is begun afresh; its time is when that was."""
    return pipeline.run_folder() / "began.json"


def write_began(pipeline: Pipeline) -> None:
    """Note what shapes the state of this pipeline, which is begun afresh."""
    write_json(began_file(pipeline), _noted(pipeline))


def expect_same_shape(pipeline: Pipeline) -> None:
    """Refuse to go on with a pipeline whose state means something else.

    Metrics may be added and taken out; early results, lateness and what is asked of a sketch may change. But
    a metric that had one of the first two keeps one: without, it does not know which revisions it sent.

    Raises:
        PipelineProblem: where a metric that was there is another one now; it names the key. Or where the file
            written at the beginning of the run cannot be read.
    """
    before, now = read_json(began_file(pipeline), dict[str, dict[str, Any]], _REMEDY), _shape(pipeline)
    if before is None:
        return
    counting = _counting(pipeline)
    counted = {name for name, options in before.items() if options.pop(_COUNTS, False)}
    changed = [
        f"{name}: had emit_every or allowed_lateness when the run began, has neither now"
        for name in now
        if name in counted and not counting.get(name)
    ]
    changed += [
        f"{name}.{key}: {_describe_change(options.get(key), now[name].get(key))}"
        for name, options in before.items()
        if name in now
        for key in sorted({*options, *now[name]})
        if not _is_same(options.get(key), now[name].get(key))
    ]
    if changed:
        raise PipelineProblem(
            "--from", [f"{line}; give a metric another name, or begin afresh" for line in changed]
        )


def _describe_change(before: Any, now: Any) -> str:
    """Describe how an option changed, without values of variables."""
    told = f"was {before!r} when the run began, is {now!r} now"
    hidden = _is_digest(before) or without_secrets(told) != told
    return "is not what it was when the run began" if hidden else told


def _noted(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    counting = _counting(pipeline)
    return {
        name: {key: _storable(value) for key, value in options.items()} | {_COUNTS: counting.get(name, False)}
        for name, options in _shape(pipeline).items()
    }


def _storable(value: Any) -> Any:
    """Return an option as it is stored: a salted digest where it contains the value of a variable."""
    text = json.dumps(value)
    return value if without_secrets(text) == text else _digest(text, secrets.token_hex(8))


def _digest(text: str, salt: str) -> dict[str, str]:
    return {_SALT: salt, _SHA256: hashlib.sha256(f"{salt}{text}".encode()).hexdigest()}


def _is_digest(noted: Any) -> bool:
    return isinstance(noted, dict) and set(noted) == {_SALT, _SHA256}


def _is_same(noted: Any, now: Any) -> bool:
    return noted == (_digest(json.dumps(now), noted[_SALT]) if _is_digest(noted) else now)


def _counting(pipeline: Pipeline) -> dict[str, bool]:
    """Return by metric whether it remembers which revisions it sent."""
    return {f"metrics.{metric.name}": metric.counts_revisions for metric in pipeline.resolved_metrics()}


def _shape(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Return the options that shape state, by the key of what has it."""
    shape = {
        f"metrics.{metric.name}": metric.model_dump(mode="json", exclude=_FREE | metric.answer_options)
        for metric in pipeline.metrics
    }
    if pipeline.enrich is not None:
        shape["enrich"] = pipeline.enrich.model_dump(mode="json")
    shape |= {f"similar.{entry.name}": entry.shape() for entry in pipeline.similar}
    return shape
