"""Texts of events, files and servers on screen, in errors and in mails: they steer no terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alerting import alert
from click.testing import CliRunner
from rich.console import Console
from rich.text import Text

from flink_job.cli import main
from flink_job.cluster.failures import JobFailed
from flink_job.commands.results_table import result_tables
from flink_job.machine.environment import find_java
from flink_job.machine.flink import LOG4J_PROPERTIES, flink_home
from flink_job.screen import Screen
from operators.alerts.channel import Message, ToldAlert
from operators.alerts.email import mail
from operators.alerts.told import read_told
from operators.plain_text import in_lines, in_one_line
from operators.rules.compiled_rule import CompiledRule
from operators.rules.rule_spec import Rule

EVIL = "a\x1b[31m\x9b2J\r\nrejects 0\x85\u2028\u202eb\u2066\u200b[red]c[/red][link=http://x]:smile:\\"
SHOWN = (
    r"a\x1b[31m\x9b2J\r\nrejects 0\x85\u2028\u202eb\u2066\u200b[red]c[/red][link=http://x]:smile:"
) + "\\"
STEERS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ud800-\udfff]"
)
PIPELINE = """
name: shop
source: {type: file, path: "*.json"}
event: {fields: {u: string, ts: long}, time: {field: ts, unit: ms}}
metrics: [{name: n, kind: count, by: [u], windows: [{tumbling: 1m}]}]
"""


def test_every_character_stays_as_it_is_or_is_written_out_and_can_be_told_again() -> None:
    for number in (*range(0x3100), *range(0xD700, 0x10000), *range(0xE0000, 0xE0100), sys.maxunicode):
        character = chr(number)
        made = in_one_line(character)
        assert STEERS.search(made) is None and len(made.splitlines()) == 1
        if made != character:
            assert made.encode("ascii").decode("unicode_escape") == character


@pytest.mark.parametrize(
    "text", ["", "Größe 5", "日本語\u3000テキスト", "naïve\u00a0x", "\u202fé", "👍", "العربية", "\\n"]
)
def test_letters_blanks_and_symbols_of_all_scripts_stay_as_they_are(text: str) -> None:
    assert in_one_line(text) == in_lines(text) == text


def test_lines_of_ours_stay_lines() -> None:
    assert in_lines(f"first\n{chr(27)}second\r\n") == "first\n\\x1bsecond\\r\n"


def test_a_table_of_results_shows_keys_and_items_as_they_are() -> None:
    result = {
        "id": "1", "metric": "top", "kind": "top_k", "key": {"u": EVIL}, "events": 1, "revision": 0,
        "window": {"type": "tumbling", "start_ms": 0, "end_ms": 60_000}, "final": True,
        "items": [{"item": item, "count": 1, "lower": 1, "upper": 1} for item in (EVIL, [EVIL, 2])],
    }  # fmt: skip
    console = Console(width=1000, color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(*result_tables([result]))
    assert STEERS.search(capture.get()) is None
    row, pair = [line for line in capture.get().splitlines() if SHOWN in line]
    assert row.count(SHOWN) == 2 and f"{SHOWN} + 2  1" in pair


def test_a_sample_shows_payloads_and_values_as_they_are_and_is_ascii_as_json(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(PIPELINE)
    (tmp_path / "in.json").write_text(
        json.dumps({"u": EVIL, "ts": 1}, ensure_ascii=False) + "\n" + f"no {EVIL[1:8]}\r\u202e[red]json\n"
    )
    arguments = ["check", str(tmp_path / "p.yaml"), "--sample", str(tmp_path / "in.json")]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0 and STEERS.search(shown.output) is None
    unbroken = re.sub(r"\s+", "", shown.output)
    assert r"a\x1b[31m\x9b2J\r\n" in unbroken and r"no\x1b[31m\x9b2\r\u202e[red]json" in unbroken
    told = CliRunner().invoke(main, [*arguments, "--json"])
    assert told.output.isascii() and len(told.output.splitlines()) == 1
    assert json.loads(told.output)["sample"]["events"][0]["u"] == EVIL


def test_errors_name_files_in_a_way_that_steers_nothing(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, ["check", str(tmp_path / "\x1b[2J\u202e.yaml")])
    assert refused.exit_code != 0
    assert r"\x1b[2J\u202e.yaml" in refused.output and STEERS.search(refused.output) is None


def test_why_a_job_failed_is_one_line(tmp_path: Path) -> None:
    assert JobFailed(EVIL, tmp_path).reason == str(JobFailed(EVIL, tmp_path)) == SHOWN


def test_whatever_is_printed_steers_nothing_and_colours_of_ours_remain() -> None:
    screen = Screen(force_terminal=True, width=300, color_system="standard")
    with screen.capture() as capture:
        screen.print(f"[bold]shop[/] {EVIL[:9]}:smile:", highlight=False)
        screen.print(Text(EVIL), soft_wrap=True)
    assert capture.get().splitlines()[0] == "\x1b[1mshop\x1b[0m a\\x1b[31m\\x9b2J:smile:"
    assert STEERS.search(capture.get().replace("\x1b[1m", "").replace("\x1b[0m", "")) is None


def test_a_mail_has_a_line_for_each_value_whatever_it_is() -> None:
    told = alert(1, key={"u": EVIL}, values={"v": f"{EVIL}\n  amount: 1"}, text="two\nlines\x1b[2J")
    letter = mail(Message((ToldAlert(read_told(told), told),), {}), "a@x.org", ("b@x.org",), 0.0)
    body = letter.get_content()
    assert body.split("\n")[:4] == [
        "big (warning) firing: two", r"lines\x1b[2J", f"  u: {SHOWN}", f"  v: {SHOWN}\\n  amount: 1"
    ]  # fmt: skip
    assert STEERS.search(body) is None and len(letter["Subject"].splitlines()) == 1


def test_a_value_in_the_text_of_an_alert_breaks_no_line() -> None:
    rule = Rule.model_validate({"name": "big", "when": "v > 1", "text": "who:\n{u} with {v}"})
    compiled = CompiledRule(rule, 1, {}, ("u", "v"))
    assert compiled.text({"u": EVIL, "v": 2.5}) == f"who:\n{SHOWN} with 2.5"


def test_a_text_in_the_log_of_java_neither_steers_a_terminal_nor_passes_for_a_record(tmp_path: Path) -> None:
    forged = "2026-01-01 00:00:00,000 ERROR x - forged"
    settings = {
        "pipeline.name": f"{EVIL}\n{forged}",
        "jobmanager.memory.process.size": "1g",
        "taskmanager.memory.process.size": "1g",
    }
    (tmp_path / "config.yaml").write_text(json.dumps(settings))

    jars = [*(flink_home() / "lib").glob("*.jar"), flink_home() / "bin" / "bash-java-utils.jar"]
    log = tmp_path / "java.log"
    # It logs the settings that it reads.
    command = [
        find_java().home / "bin" / "java", "-cp", os.pathsep.join(map(str, jars)),
        f"-Dlog.file={log}", f"-Dlog4j.configurationFile={LOG4J_PROPERTIES.as_uri()}",
        "org.apache.flink.runtime.util.bash.BashJavaUtils", "GET_TM_RESOURCE_PARAMS",
        "--configDir", tmp_path,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    written = log.read_text()
    assert STEERS.search(written) is None
    assert f"    {forged}" in written.splitlines()
    assert "pipeline.name, a?[31m?2J" in written and "[red]c[/red][link=http://x]:smile:\\" in written
