"""The Kubernetes manifests fit the published schemas, and agree with the rest of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from exporter.settings import loading

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.31"
"""The oldest Kubernetes release whose schemas the manifests must fit."""

OBJECTS: list[dict[str, Any]] = [
    document
    for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    for document in yaml.safe_load_all((FOLDER / name).read_text())
]
BUILT_IN = [each for each in OBJECTS if "monitoring.coreos.com" not in each["apiVersion"]]


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def only(kind: str) -> dict[str, Any]:
    (found,) = (each for each in OBJECTS if each["kind"] == kind)
    return found


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


def test_every_manifest_is_a_resource() -> None:
    listed = set(yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"])
    assert {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"} == listed


@pytest.mark.parametrize("document", BUILT_IN, ids=map(named, BUILT_IN))
def test_a_manifest_fits_the_published_schema(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_a_misspelt_field_does_not_fit_it() -> None:
    service = only("Service")
    wrong = service | {"spec": service["spec"] | {"selectors": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_everything_selects_the_pod() -> None:
    pod = only("StatefulSet")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        only("StatefulSet")["spec"]["selector"]["matchLabels"],
        only("Service")["spec"]["selector"],
        only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector == pod for selector in selectors)
    monitors = [each for each in OBJECTS if each["kind"] == "ServiceMonitor"]
    service = only("Service")["metadata"]["labels"]
    assert all(each["spec"]["selector"]["matchLabels"] == service for each in monitors)


def test_ports_are_called_by_names_that_the_pod_has() -> None:
    (container,) = only("StatefulSet")["spec"]["template"]["spec"]["containers"]
    names = {port["name"] for port in container["ports"]}
    probes = [value["httpGet"]["port"] for key, value in container.items() if key.endswith("Probe")]
    allowed = [rule["ports"][0]["port"] for rule in only("NetworkPolicy")["spec"]["ingress"]]
    targets = [port["targetPort"] for port in only("Service")["spec"]["ports"]]
    assert len(probes) == 3
    assert {*probes, *allowed, *targets} == names


def test_only_the_webhook_is_reached_from_outside() -> None:
    (rule,) = only("Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (path["path"], path["pathType"]) == ("/webhooks/roamify", "Exact")
    assert path["backend"]["service"]["port"] == {"name": "webhook"}


def test_the_pod_s_arguments_are_settings() -> None:
    (container,) = only("StatefulSet")["spec"]["template"]["spec"]["containers"]
    serve, *flags = container["args"]
    assert serve == "serve"
    assert loading.load(flags, {}).web.shutdown_delay == 5


def test_it_ends_within_the_time_it_is_given() -> None:
    pod = only("StatefulSet")["spec"]["template"]["spec"]
    delay = loading.load(pod["containers"][0]["args"][1:], {}).web.shutdown_delay
    assert pod["terminationGracePeriodSeconds"] > delay + 10


def test_service_monitors_are_the_scrape_jobs_of_the_readme() -> None:
    monitors = [each for each in OBJECTS if each["kind"] == "ServiceMonitor"]
    endpoints = [monitor["spec"]["endpoints"][0] for monitor in monitors]
    jobs = readme_jobs()
    assert len(endpoints) == len(jobs) == 2
    for endpoint in endpoints:
        job = jobs[endpoint["relabelings"][0]["replacement"]]
        assert endpoint["relabelings"][0]["targetLabel"] == "job"
        assert endpoint["params"] == job["params"]
        assert endpoint["interval"] == job["scrape_interval"]
        assert endpoint.get("scrapeTimeout") == job.get("scrape_timeout")
