"""How a pipeline is handed to Flink's own command."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flink_job.cluster import submission
from flink_job.pipeline.reading import load_pipeline

PIPELINE = """
name: shop
source: {type: file, path: e}
event: {fields: {ts: long}, time: {field: ts, unit: ms}}
metrics: [{name: n, kind: count, windows: [{tumbling: 1m}]}]
"""
CLIENT = """#!/bin/sh
[ "$ROOT_LOG_LEVEL" = WARN ] || { echo "Program Arguments: $*"; env; } > "$FLINK_LOG_DIR/client.log"
echo "Job has been submitted with JobID 0123456789abcdef0123456789abcdef"
"""
"""Logs as Flink's does: log4j-cli.properties takes the level from ROOT_LOG_LEVEL, INFO by default."""


def test_what_set_and_variables_hold_is_in_no_log_of_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_PASSWORD", "s3cr3t-Canary")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "flink").write_text(CLIENT)
    os.chmod(tmp_path / "bin" / "flink", 0o755)
    monkeypatch.setattr(submission, "flink_home", lambda: tmp_path)
    monkeypatch.setattr(submission, "export_java", lambda: None)
    path = tmp_path / "pipeline.yaml"
    path.write_text(PIPELINE)
    override = "source.path=s3cr3t-Canary"
    job = submission.submit(load_pipeline(path), path, [override], "localhost:1", None, {})
    assert job == "0123456789abcdef0123456789abcdef"
    written = [file for file in (tmp_path / ".sketchstream").rglob("*") if file.is_file()]
    assert any(file.name == "submission.log" for file in written)
    assert [file for file in written if b"s3cr3t-Canary" in file.read_bytes()] == []
