"""The files of deploy/ fit one another, and the service takes the settings that are among them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli.sources import load_service_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
KUBERNETES = DEPLOY / "kubernetes"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


@pytest.mark.parametrize("folder", ["compose", "kubernetes"])
def test_the_service_takes_its_settings_and_keeps_its_streams(folder: str) -> None:
    settings = load_service_settings(DEPLOY / folder / "maskstream.yaml")
    assert settings.run.state_dir is not None
    assert not Path(settings.run.state_dir).is_absolute()  # in the volume, where the image works
    assert (settings.serve.host, settings.serve.port) == ("0.0.0.0", 8710)
    assert settings.serve.token_file is not None
    assert "maskstream" in settings.serve.hosts


def test_the_image_has_the_clients_of_all_services() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    found = re.search(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert found is not None
    services = set(project()["optional-dependencies"]) - {"dev", "supervision"}
    assert set(found[1].split(",")) == services  # ARG EXTRAS of deploy/Dockerfile


def test_the_image_has_the_torch_of_the_project() -> None:
    wanted = [one for one in project()["dependencies"] if re.match(r"torch(vision)?\b", one)]
    text = (DEPLOY / "Dockerfile").read_text()
    assert len(wanted) == 2
    assert [one for one in wanted if f'"{one}"' not in text] == []


def test_compose_mounts_what_is_there_and_names_what_it_declares() -> None:
    compose = read(COMPOSE)
    build = compose["services"]["maskstream"]["build"]
    assert (COMPOSE.parent / build["context"] / build["dockerfile"]).is_file()
    assert (COMPOSE.parent / build["context"]).resolve() == ROOT
    sources = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    ]
    paths = [source for source in sources if source.startswith(".")]
    assert [path for path in paths if not (COMPOSE.parent / path).exists()] == []
    assert {source for source in sources if not source.startswith(".")} == set(compose["volumes"])
    networks = [n for service in compose["services"].values() for n in service.get("networks", [])]
    assert set(networks) == set(compose["networks"])


def test_compose_hands_on_the_secrets_that_are_asked_for() -> None:
    compose = read(COMPOSE)
    serve = load_service_settings(COMPOSE.with_name("maskstream.yaml")).serve
    asked = {str(serve.token_file), str(serve.read_token_file)}
    assert {
        f"/run/secrets/{name}" for name in compose["services"]["maskstream"]["secrets"]
    } == asked
    scraped = read(DEPLOY / "monitoring" / "prometheus.yml")["scrape_configs"][0]
    shown = scraped["authorization"]["credentials_file"]
    assert shown == str(serve.read_token_file)
    assert compose["services"]["prometheus"]["secrets"] == [Path(shown).name]
    assert set(compose["secrets"]) == {Path(path).name for path in asked}


def test_compose_publishes_on_loopback_alone() -> None:
    ports = [port for one in read(COMPOSE)["services"].values() for port in one.get("ports", [])]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_the_service_is_asked_where_it_listens() -> None:
    """The host and port are those of the names in compose and Kubernetes."""
    scraped = read(DEPLOY / "monitoring" / "prometheus.yml")["scrape_configs"][0]
    assert scraped["job_name"] == "maskstream"
    assert scraped["static_configs"] == [{"targets": ["maskstream:8710"]}]
    assert "maskstream" in read(COMPOSE)["services"]
    source = read(DEPLOY / "monitoring/grafana/provisioning/datasources/prometheus.yml")
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    assert "prometheus" in read(COMPOSE)["services"]


def test_kustomize_finds_its_files_and_replaces_the_image_of_every_container() -> None:
    kustomization = read(KUBERNETES / "kustomization.yaml")
    named = [*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]]
    there = {path.name for path in KUBERNETES.iterdir()} - {"kustomization.yaml"}
    assert set(named) == there
    assert kustomization["configMapGenerator"][0]["name"] == "maskstream"
    images = {container["image"] for container in containers()}
    assert images == {kustomization["images"][0]["name"]}


def pods() -> list[dict[str, Any]]:
    spec = read(KUBERNETES / "raycluster.yaml")["spec"]
    return [
        group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods() for container in pod["containers"]]


def test_every_pod_is_unprivileged_and_has_shared_memory_of_a_size() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsUser"] == 1000
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "4Gi"}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            assert {"/tmp", "/dev/shm"} <= set(mounted)
            assert set(mounted.values()) <= set(volumes)


def test_the_service_shares_with_the_ray_beside_it_what_they_meet_in() -> None:
    assert pods()[0]["shareProcessNamespace"] is True
    ray, service = pods()[0]["containers"]
    mounts = [
        {mount["mountPath"]: mount["name"] for mount in one["volumeMounts"]}
        for one in (ray, service)
    ]
    for path in ("/tmp", "/tmp/ray", "/dev/shm", "/var/lib/maskstream"):
        assert mounts[0][path] == mounts[1][path]
    assert ray["envFrom"] == service["envFrom"]  # passwords are read where streams are opened


def test_the_version_of_ray_is_the_oldest_that_is_taken() -> None:
    found = [one for one in project()["dependencies"] if one.startswith("ray")]
    version = read(KUBERNETES / "raycluster.yaml")["spec"]["rayVersion"]
    assert found == [f"ray[default]>={version.removesuffix('.0')}"]
