"""What may be in the way of a run, one independent check each, with the remedy beside every fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from rich.table import Table
from rich.text import Text

from flink_job.commands.examination import jars, machine
from flink_job.commands.examination.cluster import check_cluster
from flink_job.commands.examination.finding import Finding, guarded
from flink_job.commands.examination.jars import JAR_CHECKSUMS
from flink_job.commands.examination.kafka import check_kafka
from flink_job.pipeline.redaction import without_secrets
from flink_job.pipeline.spec import Pipeline

__all__ = ["JAR_CHECKSUMS", "as_json", "examine", "render"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(pipeline: Pipeline | None = None, cluster: str | None = None) -> list[Finding]:
    """Every check of this machine, in a fixed order, then of what a pipeline and a run on a cluster need.

    A check that breaks is itself a failed finding.

    Args:
        pipeline: a pipeline whose brokers and topics are looked at.
        cluster: `host:port` of a cluster that is looked at.

    Returns:
        One finding per check.
    """
    needed = pipeline is not None and pipeline.uses_kafka()
    checks: dict[str, Callable[[], Finding]] = {
        "Python": machine.check_python,
        "Java": machine.check_java,
        "packages": machine.check_packages,
        "Flink": jars.check_flink,
        "connector": lambda: jars.check_connector(needed=needed),
        "connector's version": jars.check_connector_version,
        "broker's jars": jars.check_broker_jars,
        "web UI port": machine.check_port,
        "disk": machine.check_disk,
        "machine": machine.check_machine,
    }
    if cluster is not None:  # which has a web UI of its own
        del checks["web UI port"]
    findings = [guarded(name, lambda check=check: [check()]) for name, check in checks.items()]
    if pipeline is not None:
        if cluster is None:  # a cluster has its own file system plugins
            findings.append(guarded("checkpoints", lambda: [jars.check_file_system(pipeline)]))
        findings.append(guarded("Kafka", lambda: check_kafka(pipeline)))
    if cluster is not None:
        findings.append(guarded("cluster", lambda: check_cluster(cluster, pipeline)))
    return [
        replace(finding, detail=without_secrets(finding.detail), remedy=without_secrets(finding.remedy))
        for several in findings
        for finding in several
    ]


def render(findings: Sequence[Finding]) -> Table:
    """The findings as a table for the terminal, each remedy under its fault."""
    table = Table("", "checked", "found", box=None, pad_edge=False)
    for finding in findings:
        colour = _COLOURS[finding.status]
        found = finding.detail if not finding.remedy else f"{finding.detail}\n-> {finding.remedy}"
        table.add_row(f"[{colour}]{finding.status}[/]", finding.name, Text(found))
    return table


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as a JSON array of objects with name, status, detail and remedy."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
