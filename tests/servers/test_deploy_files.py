"""The files of deploy/ are read by the programs they are for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

pytestmark = pytest.mark.servers

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BIN = Path(sys.executable).parent


def told(*command: str, folder: Path = DEPLOY) -> str:
    """What a checker has to say: nothing but words where it is content."""
    program = shutil.which(command[0], path=f"{BIN}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"no {command[0]}; install it with tests/servers/install.sh")
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_takes_its_settings_and_rules() -> None:
    told("promtool", "check", "config", "--syntax-only", "monitoring/prometheus.yml")
    assert "13 rules found" in told("promtool", "check", "rules", "monitoring/alerts.yml")


def test_every_alert_fires_on_what_it_is_for_and_on_nothing_else() -> None:
    assert "SUCCESS" in told("promtool", "test", "rules", "monitoring/alerts.test.yml")


def test_prometheus_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    board = json.loads((DEPLOY / "monitoring" / "grafana" / "maskstream.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"panel:query:{number}", "expr": query.replace("$source", ".*")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in told("promtool", "check", "rules", str(file))


def test_the_dockerfile_has_nothing_to_be_said_about() -> None:
    assert told("hadolint", "--config", "hadolint.yaml", "Dockerfile") == ""


def test_caddy_takes_its_settings() -> None:
    told("caddy", "validate", "--adapter=caddyfile", "--config=compose/Caddyfile")


def test_compose_files_are_compose_files() -> None:
    files = ("compose/compose.yaml", "compose/cuda.yaml")
    told("check-jsonschema", "--builtin-schema=vendor.compose-spec", *files)


def manifests() -> list[dict[str, Any]]:
    """What Kubernetes itself knows: resources, and the pods inside of the cluster of Ray."""
    found = []
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if one.get("kind") == "RayCluster":
                spec = one["spec"]
                for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
                    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}}
                    found.append({**pod, "template": group["template"]})
            elif "kind" in one and one["kind"] != "Kustomization":
                found.append(one)
    return found


def test_kubernetes_takes_its_manifests(tmp_path: Path) -> None:
    kinds = [one["kind"] for one in manifests()]
    assert sorted(kinds) == [
        *("Namespace", "NetworkPolicy", "NetworkPolicy"),
        *("PersistentVolumeClaim", "PodTemplate", "PodTemplate", "Service"),
    ]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(manifests()))
    told("kubernetes-validate", "--strict", "--kubernetes-version=1.32", str(file))


def test_ray_takes_its_cluster() -> None:
    import ray.autoscaler

    schema = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
    cluster = yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text())
    jsonschema.validate(cluster, json.loads(schema.read_text()))


def test_systemd_takes_the_unit_and_finds_it_locked_up(tmp_path: Path) -> None:
    unit = tmp_path / "maskstream.service"
    text = (DEPLOY / "systemd" / "maskstream.service").read_text()
    program = tmp_path / "maskstream"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(text.replace("/opt/maskstream/bin/maskstream", str(program)))
    assert told("systemd-analyze", "--man=no", "verify", str(unit)) == ""
    told("systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit))
