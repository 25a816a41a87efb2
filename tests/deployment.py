"""The files of the deployment as data, for the tests: instructions, services, manifests and settings."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from dockerfile_parse import DockerfileParser

from flink_job.pipeline.spec import RUNS_FOLDER

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMPOSE_FILE = ROOT / "docker-compose.yml"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# Where the project is in the image, and what all containers share.
HOME = PurePosixPath("/opt/sketchstream")
STATE = str(HOME / RUNS_FOLDER)


def text(name: str) -> str:
    """Return the content of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def pinned(pattern: str, name: str) -> str:
    """Return the one thing that a pattern finds in a file of the project."""
    (found,) = re.findall(pattern, text(name), re.MULTILINE)
    return found


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile, by its name; the image itself is `image`."""
    parsed: dict[str, list[tuple[str, str]]] = {}
    for step in DockerfileParser(fileobj=io.BytesIO((DEPLOY / "Dockerfile").read_bytes())).structure:
        if step["instruction"] == "FROM":
            name = [*step["value"].split(" AS "), "image"][1]
            parsed[name] = []
        if step["instruction"] != "COMMENT":
            parsed[name].append((step["instruction"], step["value"]))
    return parsed


def steps(instruction: str) -> list[str]:
    """Return the values of all instructions of a kind, of all stages."""
    return [value for stage in stages().values() for name, value in stage if name == instruction]


def last(instruction: str) -> str:
    """Return the value of the last instruction of a kind in the image itself."""
    return [value for name, value in stages()["image"] if name == instruction][-1]


def copied() -> set[str]:
    """Return what the Dockerfile takes from the folder of the project."""
    return {
        source
        for words in map(str.split, steps("COPY"))
        if not words[0].startswith("--from=")
        for source in words[:-1]
    }


def compose() -> dict[str, Any]:
    """Return the compose file."""
    return yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))


def manifests() -> list[dict[str, Any]]:
    """Return all objects of the Kubernetes manifests."""
    return [part for path in MANIFESTS for part in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def named(kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a kind by their names."""
    return {part["metadata"]["name"]: part for part in manifests() if part["kind"] == kind}


def pods() -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Each pod template with its specification and its one container."""
    for part in manifests():
        if part["kind"] in ("Deployment", "Job"):
            spec = part["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            yield part["spec"]["template"], spec, container


def image_settings() -> dict[str, Any]:
    """Return Flink's settings in the image."""
    return yaml.safe_load(text("deploy/flink/config.yaml"))


def kubernetes_settings() -> dict[str, Any]:
    """Return those that Kubernetes puts before them."""
    return yaml.safe_load(named("ConfigMap")["sketchstream-flink"]["data"]["FLINK_PROPERTIES"])
