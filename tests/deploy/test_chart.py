"""The Helm chart, rendered by the real Helm: what it creates, and what it refuses."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import chart_files
import helm
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from chart_values import vendor_value

from exporter import __version__
from exporter.settings import loading
from exporter.settings.loading import shard_of
from exporter.vendors.registry import FIRST, VENDORS

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ("1.25", "1.37")
"""The Kubernetes releases whose schemas the objects must fit: the oldest one, and a new one."""

SHARDS = {"storage": {"type": "postgresql"}, "postgresql": {"shards": 2, "replicasPerShard": 2}}
OFF = {
    name: {"enabled": False}
    for name in (
        *("ingress", "serviceMonitors", "prometheusRule", "dashboards"),
        *("networkPolicy", "podDisruptionBudget"),
    )
}
FULL = SHARDS | {
    "copyFromSqlite": {"enabled": True},
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": [{"name": "registry"}]},
    "settings": {"limits.max-esims": 1_000_000, "log.level": "debug", "web.shutdown-delay": "1m"},
    "ingress": {"className": "nginx", "annotations": {"example.com/a": "b"}},
    "serviceMonitors": {
        "labels": {"release": "prometheus"},
        "endpoint": {"metricRelabelings": [{"action": "labeldrop", "regex": "pod"}]},
    },
    "prometheusRule": {"labels": {"release": "prometheus"}},
    "dashboards": {"annotations": {"grafana_folder": "eSIM"}},
    "networkPolicy": {"database": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]},
    "startupSeconds": 600,
    "podLabels": {"team": "travel"},
    "podAnnotations": {"example.com/c": "d"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "env": [{"name": "TZ", "value": "UTC"}],
    "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/ca"}],
}
VENDOR_KEYS: dict[str, Any] = {
    "webhook": {"secretKey": ""},
    "vendors": {vendor_value(vendor): {"secretKey": f"{vendor.name}-key"} for vendor in VENDORS},
    "settings": {"metrics.iccid-hash-key-file": "/etc/esim-exporter/iccid-hash-key"},
}
RENDERINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "shards": SHARDS,
    "off": OFF,
    "full": FULL,
    "vendors": VENDOR_KEYS,
}
URL = {"ESIM_EXPORTER_STORAGE_URL": "postgresql://esim@db/esim"}

Objects = list[dict[str, Any]]


def of(objects: Objects, kind: str) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def pod_of(objects: Objects) -> dict[str, Any]:
    pod: dict[str, Any] = of(objects, "StatefulSet")["spec"]["template"]["spec"]
    return pod


@pytest.fixture(scope="module")
def default() -> Objects:
    return helm.running().render({})


@pytest.fixture(scope="module")
def shards() -> Objects:
    return helm.running().render(SHARDS)


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["name"] == project["name"]
    assert chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


def test_generated_files_that_are_out_of_date_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = tmp_path / "deploy" / "helm"
    chart.mkdir(parents=True)
    (chart / "README.md").write_bytes((helm.CHART / "README.md").read_bytes())
    (chart / "values.yaml").write_text("image: {}\n")
    monkeypatch.setattr(chart_files, "CHART", chart)
    monkeypatch.setattr("sys.argv", ["chart_files.py", "--check"])
    assert chart_files.main() == 1
    assert "deploy/helm/values.yaml is out of date; run make mixin\n" in capsys.readouterr().err


def test_every_value_has_a_description_and_a_row_in_the_readme() -> None:
    rows = (helm.CHART / "README.md").read_text()

    def look(schema: dict[str, Any], path: str) -> None:
        assert schema["description"], path
        assert f"`{path}`" in rows or f"**{path}**" in rows
        for name, inner in schema.get("properties", {}).items():
            look(inner, f"{path}.{name}")

    schema = chart_files.entries({"jobs.exporter"})
    assert len(schema) > 20
    for entry in schema:
        look(entry.schema, entry.path)


@pytest.mark.parametrize("name", RENDERINGS)
def test_helm_lint_has_nothing_to_say(name: str) -> None:
    assert helm.running().lint(RENDERINGS[name]) == []


@pytest.mark.parametrize("name", RENDERINGS)
def test_every_object_fits_the_schemas_of_kubernetes(name: str) -> None:
    objects = helm.running().render(RENDERINGS[name])
    built_in = [each for each in objects if "monitoring.coreos.com" not in each["apiVersion"]]
    assert built_in
    for each in built_in:
        for release in KUBERNETES:
            kubernetes_validate.validate(each, release, strict=True)
        assert each["metadata"]["namespace"] == "esim-exporter"


def test_helm_3_renders_the_same_as_helm_4() -> None:
    assert helm.running().render(FULL, version="v3") == helm.running().render(FULL)


def test_a_misspelt_field_does_not_fit_the_schemas(default: Objects) -> None:
    service = of(default, "Service")
    wrong = service | {"spec": service["spec"] | {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


def test_the_values_that_the_pages_show_are_values_of_the_chart() -> None:
    shown = [
        yaml.safe_load(textwrap.dedent(block))
        for page in ("deploy/README.md", "deploy/helm/README.md")
        for block in re.findall(
            r"(?<=\n\n)(?: {4}(?:ingress|storage|settings|webhook):\n(?: {4}.+\n)+)",
            (ROOT / page).read_text(),
        )
    ]
    assert len(shown) == 4
    for values in shown:
        assert helm.running().render(values)


def test_with_everything_off_only_the_pods_and_their_service_are_left() -> None:
    objects = helm.running().render(OFF)
    assert {each["kind"] for each in objects} == {"Service", "StatefulSet"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"storage": {"type": "postgres"}}, "must be one of 'sqlite', 'postgresql'"),
        ({"replicas": 2}, "additional properties 'replicas' not allowed"),
        ({"sqlite": {"size": "2 GB"}}, "/sqlite/size"),
        ({"postgresql": {"shards": 0}}, "/postgresql/shards"),
        ({"mixin": {"feed": {"silent": "5 hours"}}}, "/mixin/feed/silent"),
        ({"mixin": {"feed": {"silent": "0s"}}}, "/mixin/feed/silent"),
        ({"mixin": {"usage": {"high": 90}}}, "/mixin/usage/high"),
        ({"mixin": {"target_labels": ["instance"]}}, "/mixin/target_labels/0"),
        ({"mixin": {"usage": {"low": 0.95}}}, "mixin.usage: low must be below high"),
        ({"mixin": {"storm": {"package_esims": 30}}}, "mixin.storm: package_esims must not"),
        ({"mixin": {"jobs": {"esims": "esim-exporter"}}}, "mixin.jobs: exporter and esims must"),
        ({"mixin": {"exporter": {"certificate_ends": "2d"}}}, "certificate_ends_soon must be"),
        ({"mixin": {"pending": {"EsimMisspelt": "5m"}}}, "mixin.pending.EsimMisspelt: no alert"),
        ({"settings": {"storage.url": "sqlite:///x"}}, "settings: leave storage.url out"),
        ({"settings": {"esim-go.secret-file": "x"}}, "settings: leave esim-go.secret-file out"),
        ({"webhook": {"secretKey": ""}}, "vendors: give one of them a secretKey"),
        ({"vendors": {"esimGo": {"secretKey": "a/b"}}}, "/vendors/esimGo/secretKey"),
        ({"settings": {"web.external-url": "https://a.test/esim"}}, "must have no path"),
        ({"copyFromSqlite": {"enabled": True}}, "copyFromSqlite: set storage.type to postgresql"),
    ],
)
def test_a_wrong_value_is_refused_in_words(values: dict[str, Any], told: str) -> None:
    with pytest.raises(helm.HelmError, match=re.escape(told)):
        helm.running().render(values)


def test_everything_selects_the_pods_of_its_release_only(default: Objects) -> None:
    pod = of(default, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        of(default, "StatefulSet")["spec"]["selector"]["matchLabels"],
        of(default, "Service")["spec"]["selector"],
        of(default, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        of(default, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector == pod for selector in selectors)
    monitors = [each for each in default if each["kind"] == "ServiceMonitor"]
    service = of(default, "Service")["metadata"]["labels"]
    for monitor in monitors:
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service.items()
    other = helm.running().render({}, release="second")
    assert of(other, "Service")["spec"]["selector"] != pod
    names = [
        {(each["kind"], each["metadata"]["name"]) for each in each} for each in (default, other)
    ]
    assert names[0].isdisjoint(names[1])


def test_ports_are_called_by_names_that_the_pod_has(default: Objects) -> None:
    (container,) = pod_of(default)["containers"]
    names = {port["name"] for port in container["ports"]}
    probes = [value["httpGet"]["port"] for key, value in container.items() if key.endswith("Probe")]
    ingress = of(default, "NetworkPolicy")["spec"]["ingress"]
    allowed = [rule["ports"][0]["port"] for rule in ingress]
    targets = [port["targetPort"] for port in of(default, "Service")["spec"]["ports"]]
    assert len(probes) == 3
    assert {*probes, *allowed, *targets} == names


def test_only_the_webhook_is_reached_from_outside(default: Objects) -> None:
    (rule,) = of(default, "Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/webhooks/roamify", "Exact")
    assert path["backend"]["service"]["port"] == {"name": "webhook"}
    assert of(default, "Ingress")["spec"]["tls"][0]["hosts"] == [rule["host"]]
    assert of(default, "NetworkPolicy")["spec"]["egress"] == []


def test_each_vendor_with_a_key_is_on_and_reached_at_its_path_only() -> None:
    for chosen in (VENDORS, *((vendor,) for vendor in VENDORS)):
        keys = {vendor_value(v): VENDOR_KEYS["vendors"][vendor_value(v)] for v in chosen}
        objects = helm.running().render(VENDOR_KEYS | {"vendors": keys})
        (container,) = pod_of(objects)["containers"]
        settings = loading.load(container["args"][1:], {})
        assert settings.vendors_on == chosen
        for vendor in chosen:
            file = settings.of(vendor).secret_file
            assert file == Path(f"/etc/esim-exporter/{vendor.name}-key")
        (rule,) = of(objects, "Ingress")["spec"]["rules"]
        paths = {(path["path"], path["pathType"]) for path in rule["http"]["paths"]}
        assert paths == {
            (v.webhook_path, "Prefix" if v.authentication.token_in_path else "Exact")
            for v in chosen
        }


def test_the_older_key_turns_the_first_vendor_on_beside_others() -> None:
    other = VENDORS[1]
    keys = {vendor_value(other): {"secretKey": "token"}}
    (container,) = pod_of(helm.running().render({"vendors": keys}))["containers"]
    settings = loading.load(container["args"][1:], {})
    assert settings.vendors_on == (FIRST, other)
    assert settings.webhook.secret_file == Path("/etc/esim-exporter/webhook-secret")


@pytest.mark.parametrize("values", [{}, FULL])
def test_the_arguments_are_settings_and_the_pod_has_time_to_end(values: dict[str, Any]) -> None:
    pod = pod_of(helm.running().render(values))
    serve, *flags = pod["containers"][0]["args"]
    chosen = loading.load(flags, URL if values else {})
    assert serve == "serve"
    assert pod["terminationGracePeriodSeconds"] > chosen.web.shutdown_delay + 10
    if values:
        assert chosen.limits.max_esims == 1_000_000
        assert chosen.web.shutdown_delay == 60
        probe = pod["containers"][0]["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == 600
    else:
        assert chosen.web.shutdown_delay == 5


def test_a_setting_that_is_on_or_off_is_taken() -> None:
    switches = {"web.enable-admin-api": True, "web.enable-lifecycle": False}
    pod = pod_of(helm.running().render({"settings": switches}))
    _, *flags = pod["containers"][0]["args"]
    chosen = loading.load(flags, {})
    assert (chosen.web.enable_admin_api, chosen.web.enable_lifecycle) == (True, False)


def readme_jobs() -> dict[str, dict[str, Any]]:
    """Return the scrape jobs of README.md by name, without the one of Prometheus itself.

    The ServiceMonitor for that one comes with kube-prometheus.
    """
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("    scrape_configs:\n")
    block = rest.partition("\n\n")[0]
    return {
        job["job_name"]: job
        for job in yaml.safe_load(f"scrape_configs:\n{block}")["scrape_configs"]
        if job["job_name"] != "prometheus"
    }


def test_service_monitors_are_the_scrape_jobs_of_the_readme(default: Objects) -> None:
    monitors = [each for each in default if each["kind"] == "ServiceMonitor"]
    endpoints = [monitor["spec"]["endpoints"][0] for monitor in monitors]
    jobs = readme_jobs()
    assert len(endpoints) == len(jobs) == 2
    for endpoint in endpoints:
        (relabelling,) = endpoint["relabelings"]  # rules take replicas together by other labels
        job = jobs[relabelling["replacement"]]
        assert relabelling["targetLabel"] == "job"
        assert endpoint["params"] == job["params"]
        assert endpoint["interval"] == job["scrape_interval"]
        assert endpoint.get("scrapeTimeout") == job.get("scrape_timeout")
    assert not any("podTargetLabels" in monitor["spec"] for monitor in monitors)


def test_replicas_keep_nothing_in_the_pod(shards: Objects) -> None:
    pod = pod_of(shards)
    (container,) = pod["containers"]
    assert "volumeClaimTemplates" not in of(shards, "StatefulSet")["spec"]
    assert {each["name"] for each in container["volumeMounts"]} == {
        each["name"] for each in pod["volumes"]
    }


def test_every_shard_has_as_many_replicas(shards: Objects) -> None:
    stateful = of(shards, "StatefulSet")
    (container,) = pod_of(shards)["containers"]
    chosen = loading.load(container["args"][1:], URL)
    names = [
        f"{stateful['metadata']['name']}-{number}" for number in range(stateful["spec"]["replicas"])
    ]
    shown = [shard_of(chosen, name).number for name in names]
    assert sorted(shown) == [0, 0, 1, 1]
    (variable,) = container["env"]
    assert variable["name"] in URL
    assert "secretKeyRef" in variable["valueFrom"]


def test_replicas_reach_their_database_and_names_and_nothing_else(shards: Objects) -> None:
    egress = of(shards, "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in egress for port in rule["ports"]] == [5432, 53, 53]
    full = of(helm.running().render(FULL), "NetworkPolicy")["spec"]["egress"]
    assert full[0]["to"] == [{"ipBlock": {"cidr": "10.1.2.3/32"}}]


def test_a_node_that_is_drained_takes_one_replica_at_a_time(shards: Objects) -> None:
    assert of(shards, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_fleet_of_one_replica_is_copied_from_its_volume_to_the_same_database(
    default: Objects, shards: Objects
) -> None:
    single = of(default, "StatefulSet")
    (claim,) = single["spec"]["volumeClaimTemplates"]
    (one,), (several,) = (pod_of(each)["containers"] for each in (default, shards))
    objects = helm.running().render(SHARDS | {"copyFromSqlite": {"enabled": True}})
    pod = of(objects, "Job")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    *command, source, target = container["args"]
    assert command == ["storage", "copy"]
    assert f"--storage.url={source}" in one["args"]
    assert target == f"$({container['env'][0]['name']})"
    assert container["env"] == several["env"]
    assert container["image"] == several["image"]
    name = f"{claim['metadata']['name']}-{single['metadata']['name']}-0"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == name
