"""Runs `sketchstream run` as a user does, in a process and a folder of its own, and reads what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

COMMAND = Path(sys.executable).parent / "sketchstream"
_TIMEOUT_S = 540


@dataclass(frozen=True)
class Finished:
    """What a run left.

    Attributes:
        outcome: what `--json` printed.
        answers: the highest revision of every id, retracted ones left out.
        emissions: every line of the results, in the order of the part files.
        late: the late output.
        rejects: the rejects.
        first_seen: the first events of values.
        alerts: what rules said.
    """

    outcome: dict[str, Any]
    answers: list[dict[str, Any]]
    emissions: list[dict[str, Any]]
    late: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    first_seen: list[dict[str, Any]]
    alerts: list[dict[str, Any]]

    def of(self, metric: str) -> list[dict[str, Any]]:
        """The answers of one metric."""
        return [answer for answer in self.answers if answer["metric"] == metric]


def run_pipeline(folder: Path, pipeline: dict[str, Any]) -> Finished:
    """Write a pipeline file into a folder, run it there to its end, and read its outputs.

    Args:
        folder: an empty folder; the working directory of the run.
        pipeline: the pipeline file as a mapping; its sinks are set here.
    """
    outputs = ["rejects"]
    if pipeline.get("metrics"):
        outputs += ["results", "late"]
    if any(metric["kind"] == "first_seen" for metric in pipeline.get("metrics", ())):
        outputs.append("first_seen")
    if pipeline.get("rules"):
        outputs.append("alerts")
    sinks = {name: {"type": "file", "path": name} for name in outputs}
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump({**pipeline, "sinks": sinks}, sort_keys=False), encoding="utf-8")
    assert COMMAND.exists(), f"expected {COMMAND}, the installed command: run `make setup`"
    ran = subprocess.run(
        [COMMAND, "run", path.name, "--port", "0", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    assert ran.returncode == 0, f"the run failed with {ran.returncode}:\n{ran.stderr[-4000:]}"
    outcome = json.loads(ran.stdout)
    assert outcome["finished"] is True
    emissions = _read(folder / "results")
    others = (_read(folder / name) for name in ("late", "rejects", "first_seen", "alerts"))
    return Finished(outcome, _last_words(emissions), emissions, *others)


def shipped_pipeline(root: Path, name: str, **source: Any) -> dict[str, Any]:
    """Read one of the pipeline files that come with the project, with other options of its source."""
    pipeline = yaml.safe_load((root / "pipelines" / name).read_text(encoding="utf-8"))
    pipeline["source"] |= source
    return pipeline


def _read(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for part in sorted(folder.glob("part-*.jsonl"))
        for line in part.read_text(encoding="utf-8").splitlines()
    ]


def _last_words(emissions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers, having made sure that the revisions of each id are 0, 1, 2 and so on, each sent once."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for emission in emissions:
        by_id.setdefault(emission["id"], []).append(emission)
    answers = []
    for id_, own in by_id.items():
        own.sort(key=lambda emission: emission["revision"])
        assert [emission["revision"] for emission in own] == list(range(len(own))), id_
        if not own[-1].get("retracted"):
            assert own[-1]["final"] is True, own[-1]
            answers.append(own[-1])
    return answers
