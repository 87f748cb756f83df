"""The examples for containers in `deploy/compose` and `deploy/kubernetes`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kiai.settings import load_without_file
from kiai.version import NEWEST_RELEASE

ROOT = Path(__file__).parents[2]
COMPOSE = {path.name: yaml.safe_load(path.read_text("utf-8")) for path in sorted(ROOT.glob("deploy/compose/*.yml"))}
KUBERNETES = {
    f"{path.name}: {one['kind']}": one
    for path in sorted(ROOT.glob("deploy/kubernetes/*.yml"))
    for one in yaml.safe_load_all(path.read_text("utf-8"))
}
SERVICES = {f"{name}: {service}": one for name, file in COMPOSE.items() for service, one in file["services"].items()}
BUILT = {name: one for name, one in SERVICES.items() if "build" in one}
OURS = f"kiai:{NEWEST_RELEASE}"
DEPLOYMENT = KUBERNETES["kiai.yml: Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINERS = [*POD["initContainers"], *POD["containers"]]
HEALTH = (ROOT / "src/kiai/faces/health.py").read_text("utf-8")
STOP_S = 20
SECRETS = re.compile(r"(?i)(password|secret|_key)$")
REFERENCE = re.compile(r"\$\{([A-Z0-9_]+):\?[^}]+\}")
SECRET_OF_A_CLUSTER = {
    "KIAI_DATABASE": "postgresql://kiai:secret@db:5432/kiai",
    "KIAI_STATE": "rediss://kiai:secret@redis:6379/0",
    "AWS_ACCESS_KEY_ID": "kiai",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


def settings_of(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the settings as the server in such a container does."""
    for name in [name for name in os.environ if name.startswith(("KIAI_", "AWS_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        assert isinstance(value, str), f"{name} is not text, so a container may get another one"
        monkeypatch.setenv(name, REFERENCE.sub("filled-in", value))
    return load_without_file()


# --- compose


@pytest.mark.parametrize(("name", "service"), BUILT.items(), ids=BUILT)
def test_settings_of_a_compose_service_are_valid(
    name: str, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(service["environment"], monkeypatch)

    assert settings.domain == "kiai.example"
    assert (settings.database is None) == name.startswith("single.yml")
    if settings.backup_to is not None:
        assert f"backups:{settings.backup_to}" in service["volumes"]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_compose_service_is_pinned_and_confined(service: dict[str, Any]) -> None:
    assert re.search(r":(RELEASE\.)?v?\d+\.\d+\S*$|:RELEASE\.\d{4}-\S+$", service["image"]), service["image"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["restart"] in ("unless-stopped", "no")
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize(("name", "service"), BUILT.items(), ids=BUILT)
def test_compose_builds_this_version_and_gives_it_time_to_stop(name: str, service: dict[str, Any]) -> None:
    assert service["image"] == OURS
    assert (ROOT / "deploy/compose" / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert service["stop_grace_period"] == f"{STOP_S}s"
    assert "user" not in service, "the user of the image, which is not root"
    assert any(volume.startswith("data:/data") for volume in service["volumes"])


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_compose_has_no_secret_inline(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        if SECRETS.search(name):
            assert REFERENCE.fullmatch(value), name
        assert "@" not in value or REFERENCE.search(value), name


@pytest.mark.parametrize("file", COMPOSE.values(), ids=COMPOSE)
def test_compose_names_only_what_it_declares(file: dict[str, Any]) -> None:
    volumes, networks = set(), set()
    for service in file["services"].values():
        mounted = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        volumes |= {name for name in mounted if "/" not in name}
        assert all((ROOT / "deploy/compose" / path).exists() for path in mounted if path.startswith("."))
        networks |= set(service.get("networks", []))
        assert set(service.get("depends_on", [])) <= set(file["services"])
    assert volumes == set(file["volumes"])
    assert networks == set(file.get("networks", []))


def test_the_cluster_has_two_workers_and_every_store() -> None:
    services = COMPOSE["cluster.yml"]["services"]

    assert {"worker-1", "worker-2", "postgres", "redis", "minio", "caddy", "migrate"} <= set(services)
    assert "command" not in services["worker-1"], "one worker in each container"
    published = [name for name, service in services.items() if "ports" in service]
    assert published == ["caddy"]
    [trusted] = {service["environment"]["KIAI_TRUSTED_PROXY"] for service in services.values() if "build" in service}
    assert trusted == services["caddy"]["networks"]["inside"]["ipv4_address"] + "/32"


# --- Kubernetes


def test_settings_of_the_pods_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(KUBERNETES["kiai.yml: ConfigMap"]["data"] | SECRET_OF_A_CLUSTER, monkeypatch)

    assert settings.domain == "kiai.example"
    assert settings.workers == 1
    assert not set(KUBERNETES["kiai.yml: ConfigMap"]["data"]) & set(SECRET_OF_A_CLUSTER)


def test_pods_are_not_root_and_write_only_where_they_must() -> None:
    context = POD["securityContext"]
    [uid] = re.findall(r"(?m)^USER (\d+)$", (ROOT / "Containerfile").read_text("utf-8"))

    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, int(uid))
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    for container in CONTAINERS:
        assert container["image"] == OURS
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in POD["volumes"]}


def test_probes_ask_for_pages_that_the_server_has() -> None:
    [container] = POD["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}

    assert probes == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for path in probes.values():
        assert f'add_route("{path}"' in HEALTH
    [port] = container["ports"]
    assert port["containerPort"] == 8080
    assert {container[name]["httpGet"]["port"] for name in probes} == {port["name"]}


def test_pods_are_replaced_without_a_gap() -> None:
    assert DEPLOYMENT["spec"]["replicas"] >= 2
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert POD["terminationGracePeriodSeconds"] == STOP_S
    assert KUBERNETES["kiai.yml: PodDisruptionBudget"]["spec"]["minAvailable"] == 1


def test_everything_of_kubernetes_selects_the_pods() -> None:
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]

    assert DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["kiai.yml: Service"]["spec"]["selector"] == labels
    assert KUBERNETES["kiai.yml: PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["kiai.yml: NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    hosts = [rule["host"] for rule in KUBERNETES["kiai.yml: Ingress"]["spec"]["rules"]]
    assert hosts == ["kiai.example", "*.kiai.example"] == KUBERNETES["kiai.yml: Ingress"]["spec"]["tls"][0]["hosts"]
