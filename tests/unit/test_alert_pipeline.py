"""The section `alerts` in a pipeline file: secrets from the environment, which nothing shows."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flink_job.cli import main
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.runs.began import began_file, write_began

ENVIRONMENT = {"HOOK": "https://example.org/hook-path-9", "KEY": "sign-key-9", "TOKEN": "header-9"}
SECRETS = ("hook-path-9", "sign-key-9", "header-9")
PIPELINE: dict[str, Any] = {
    "name": "shop",
    "source": {"type": "file", "path": "events.json"},
    "event": {
        "fields": {"user": "string", "value": "double", "ts": "long"},
        "time": {"field": "ts", "unit": "ms"},
    },
    "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
    "features": {"of": "user"},
    "rules": [{"name": "big", "when": "value > 100"}],
    "alerts": {
        "deliver": [
            {
                "name": "ops", "type": "webhook", "url": "${HOOK}", "secret": "${KEY}",
                "headers": {"Authorization": "Bearer ${TOKEN}"}, "rules": ["big"],
            }
        ]
    },
}  # fmt: skip


def written(folder: Path, **channel: Any) -> Path:
    pipeline = copy.deepcopy(PIPELINE)
    pipeline["alerts"]["deliver"][0] |= channel
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    return folder / "pipeline.yaml"


def test_secrets_come_from_the_environment_and_are_in_nothing_that_is_shown_or_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = load_pipeline(written(tmp_path), (), ENVIRONMENT)
    channel = pipeline.alerts.deliver[0]
    assert channel.url.get_secret_value() == ENVIRONMENT["HOOK"]
    assert channel.headers["Authorization"].get_secret_value() == "Bearer header-9"
    began_file(pipeline).parent.mkdir(parents=True)
    write_began(pipeline)
    shown = [
        pipeline.plan_json(),
        repr(pipeline),
        pipeline.model_dump_json(),
        began_file(pipeline).read_text(),
    ]
    for text in shown:
        assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "${KEY}"}, "alerts.deliver.ops.url: expected a URL that begins with http:// or https://"),
        ({"headers": "${TOKEN}"}, "alerts.deliver.ops.headers: "),
        ({"headers": {"${TOKEN} x": "y"}}, "alerts.deliver.ops.headers"),
        ({"severities": ["${TOKEN}"]}, "alerts.deliver.ops.severities"),
        ({"type": "${KEY}"}, "alerts.deliver.ops: expected one of webhook, alertmanager, email"),
        ({"pasword": "${KEY}"}, "alerts.deliver.ops.pasword: unknown key"),
        ({"max_pending": "${KEY}"}, "alerts.deliver.ops.max_pending: "),
        ({"rules": ["bigger"]}, "alerts.deliver.ops.rules: expected one of big, got 'bigger'"),
    ],
)
def test_what_is_wrong_is_told_without_what_may_be_secret(
    wrong: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(PipelineProblem) as raised:
        load_pipeline(written(tmp_path, **wrong), (), ENVIRONMENT)
    assert told in str(raised.value)
    assert not [secret for secret in SECRETS if secret in str(raised.value)]


def test_checking_a_file_shows_no_secret(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["check", str(written(tmp_path))], env=ENVIRONMENT)
    assert ran.exit_code == 0, ran.output
    assert not [secret for secret in SECRETS if secret in ran.output]
