"""The commands that start no job, and what `run` refuses before it starts one."""

from __future__ import annotations

import gzip
import io
import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from flink_job.cli import main

PIPELINE: dict[str, Any] = {
    "name": "shop",
    "source": {"type": "file", "path": "events.json"},
    "event": {
        "fields": {"user": "string", "value": "double", "ts": "long"},
        "derive": {"double": {"expr": "value * 2"}},
        "time": {"field": "ts", "unit": "ms"},
        "require": ["user"],
        "checks": ["value >= 0"],
    },
    "metrics": [
        {"name": "users", "kind": "distinct", "of": "user", "windows": [{"sliding": "5m", "every": "1m"}]},
        {"name": "visits", "kind": "count", "by": ["user"], "windows": [{"session": "30m"}]},
    ],
}
EVENTS = [
    '{"user": "a", "value": 1.5, "ts": 60000}', "not json", '{"value": 1, "ts": 1}',
    '{"user": "b", "value": -1, "ts": 1}', "", '{"user": "[/c]", "value": 0, "ts": 0}',
]  # fmt: skip


@pytest.fixture()
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    (tmp_path / "events.json").write_text("\n".join(EVENTS))
    return tmp_path


def sketchstream(*arguments: str) -> Result:
    ran = CliRunner().invoke(main, arguments)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    assert "Traceback" not in ran.output
    return ran


def test_check_says_that_a_file_is_right(folder: Path) -> None:
    ran = sketchstream("check", "pipeline.yaml")
    assert (ran.exit_code, ran.stdout) == (
        0,
        "pipeline.yaml: shop is right: 4 columns, metrics users, visits\n",
    )
    answer = json.loads(sketchstream("check", "pipeline.yaml", "--json").stdout)
    assert answer == {
        "pipeline": "shop",
        "columns": {"user": "string", "value": "double", "ts": "long", "double": "double"},
        "metrics": ["users", "visits"],
    }


def test_check_refuses_a_wrong_file_on_standard_error_only(folder: Path) -> None:
    ran = sketchstream("check", "pipeline.yaml", "--json", "--set", "profile=fast")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr == "pipeline.yaml: profile: expected 'throughput' or 'latency', got what --set gives\n"


def test_a_sample_shows_events_rejects_and_windows(folder: Path) -> None:
    sample = json.loads(sketchstream("check", "pipeline.yaml", "--sample", "events.json", "--json").stdout)[
        "sample"
    ]
    assert sample["events"] == [
        {"event_time": "1970-01-01T00:01:00.000Z", "user": "a", "value": 1.5, "ts": 60000, "double": 3.0},
        {"event_time": "1970-01-01T00:00:00.000Z", "user": "[/c]", "value": 0.0, "ts": 0, "double": 0.0},
    ]
    assert [(r["line"], r["reason"], r["payload"]) for r in sample["rejects"]] == [
        (2, "malformed_json", EVENTS[1]), (3, "missing_field", EVENTS[2]), (4, "failed_check", EVENTS[3]),
    ]  # fmt: skip
    assert len(sample["windows"]["users"]) == 5
    assert sample["windows"]["users"][0] == "sliding 1969-12-31T23:57:00.000Z .. 1970-01-01T00:02:00.000Z"
    assert sample["windows"]["visits"] == ["session 1970-01-01T00:01:00.000Z .. 1970-01-01T00:31:00.000Z"]


def test_a_sample_is_as_long_as_asked_for_and_readable(folder: Path) -> None:
    ran = sketchstream("check", "pipeline.yaml", "--sample", "events.json", "--count", "1")
    assert ran.exit_code == 0 and "no rejects" in ran.stdout and "1970-01-01T00:01:00.000Z" in ran.stdout
    assert "double" in ran.stdout and "windows of the first event" in ran.stdout


def test_payloads_are_no_markup(folder: Path) -> None:
    ran = sketchstream("check", "pipeline.yaml", "--sample", "events.json")
    assert ran.exit_code == 0 and "[/c]" in ran.stdout


def test_a_sample_of_a_packed_csv_file_takes_its_header(folder: Path) -> None:
    with gzip.open("events.csv.gz", "wt") as file:
        file.write('ts,user,value\r\n5,"a, b",1\r\n6,c\r\n')
    ran = sketchstream(
        "check", "pipeline.yaml", "--sample", "events.csv.gz", "--json", "--set", "source.format=csv"
    )
    sample = json.loads(ran.stdout)["sample"]
    assert [event["user"] for event in sample["events"]] == ["a, b"]
    assert [(reject["line"], reject["payload"]) for reject in sample["rejects"]] == [(3, "6,c")]


def test_a_sample_of_nothing_is_empty_and_one_that_is_not_there_is_refused(folder: Path) -> None:
    (folder / "empty.json").touch()
    ran = sketchstream("check", "pipeline.yaml", "--sample", "empty.json", "--json")
    assert json.loads(ran.stdout)["sample"]["events"] == []
    ran = sketchstream("check", "pipeline.yaml", "--sample", "nowhere.json")
    assert ran.exit_code == 2 and "no file matches 'nowhere.json'" in ran.stderr


