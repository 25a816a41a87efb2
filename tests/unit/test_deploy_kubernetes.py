"""The Kubernetes manifests: held against its schemas, the image and each other."""

from __future__ import annotations

import re

import kubernetes_validate
import pytest
from deployment import STATE, kubernetes_settings, last, manifests, named, pinned, pods, text

from flink_job.main import main

VERSIONS = ("1.31", kubernetes_validate.latest_version())


@pytest.mark.parametrize("version", VERSIONS)
def test_the_manifests_follow_the_schemas_of_kubernetes(version: str) -> None:
    assert len(manifests()) >= 8
    for part in manifests():
        kubernetes_validate.validate(part, version, strict=True)


def test_a_fault_in_a_manifest_would_be_noticed() -> None:
    for _, spec, container in pods():
        container["imagePullpolicy"] = "Always"
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        with pytest.raises(kubernetes_validate.ValidationError, match="imagePullpolicy"):
            kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


def test_pods_run_the_image_of_this_version_with_its_user_and_nothing_they_do_not_need() -> None:
    user, group = map(int, last("USER").split(":"))
    version = pinned(r'^version = "(.+)"$', "pyproject.toml")

    assert len(list(pods())) == 2
    for _, spec, container in pods():
        assert container["image"] == f"sketchstream:{version}"
        assert {"hostNetwork", "hostPID", "hostIPC"} & set(spec) == set()
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (user, group)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_pods_see_the_same_state_and_can_write_where_flink_does() -> None:
    for _, spec, container in pods():
        (claim,) = [volume["name"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume]
        empty = {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts[claim] == STATE
        assert {mounts[name] for name in empty} == {"/tmp", "/var/log/flink"}
    assert "FLINK_LOG_DIR=/var/log/flink " in last("ENV")
    assert kubernetes_settings()["high-availability.storageDir"].startswith(f"file://{STATE}/")


def test_the_parts_of_the_manifests_name_each_other() -> None:
    (service,) = named("Service").values()
    settings, made = (
        kubernetes_settings(),
        set(re.findall(r"create configmap (\S+)", text("deploy/README.md"))),
    )
    ports = {port["port"] for port in service["spec"]["ports"]}

    assert {part["metadata"]["namespace"] for part in manifests()} == {settings["kubernetes.namespace"]}
    assert settings["jobmanager.rpc.address"] == settings["rest.address"] == service["metadata"]["name"]
    for template, spec, container in pods():
        assert spec["serviceAccountName"] in named("ServiceAccount")
        maps = {source["configMapRef"]["name"] for source in container["envFrom"]}
        maps |= {volume["configMap"]["name"] for volume in spec["volumes"] if "configMap" in volume}
        assert maps <= set(named("ConfigMap")) | made
        claims = {
            v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v
        }
        assert claims == set(named("PersistentVolumeClaim"))
        if service["spec"]["selector"].items() <= template["metadata"]["labels"].items():
            assert ports <= {port["containerPort"] for port in container["ports"]}


def test_the_application_of_kubernetes_finds_its_pipeline() -> None:
    (container,) = [c for _, _, c in pods() if c["args"][0] == "application"]
    path = main.make_context("main", container["args"][1:]).params["path"]

    assert str(path.parent) in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"--from-file={path.name}=" in text("deploy/README.md")
