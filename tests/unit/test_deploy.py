"""Image and compose file: held against the schema of Compose, Flink's own files and the project's pins."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from deployment import (
    COMPOSE_FILE,
    DEPLOY,
    HOME,
    ROOT,
    STATE,
    compose,
    copied,
    image_settings,
    kubernetes_settings,
    last,
    pinned,
    stages,
    steps,
    text,
)
from packaging.specifiers import SpecifierSet

from flink_job.machine.flink import LOG4J_PROPERTIES
from flink_job.main import main
from flink_job.rest_guard.settings import guarded_rest

OWN_FILES = [COMPOSE_FILE, ROOT / ".dockerignore", *(path for path in DEPLOY.rglob("*") if path.is_file())]
(FLINK,) = (Path(folder) for folder in importlib.util.find_spec("pyflink").submodule_search_locations)


def checked_by_schema(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def started(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point with Flink's scripts replaced by ones that only say how they were called."""
    for name in ("jobmanager.sh", "taskmanager.sh", "standalone-job.sh"):
        (folder / name).write_text('#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@"\n')
        (folder / name).chmod(0o755)
    return subprocess.run(
        [DEPLOY / "entrypoint.sh", *arguments],
        env={"PATH": f"{folder}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
    )


def test_what_containers_write_is_for_their_user_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        assert started("sh", "-c", "umask", folder=tmp_path).stdout == "0077\n"
    finally:
        os.umask(before)


def test_the_compose_file_follows_the_schema_of_compose() -> None:
    checked = checked_by_schema(COMPOSE_FILE)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("    ports: [", "    port: ["),
        ("service_healthy", "healthy"),
        ("restart: unless", "restart: [unless"),
    ],
)
def test_a_fault_in_the_compose_file_would_be_noticed(right: str, wrong: str, tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text("docker-compose.yml").replace(right, wrong, 1))
    assert checked_by_schema(broken).returncode == 1


