"""What a run was begun with: a run that goes on must not read its state as something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline

_FREE = {"emit_every", "allowed_lateness"}


def began_file(pipeline: Pipeline) -> Path:
    """Return the file that is written when the pipeline is begun afresh; its time is when that was."""
    return pipeline.run_folder() / "began.json"


def write_began(pipeline: Pipeline) -> None:
    """Note what shapes the state of this pipeline, which is begun afresh."""
    began_file(pipeline).write_text(json.dumps(_shape(pipeline), indent=1))


def expect_same_shape(pipeline: Pipeline) -> None:
    """Refuse to go on with a pipeline whose state means something else.

    Metrics may be added and taken out; early results, lateness and what is asked of a sketch may change.

    Raises:
        PipelineProblem: where a metric that was there is another one now; it names the key.
    """
    file = began_file(pipeline)
    if not file.is_file():
        return
    before, now = json.loads(file.read_text()), _shape(pipeline)
    changed = [
        f"metrics.{name}.{key}: was {options.get(key)!r} when the run began, is {now[name].get(key)!r} now"
        for name, options in before.items()
        if name in now
        for key in sorted({*options, *now[name]})
        if options.get(key) != now[name].get(key)
    ]
    if changed:
        raise PipelineProblem(
            "--from", [f"{line}; give the metric another name, or begin afresh" for line in changed]
        )


def _shape(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    return {
        metric.name: metric.model_dump(mode="json", exclude=_FREE | metric.answer_options)
        for metric in pipeline.metrics
    }
