"""What is told where a lost run on this machine is not gone on with by itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flink_job.commands.revival import revive
from flink_job.commands.run import _totals
from flink_job.machine.environment import EnvironmentProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.sinks.file_sink import read_objects

DOCUMENT = {
    "name": "shop",
    "source": {"type": "simulator"},
    "event": {"fields": {"u": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
    "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
}
ARGUMENTS = ["my shop.yaml", "--set=parallelism=1"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_before_the_first_checkpoint_it_is_told_that_there_is_none_and_how_to_begin_again() -> None:
    assert revive(Pipeline.model_validate(DOCUMENT), "gone", ARGUMENTS) == (
        "it had no checkpoint yet, so there is nothing to go on from; begin again with: "
        "sketchstream run 'my shop.yaml'"
    )


def test_after_three_times_the_last_checkpoint_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKETCHSTREAM_REVIVALS", "3")
    checkpoint = folder / ".sketchstream" / "shop" / "checkpoints" / "job" / "chk-7"
    checkpoint.mkdir(parents=True)
    (checkpoint / "_metadata").touch()
    told = revive(Pipeline.model_validate(DOCUMENT), "gone", ARGUMENTS)
    assert told.splitlines() == [
        "it was lost 4 times, so it is not gone on with by itself",
        f"its last checkpoint: {checkpoint}",
        "go on with: sketchstream run 'my shop.yaml' --from latest",
    ]


def test_checkpoints_elsewhere_are_to_be_named() -> None:
    elsewhere = Pipeline.model_validate(DOCUMENT | {"checkpoints": {"dir": "s3://bucket/c/"}})
    assert revive(elsewhere, "gone", ARGUMENTS).endswith("--from s3://bucket/c/JOB/chk-NUMBER")


@pytest.mark.parametrize("broken", [b'{"events": ', b"[]", b'{"a": "\xff"}', b"[" * 100_000])
def test_a_file_that_no_run_wrote_among_its_outputs_is_named(folder: Path, broken: bytes) -> None:
    (folder / "part-0.jsonl").write_bytes(b'{"events": 3, "rejects": {"bad": 1}}\n' + broken + b"\n")
    with pytest.raises(
        EnvironmentProblem, match=r"part-0\.jsonl, line 2: a run did not write this: "
    ) as told:
        _totals(folder)
    assert told.value.remedy.startswith("Remove that file")


def test_numbers_of_any_size_are_read_as_the_json_module_does(folder: Path) -> None:
    line = b'{"a": 123456789012345678901234567890, "b": 0.1, "c": [null, true, "\\u00e9"]}\n'
    (folder / "part-0.jsonl").write_bytes(line)
    assert list(read_objects(folder)) == [json.loads(line)]