def test_images_are_those_of_the_project_s_pins() -> None:
    services = compose()["services"]
    own = "sketchstream:" + pinned(r'^version = "(.+)"$', "pyproject.toml")

    assert services["broker"]["image"] == "apache/kafka:" + pinned(r"<kafka.version>(.+?)<", "pom.xml")
    assert {services[name]["image"] for name in ("jobmanager", "taskmanager")} == {own}
    assert f"-t {own} " in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_base_images_are_pinned_for_all_architectures_and_flink_only_by_the_lock_file() -> None:
    bases = [value.split(" AS ")[0] for value in steps("FROM")]
    pythons = {base.split(":")[1].split("-")[0] for base in bases if base.startswith("python:")}

    assert [base for base in bases if not re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[a-z0-9.-]*", base)] == []
    assert not re.search(r"--platform|amd64|x86_64|arm64|aarch64", json.dumps(stages()))
    assert len(pythons) == 1
    assert pythons.pop() in SpecifierSet(pinned(r'^requires-python = "(.+)"$', "pyproject.toml"))
    assert not any("flink" in base for base in bases)
    assert any("--require-hashes --no-build-isolation -r requirements.lock" in step for step in steps("RUN"))
    assert "mvn -q -B -P connector dependency:copy-dependencies" in steps("RUN")


def test_what_is_copied_belongs_to_the_project_and_nothing_else_is_sent_to_the_builder() -> None:
    for source in copied():
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", source]
        assert subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout, source

    first, *others = [line for line in text(".dockerignore").splitlines() if not line.startswith("#")]
    assert first == "*"
    assert {line[1:] for line in others if line.startswith("!")} == copied()


def test_the_image_has_every_package_of_the_project() -> None:
    patterns = re.findall(r'"([a-z_]+)\*"', pinned(r"^include = (.+)$", "pyproject.toml"))
    assert {package for package in patterns if (ROOT / package).is_dir()} <= copied()


def test_the_image_leaves_out_just_the_tools_of_development() -> None:
    (removal,) = [step for step in steps("RUN") if "pip uninstall" in step]
    found = subprocess.run(["sh", "-c", removal.split("|")[0]], cwd=ROOT, capture_output=True, text=True)

    groups = {
        section: set(re.findall(r'^ +"([a-z0-9-]+)==', body, re.MULTILINE))
        for section, body in re.findall(
            r"^(dependencies|dev) = \[\n(.*?)^\]", text("pyproject.toml"), re.M | re.S
        )
    }
    assert set(found.stdout.split()) == groups["dev"]
    assert groups["dev"] & groups["dependencies"] == set()
    assert removal.endswith("python -m pip check")


def test_the_image_has_the_jars_of_every_job_where_they_are_loaded_once(tmp_path: Path) -> None:
    (step,) = [step for step in steps("RUN") if "flink-python" in step]
    link = next(part for part in step.split("&&") if "flink-python" in part)
    (tmp_path / "lib").mkdir()
    (tmp_path / "opt").symlink_to(FLINK / "opt")
    subprocess.run(["sh", "-euc", link.replace("/opt/flink/", f"{tmp_path}/")], check=True)

    (linked,) = (tmp_path / "lib").iterdir()
    assert linked.read_bytes() == next(FLINK.glob("opt/flink-python-*.jar")).read_bytes()
    assert ["--from=connector", "/project/.jars/", "/opt/flink/lib/"] in [
        step.split() for step in steps("COPY")
    ]


def properties(file: Path) -> dict[str, str]:
    """The keys and values of a file of properties; the last value of a key counts, as in Java."""
    return dict(re.findall(r"^(\S+) *= *(.*)$", file.read_text(), re.MULTILINE))


def test_the_logs_of_the_image_leave_out_the_environment_and_have_the_layout_of_ours(tmp_path: Path) -> None:
    (step,) = [step for step in steps("RUN") if "log4j.properties" in step]
    for name in ("log4j-console.properties", "log4j-cli.properties"):
        shutil.copy(FLINK / "conf" / name, tmp_path)
    adapted = "lines=" + step.partition("lines=")[2].replace("/opt/flink/conf", str(tmp_path))
    subprocess.run(["sh", "-euc", adapted], cwd=ROOT, check=True)

    ours = properties(LOG4J_PROPERTIES)
    for log in tmp_path.iterdir():
        lines = properties(log)
        levels = {
            lines[key]: lines[key[:-4] + "level"] for key in lines if re.fullmatch(r"logger\..+\.name", key)
        }
        assert levels["org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory"] == "OFF"
        assert levels["org.apache.flink.client.python.PythonEnvUtils"] in ("OFF", "WARN", "ERROR")
        patterns = [value for key, value in lines.items() if key.endswith(".layout.pattern")]
        assert len(patterns) == 2 and set(patterns) == {ours["appender.file.layout.pattern"]}
        assert [key.split(".")[1] for key in lines if key.endswith(".alwaysWriteExceptions")] == [
            key.split(".")[1] for key in lines if key.endswith(".layout.pattern")
        ]


def test_every_setting_is_one_that_flink_knows() -> None:
    options = b""
    jars = ("lib/flink-dist-*.jar", "opt/flink-python-*.jar", "plugins/metrics-prometheus/*.jar")
    for jar in [jar for pattern in jars for jar in FLINK.glob(pattern)]:
        with zipfile.ZipFile(jar) as classes:
            telling = ("Options.class", "PrometheusReporter.class")
            options += b"".join(classes.read(n) for n in classes.namelist() if n.endswith(telling))

    def known(key: str) -> bool:
        return b"\x01" + len(key).to_bytes(2, "big") + key.encode() in options

    assert not known("rest.prot")
    settings = {re.sub(r"^metrics\.reporter\.\w+\.", "", key) for key in image_settings()}
    assert [key for key in settings | set(kubernetes_settings()) if not known(key)] == []


def test_java_is_opened_to_flink_as_flink_itself_does_it() -> None:
    shipped = yaml.safe_load((FLINK / "conf" / "config.yaml").read_text())["env"]["java"]["opts"][
        "all"
    ].split()
    wanted = [option for option in shipped if "=jdk.compiler/" not in option]

    assert image_settings()["env.java.opts.all"].split() == wanted


def test_ports_and_folders_of_the_settings_are_those_of_the_image() -> None:
    settings = image_settings()
    ports = {str(settings[key]) for key in settings if re.search(r"(?<!bind-)port$", key)}

    assert ports == set(last("EXPOSE").split())
    assert last("WORKDIR") == str(HOME)
    for key in ("execution.checkpointing.dir", "execution.checkpointing.savepoint-dir"):
        assert settings[key].startswith(f"file://{STATE}/")
    assert settings["python.executable"] == settings["python.client.executable"] == "/opt/venv/bin/python"
    assert any(step.startswith("python -m venv /opt/venv ") for step in steps("RUN"))


def test_all_containers_of_flink_see_the_same_state() -> None:
    services = compose()["services"]
    for name in ("jobmanager", "taskmanager"):
        assert f"state:{STATE}" in services[name]["volumes"]


def test_every_published_port_is_bound_to_localhost() -> None:
    published = [port for service in compose()["services"].values() for port in service.get("ports", [])]

    assert published
    assert [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d*:\d+", port)] == []


def test_web_pages_can_submit_nothing_to_the_image_s_cluster() -> None:
    settings, guarded = image_settings(), guarded_rest(8081, submission=True)

    web = {key: value for key, value in guarded.items() if key.startswith("web.")}
    assert {key: str(settings[key]).lower() for key in web} == web
    assert settings.get("sketchstream.rest.submission", "true") == guarded["sketchstream.rest.submission"]
    (linked,) = [step for step in steps("RUN") if "flink_job.rest_guard.jar" in step]
    assert 'ln -s "$(python -m flink_job.rest_guard.jar)" /opt/flink/lib/' in linked


def test_nothing_runs_as_root_or_with_privileges() -> None:
    assert int(last("USER").split(":")[0]) > 0

    forbidden = {"privileged", "user", "cap_add", "devices", "network_mode", "pid", "ipc"}
    for name, service in compose()["services"].items():
        assert forbidden & set(service) == set(), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert [v for v in service["volumes"] if v.startswith(("/", ".")) and not v.endswith(":ro")] == []


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
def test_no_file_holds_a_secret(path: Path) -> None:
    named = r"(?i)(passw(or)?d|secret|token|api_?key|access_?key)[\w.-]*\s*[:=]\s*[\"']?[^\s\"'$]"
    assert re.findall(f"{named}|BEGIN [A-Z ]*KEY", path.read_text(encoding="utf-8")) == []


def test_what_is_waited_for_has_a_health_check_and_what_dies_is_started_again() -> None:
    services = compose()["services"]
    for service in services.values():
        assert service["restart"] == "unless-stopped"
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert services[other]["healthcheck"]["test"][0] == "CMD"


def test_clients_reach_the_broker_from_containers_and_from_this_machine() -> None:
    broker, jobmanager = (compose()["services"][name] for name in ("broker", "jobmanager"))
    addresses = broker["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")

    assert [address.split("://")[1] for address in addresses] == ["broker:9092", "localhost:9094"]
    assert jobmanager["environment"]["BROKERS"] == "broker:9092"
    assert broker["ports"] == ["127.0.0.1:9094:9094"]


def commands() -> list[list[str]]:
    """What the compose file's head and the documentation say to type for `flink run`, from `-py` on."""
    documents = (text(name) for name in ("docker-compose.yml", "deploy/README.md", "README.md"))
    lines = [line for document in documents for line in document.splitlines() if "`" not in line]
    told = [line for line in lines if re.search(r"\bflink run .*-py ", line)]
    return [shlex.split(line.partition(" -py ")[2]) for line in told]


def test_documented_commands_name_files_that_are_there_and_options_that_exist() -> None:
    assert len(commands()) >= 3
    for script, *options in commands():
        assert script == "flink_job/main.py"
        context = main.make_context("main", options)
        assert (ROOT / context.params["path"]).is_file()
        assert {script.split("/")[0], context.params["path"].parts[0]} <= copied()


def test_the_entry_point_is_a_right_script_that_can_be_started() -> None:
    assert subprocess.run(["bash", "-n", DEPLOY / "entrypoint.sh"]).returncode == 0
    assert os.access(DEPLOY / "entrypoint.sh", os.X_OK)
    assert json.loads(last("ENTRYPOINT")) == ["tini", "--", "/docker-entrypoint.sh"]
    assert "deploy/entrypoint.sh /docker-entrypoint.sh" in steps("COPY")


def test_the_entry_point_starts_each_role_with_the_settings_given(tmp_path: Path) -> None:
    properties = "# of this place\n\nrest.port: 8082\n  rest.address:  host \n"
    script = str(HOME / "flink_job" / "main.py")
    driver = ["--job-classname", "org.apache.flink.client.python.PythonDriver"]
    settings = ["-D", "rest.port=8082", "-D", "rest.address=host"]

    def said(*arguments: str) -> list[str]:
        return started(*arguments, folder=tmp_path, FLINK_PROPERTIES=properties).stdout.splitlines()

    assert said("jobmanager") == ["jobmanager.sh", "start-foreground", *settings]
    assert said("taskmanager", "-D", "a=b") == ["taskmanager.sh", "start-foreground", *settings, "-D", "a=b"]
    options = ["--pipeline", "/a b.yaml"]
    assert said("application", *options) == [
        *["standalone-job.sh", "start-foreground", *driver, *settings],
        *["-py", script, *options],
    ]
    assert said("echo", "any", "command") == ["any command"]


@pytest.mark.parametrize("line", ["rest.port 8082", "rest.port: 80 82", "s3.secret=hidden"])
def test_the_entry_point_refuses_a_setting_that_would_not_count(line: str, tmp_path: Path) -> None:
    refused = started("jobmanager", folder=tmp_path, FLINK_PROPERTIES=line)

    assert refused.returncode == 2
    assert refused.stderr.startswith("FLINK_PROPERTIES: expected lines such as")
    assert (refused.stdout, "hidden" in refused.stderr) == ("", False)
