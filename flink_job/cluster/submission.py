"""Hands a pipeline to a cluster, by the command that a user would type: `flink run`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flink_job.cluster.code_archive import write_code_archive
from flink_job.cluster.failure_reasons import reason_of
from flink_job.cluster.failures import JobFailed
from flink_job.connector import connector_jar
from flink_job.machine.environment import export_java
from flink_job.machine.flink import flink_home
from flink_job.pipeline.spec import Pipeline
from operators.plain_text import in_lines

_MODULE = "flink_job.main"
_JOB_ID = re.compile(r"Job has been submitted with JobID ([0-9a-f]{32})")
_TIMEOUT_S = 180
_QUIET = {"ROOT_LOG_LEVEL": "WARN"}
"""At lower levels Flink's client logs its arguments and whole environment, including secrets."""


def submit(
    pipeline: Pipeline,
    path: Path,
    overrides: Sequence[str],
    cluster: str,
    restore: str | None,
    settings: dict[str, str],
) -> str:
    """Submit a pipeline and return the id of its job, which runs on without this process.

    Args:
        pipeline: the pipeline.
        path: its file.
        overrides: `a.b=c`, as given to `load_pipeline`.
        cluster: `host:port` of the cluster's REST interface.
        restore: the checkpoint or savepoint to go on from; None to begin afresh.
        settings: configuration of Flink for this job, besides what the job sets itself.

    Raises:
        EnvironmentProblem: where Java or the connector's jar is missing.
        JobFailed: where the job could not be submitted.
    """
    export_java()
    logs = pipeline.run_folder() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    code, log = pipeline.run_folder() / "code.zip", logs / "submission.log"
    write_code_archive(code)
    command = [str(flink_home() / "bin" / "flink"), "run", "--detached", "-m", cluster]
    command += [f"-D{key}={value}" for key, value in settings.items()]
    command += [] if restore is None else ["-s", restore]
    command += ["--jarfile", str(connector_jar())] if pipeline.uses_kafka() else []
    command += ["-pyclientexec", sys.executable, "-pyfs", str(code), "-pym", _MODULE]
    command += ["--pipeline", str(path.absolute()), *(f"--set={override}" for override in overrides)]
    try:
        ran = subprocess.run(
            command,
            env=os.environ | {"FLINK_LOG_DIR": str(logs)} | _QUIET,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise JobFailed(f"{cluster} did not take the job within {_TIMEOUT_S} s", log) from None
    log.write_text(in_lines(f"{ran.stdout}\n{ran.stderr}"), encoding="utf-8")
    submitted = _JOB_ID.search(ran.stdout)
    if submitted is None:
        raise JobFailed(reason_of(f"{ran.stderr}\n{ran.stdout}"), log)
    return submitted[1]
