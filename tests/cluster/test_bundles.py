"""How much the Python operators of a job gather before their workers get it, as Flink was told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

INGEST, WINDOWS, BEHIND = "PythonCalc", "windows", ("rules", "first seen")


@pytest.mark.parametrize(("profile", "ingest_ms", "records"), [("latency", 5, 1), ("throughput", 200, 2)])
def test_what_ingest_gathers_is_not_what_is_gathered_behind_it(
    profile: str, ingest_ms: int, records: int, project_root: Path, tmp_path: Path
) -> None:
    """A table that becomes a stream tells the whole environment what it was told itself."""
    script, pipeline = (
        Path(__file__).with_name("bundles_of_job.py"),
        project_root / "pipelines" / "fraud.yaml",
    )
    ran = subprocess.run(
        [sys.executable, script, pipeline, ",".join([INGEST, WINDOWS, *BEHIND]), f"profile={profile}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    bundles = json.loads(ran.stdout)
    assert bundles.pop(INGEST)[0] == ingest_ms
    assert bundles.pop(WINDOWS) == [200, 2]
    assert bundles == {name: [200, records] for name in BEHIND}
