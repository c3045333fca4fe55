"""What `deploy/` sets, asks for and watches is there."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from gateway.cli import main
from gateway.policy.load import load_policies
from gateway.server.metrics import Metrics
from gateway.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = f"outrider:{VERSION}"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MIB = {"Mi": 1, "Gi": 1024}


def documents(path):
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def pod(name):
    (deployment,) = documents(DEPLOY / "kubernetes" / name / "deployment.yaml")
    return deployment["spec"]["template"]["spec"]


def container(name):
    spec = pod(name)
    (found,) = [one for one in [*spec["containers"], *spec.get("initContainers", ())] if one["name"] == "outrider"]
    return found


def composed():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def environments():
    for name in ("sidecar", "gateway"):
        yield name, {one["name"]: one.get("value", "postgresql://a-secret/x") for one in container(name)["env"]}
    filled = {
        k: re.sub(r"\$\{\w+(?:(:-)([^}]*)|:\?)?\}", r"\2", v) for k, v in composed()["outrider"]["environment"].items()
    }
    yield "compose", {k: v or "a-secret" for k, v in filled.items()}
    unit = (DEPLOY / "systemd" / "outrider.service").read_text()
    yield "systemd", dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))


ENVIRONMENTS = dict(environments())


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_variable_is_a_setting_with_a_value_that_can_be_used(name, monkeypatch):
    ours = {key: value for key, value in ENVIRONMENTS[name].items() if key.startswith(PREFIX)}
    assert ours
    assert {key.removeprefix(PREFIX).lower() for key in ours} <= set(Settings.model_fields)
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    load_settings()


@pytest.mark.parametrize("name", ["sidecar", "gateway"])
def test_configuration_and_policies_that_a_pod_gets_can_be_served(name, monkeypatch, capsys):
    folder = DEPLOY / "kubernetes" / name
    made = {
        one["name"]: one["files"]
        for one in yaml.safe_load((folder / "kustomization.yaml").read_text())["configMapGenerator"]
    }
    mounted = {one["name"]: one["configMap"]["name"] for one in pod(name)["volumes"]}
    assert mounted == {"config": "outrider-config", "policies": "outrider-policies"}
    assert made["outrider-policies"] == [f"policies/{one.name}" for one in sorted((folder / "policies").iterdir())]
    at = {one["name"]: one["mountPath"] for one in container(name)["volumeMounts"]}
    env = ENVIRONMENTS[name]
    assert (env["OUTRIDER_CONFIG"], env["OUTRIDER_POLICIES"]) == (f"{at['config']}/outrider.yaml", at["policies"])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("OUTRIDER_CONFIG", str(folder / "outrider.yaml"))
    monkeypatch.setenv("OUTRIDER_POLICIES", str(folder / "policies"))
    assert main(["check"]) == 0, capsys.readouterr()


@pytest.mark.parametrize("name", ["sidecar", "gateway"])
def test_a_pod_is_let_go_in_time_and_has_room(name):
    env, settings = ENVIRONMENTS[name], container(name)
    before = settings.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    drain = Settings.model_fields["drain"].default
    assert pod(name)["terminationGracePeriodSeconds"] > drain + float(before[1])
    limit = re.fullmatch(r"(\d+)(Mi|Gi)", settings["resources"]["limits"]["memory"])
    held = int(env["OUTRIDER_MAX_MEMORY_HELD"].removesuffix("MiB"))
    assert int(limit[1]) * MIB[limit[2]] >= 96 + 7 * held  # the idle process, and bodies that are parsed
    ports = {one["name"]: one["containerPort"] for one in settings["ports"]}
    for probe in ("startupProbe", "livenessProbe"):
        get = settings[probe]["httpGet"]
        assert get["path"] in {"/healthz", "/readyz"}
        assert ports[get["port"]] == Settings.model_fields["admin_port" if get["port"] == "admin" else "port"].default
    assert pod(name)["enableServiceLinks"] is False
    assert f"--uid {settings['securityContext']['runAsUser']} " in DOCKERFILE


def test_all_name_the_same_image():
    named = [container("sidecar")["image"], container("gateway")["image"], composed()["outrider"]["image"]]
    assert set(named) == {IMAGE}
    assert IMAGE in (DEPLOY / "README.md").read_text()
    assert "ARG EXTRAS" in DOCKERFILE
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert composed()["outrider"]["build"]["args"]["EXTRAS"] in extras


def test_what_is_watched_is_counted():
    ends = {"counter": "_total", "gauge": "", "histogram": "_bucket"}
    counted = {f"{family.name}{ends[family.type]}" for family in Metrics().registry.collect()}
    counted.add("outrider_breaker_state")  # there is one for each target, so not without a gateway
    rules = [
        rule
        for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    board = json.loads((DEPLOY / "grafana" / "outrider.json").read_text())
    asked = [rule["expr"] for rule in rules] + [one["expr"] for panel in board["panels"] for one in panel["targets"]]
    named = {name for expression in asked for name in re.findall(r"outrider_\w+", expression)}
    assert len(named) > 12
    assert named <= counted


def test_the_policies_that_compose_mounts_can_be_served_and_its_secrets_stay_here(monkeypatch, capsys):
    mounted = [volume.split(":") for volume in composed()["outrider"]["volumes"]]
    (folder,) = [one[0] for one in mounted if one[1] == ENVIRONMENTS["compose"]["OUTRIDER_POLICIES"]]
    monkeypatch.setenv("OUTRIDER_UPSTREAM", ENVIRONMENTS["compose"]["OUTRIDER_UPSTREAM"])
    monkeypatch.setenv("OUTRIDER_POLICIES", str(DEPLOY / folder))
    assert main(["check"]) == 0, capsys.readouterr()
    asking = [e.check for p in load_policies(DEPLOY / folder).policies for e in p.entries.values() if not e.check.local]
    assert asking == []  # a model that the one upstream does not have would fail, and so block
    assert "deploy/.env" in (DEPLOY / "README.md").read_text()
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_file_that_is_mounted_or_linked_is_there():
    for service in composed().values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), volume
    for linked in re.findall(r"\]\(([^)#:]+)\)", (DEPLOY / "README.md").read_text()):
        assert (DEPLOY / linked).exists(), linked