class Watched(io.BytesIO):
    """A file that notes how far it is read, in unpacked bytes."""

    def __init__(self, path: str, packed: bool, reach: list[int]) -> None:
        content = Path(path).read_bytes()
        super().__init__(gzip.decompress(content) if packed else content)
        self._reach = reach

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._reach.append(self.tell())
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = super().readline(size)
        self._reach.append(self.tell())
        return data


CSV_TIME = {"field": "ts", "unit": "iso8601"}


def csv_pipeline(folder: Path, format: Any = "csv", source: str = "d.csv", **keys: Any) -> None:
    """Write a pipeline over CSV with the fields ts and usr."""
    pipeline = {
        "name": "table",
        "source": {"type": "file", "path": source, "format": format},
        "event": {"fields": {"ts": "string", "usr": "string"}, "time": CSV_TIME},
        "metrics": [{"name": "n", "kind": "count", "by": ["usr"], "windows": [{"tumbling": "1h"}]}],
    } | keys
    (folder / "table.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))


@pytest.mark.parametrize(
    ("format", "header", "told"),
    [
        ("csv", "ts,user", "fields.usr: the header of d.csv has no column usr (did you mean user?)\n"),
        ("csv", "ts,v", "fields.usr: the header of d.csv has no column usr, only ts, v\n"),
        (
            "csv", "ts,usr,usr",
            "fields.usr: the header of d.csv has 2 columns usr: ask for one by path: usr (column 2) or usr (column 3)\n",  # noqa: E501
        ),
        (
            {"type": "csv", "header": True, "columns": ["ts", "usr"]}, "a,b,c",
            "d.csv: columns: expected 3 names, as the header has; got 2\n",
        ),
        (
            {"type": "csv", "columns": ["ts", "user"]}, "x,y",
            "table.yaml: fields.usr: source.format.columns has no column usr (did you mean user?)\n",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_a_column_that_is_not_there_is_told_before_anything_starts(
    format: Any, header: str, told: str, packed: bool, folder: Path
) -> None:
    name = "d.csv.gz" if packed else "d.csv"
    content = f"{header}\n2024-03-01 10:00:00,a\n".encode()
    (folder / name).write_bytes(gzip.compress(content) if packed else content)
    csv_pipeline(folder, format, name)
    told = told.replace("d.csv", name)
    commands = (("check", "--sample", name), ("run", "--port", "0"))
    for command, *options in commands:
        ran = sketchstream(command, "table.yaml", *options)
        assert (ran.exit_code, ran.stdout, ran.stderr) == (2, "", told)


def test_a_history_without_the_column_is_told_before_anything_starts(folder: Path) -> None:
    (folder / "d.csv").write_text("ts,usr\n2024-03-01T10:00:00Z,a\n")
    (folder / "known.csv").write_text("\nuser\na\n")
    history = {"path": "known.csv", "format": "csv"}
    metric = {
        "name": "new",
        "kind": "first_seen",
        "of": "usr",
        "history": history,
        "windows": [{"tumbling": "1h"}],
    }
    csv_pipeline(folder, metrics=[metric])
    ran = sketchstream("run", "table.yaml", "--port", "0")
    assert (ran.exit_code, ran.stderr) == (
        2, "metrics.new.history.field: the header of known.csv has no column usr (did you mean user?)\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ({"type": "csv", "columns": ["ts", "usr"], "header": True}, "Time,User\n2024-03-01 10:00:00,a\n"),
        ("csv", "value,ts,value,,usr\n1,2024-03-01T10:00:00Z,2,3,a\n"),
        ("csv", "\ufeff\r\n\r\n\"ts\",\"usr\"\r\n2024-03-01T10:00:00Z,a\r\n"),
    ],
)  # fmt: skip
def test_headers_as_people_have_them_are_read(format: Any, content: str, folder: Path) -> None:
    (folder / "d.csv").write_bytes(content.encode())
    csv_pipeline(folder, format)
    sample = json.loads(sketchstream("check", "table.yaml", "--sample", "d.csv", "--json").stdout)["sample"]
    assert [(event["event_time"], event["usr"]) for event in sample["events"]] == [
        ("2024-03-01T10:00:00.000Z", "a")
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_sample_reads_no_more_than_it_shows(
    packed: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, line = ("d.csv.gz" if packed else "d.csv"), b"2024-03-01T10:00:00Z,a\n"
    content = b"ts,usr\n" + line * 200_000
    for path in (folder / name, folder / f"e{name}"):
        path.write_bytes(gzip.compress(content) if packed else content)
    csv_pipeline(folder)
    reach: list[int] = []
    for module in ("csv_headers", "manifest"):
        monkeypatch.setattr(
            f"flink_job.sources.{module}.open_file", lambda path: Watched(path, packed, reach)
        )
    monkeypatch.setattr("flink_job.commands.sample.open_file", lambda path: Watched(path, packed, reach))
    sample = json.loads(
        sketchstream("check", "table.yaml", "--sample", f"*{name}", "--count", "3", "--json").stdout
    )["sample"]
    assert len(sample["events"]) == 3 and reach and max(reach) < 200_000


def test_schema_prints_a_schema_that_names_every_key_and_kind() -> None:
    schema = json.loads(sketchstream("schema").stdout)
    assert {"name", "source", "event", "metrics", "sinks", "checkpoints"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False and schema["required"]
    text = json.dumps(schema)
    assert all(
        f'"{kind}"' in text for kind in ("distinct", "top_k", "ratio", "quantiles", "stats", "frequency")
    )


def test_simulate_writes_the_same_events_for_the_same_seed(folder: Path) -> None:
    options = ("simulate", "--events", "200", "--users", "20", "--bad-share", "0.1")
    printed = sketchstream(*options).stdout_bytes
    ran = sketchstream(*options, "--to", "shop.json")
    assert (ran.exit_code, ran.output) == (0, "")
    assert (folder / "shop.json").read_bytes() == printed and printed.count(b"\n") == 200
    assert sketchstream(*options, "--seed", "7").stdout_bytes != printed
    assert json.loads(printed.splitlines()[0]).keys() >= {"user_id", "action", "item_id", "value", "ts"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--bad-share", "2"), "--bad-share"), (("--disorder", "5"), "--disorder"),
        (("--rate", "0"), "--rate"),
        (("--skew", "-1"), "--skew"), (("--to", "nowhere/x.json"), "nowhere/x.json: cannot be written"),
        (("--events", "many"), "many"),
    ],
)  # fmt: skip
def test_simulate_refuses_what_it_cannot_do_and_names_the_option(
    options: tuple[str, str], told: str, folder: Path
) -> None:
    ran = sketchstream("simulate", "--events", "10", *options)
    assert ran.exit_code == 2 and told in ran.stderr, ran.output


def test_doctor_prints_findings_for_machines() -> None:
    ran = sketchstream("doctor", "--json")
    findings = {finding["name"]: finding for finding in json.loads(ran.stdout)}
    assert {"Python", "Java", "packages", "Flink", "web UI port", "disk"} <= findings.keys()
    assert findings["Python"]["status"] == "ok"
    assert ran.exit_code == int(any(finding["status"] == "fail" for finding in findings.values()))


def test_run_refuses_a_port_that_is_taken_and_names_the_holder(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ran = sketchstream("run", "pipeline.yaml", "--port", str(port))
    assert (ran.exit_code, ran.stdout) == (1, "")
    told, remedy = ran.stderr.splitlines()
    assert told.startswith(f"port {port} for the web UI is taken by ") and "(pid " in told
    assert remedy == "name another with --port, or --port 0 for any that is free"


def test_run_refuses_a_java_that_flink_does_not_run_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = folder / "java8" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_412\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("SKETCHSTREAM_JAVA_HOME", str(folder / "java8"))
    ran = sketchstream("run", "pipeline.yaml", "--port", "0")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert "but it is Java 8, not 11, 17 or 21" in ran.stderr and len(ran.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        ("nowhere*.json", None, "source.path: no file matches 'nowhere*.json'"),
        ("cut.json.gz", gzip.compress(b"{}\n" * 9000)[:-20], "cut.json.gz: cannot be read"),
        ("text.json.gz", b"{}", "text.json.gz: cannot be read"),
    ],
    ids=["no file", "a cut archive", "no archive"],
)
def test_run_refuses_a_source_that_cannot_be_read(
    path: str, content: bytes | None, told: str, folder: Path
) -> None:
    if content is not None:
        (folder / path).write_bytes(content)
    ran = sketchstream("run", "pipeline.yaml", "--set", f"source.path={path}", "--port", "0")
    assert (ran.exit_code, ran.stdout) == (2, "") and told in ran.stderr and len(ran.stderr.splitlines()) == 1


def test_a_field_that_two_columns_of_the_header_are_named_as_is_told_by_its_key(folder: Path) -> None:
    (folder / "twice.csv").write_text("user,user,ts\na,b,1\n")
    told = "fields.user: the header of twice.csv has 2 columns user: ask for one by path: user (column 1) or "
    for command in ("run pipeline.yaml --port 0", "check pipeline.yaml --sample twice.csv"):
        ran = sketchstream(*command.split(), "--set", "source.path=twice.csv", "--set", "source.format=csv")
        assert (ran.exit_code, ran.stderr.startswith(told)) == (2, True), ran.stderr


def test_run_refuses_to_go_on_from_nothing(folder: Path) -> None:
    ran = sketchstream("run", "pipeline.yaml", "--from", "latest", "--port", "0")
    assert ran.exit_code == 2 and "there is no checkpoint of shop" in ran.stderr
    ran = sketchstream("run", "pipeline.yaml", "--from", "elsewhere", "--port", "0")
    assert ran.exit_code == 2 and "is no checkpoint or savepoint" in ran.stderr


@pytest.mark.parametrize("arguments", [("run",), ("run", "a.yaml", "--port", "99999"), ("nothing",), ("check", "a.yaml", "-x")])  # fmt: skip # noqa: E501
def test_wrong_arguments_end_with_two(arguments: tuple[str, ...]) -> None:
    assert sketchstream(*arguments).exit_code == 2
