"""The Kubernetes manifests of several replicas: the patches, and the objects after patching."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from exporter.settings import loading
from exporter.settings.loading import shard_of

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes-replicas"
BASE = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.31"

URL = {"ESIM_EXPORTER_STORAGE_URL": "postgresql://esim@db/esim"}


def documents(folder: Path, name: str) -> list[Any]:
    return list(yaml.safe_load_all((folder / name).read_text()))


(KUSTOMIZATION,) = documents(FOLDER, "kustomization.yaml")
(COPY,) = documents(FOLDER, "copy.yaml")
BASES = [
    document
    for name in documents(BASE, "kustomization.yaml")[0]["resources"]
    for document in documents(BASE, name)
]


def patched(document: Any, operations: list[dict[str, Any]]) -> Any:
    """Return a document after a JSON patch (RFC 6902); fail if the patch does not fit it."""
    document = copy.deepcopy(document)
    for operation in operations:
        *parents, last = operation["path"].removeprefix("/").split("/")
        holder = document
        for part in parents:
            holder = holder[int(part) if isinstance(holder, list) else part]
        key = int(last) if isinstance(holder, list) else last
        match operation["op"]:
            case "add":
                assert last not in holder
                holder[key] = operation["value"]
            case "replace":
                assert last in holder
                holder[key] = operation["value"]
            case "remove":
                del holder[key]
            case "test":
                assert holder[key] == operation["value"]
    return document


def of(kind: str) -> Any:
    """Return the only object of a kind, after its patch if it has one."""
    (found,) = (each for each in BASES if each["kind"] == kind)
    for patch in KUSTOMIZATION["patches"]:
        if patch["target"] == {"kind": kind, "name": found["metadata"]["name"]}:
            (operations,) = documents(FOLDER, patch["path"])
            return patched(found, operations)
    return found


SET = of("StatefulSet")
(CONTAINER,) = SET["spec"]["template"]["spec"]["containers"]


def test_every_file_is_a_patch_of_an_object_or_named_as_another() -> None:
    patches = KUSTOMIZATION["patches"]
    named = {"kustomization.yaml", "copy.yaml", *(patch["path"] for patch in patches)}
    assert {path.name for path in FOLDER.iterdir()} == named
    targets = {(each["kind"], each["metadata"]["name"]) for each in BASES}
    assert {(patch["target"]["kind"], patch["target"]["name"]) for patch in patches} <= targets
    assert [(FOLDER / each).resolve() for each in KUSTOMIZATION["resources"]] == [BASE]


@pytest.mark.parametrize("document", [SET, of("NetworkPolicy"), COPY], ids=lambda d: d["kind"])
def test_what_is_deployed_fits_the_published_schema(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_replicas_keep_nothing_in_the_pod() -> None:
    pod = SET["spec"]["template"]["spec"]
    assert "volumeClaimTemplates" not in SET["spec"]
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == {
        each["name"] for each in pod["volumes"]
    }


def test_the_arguments_are_settings_and_every_shard_has_as_many_replicas() -> None:
    serve, *flags = CONTAINER["args"]
    chosen = loading.load(flags, URL)
    (variable,) = CONTAINER["env"]

    assert serve == "serve"
    assert variable["name"] in URL
    assert "secretKeyRef" in variable["valueFrom"]
    assert SET["spec"]["replicas"] >= 2
    pods = [f"{SET['metadata']['name']}-{number}" for number in range(SET["spec"]["replicas"])]
    shown = [shard_of(chosen, pod).number for pod in pods]
    assert {shown.count(number) for number in range(chosen.shards.total)} == {
        len(pods) // chosen.shards.total
    }


def test_replicas_reach_their_database_and_names_and_nothing_else() -> None:
    ports = [
        port["port"] for rule in of("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]
    ]
    assert ports == [5432, 53, 53]


def test_scrapes_keep_the_labels_that_rules_take_replicas_together_by() -> None:
    monitors = [each for each in BASES if each["kind"] == "ServiceMonitor"]
    relabelled = [
        rule["targetLabel"]
        for monitor in monitors
        for endpoint in monitor["spec"]["endpoints"]
        for rule in [*endpoint["relabelings"], *endpoint.get("metricRelabelings", [])]
    ]
    assert relabelled == ["job", "job"]
    assert not any("podTargetLabels" in monitor["spec"] for monitor in monitors)


def test_a_node_that_is_drained_takes_one_replica_at_a_time() -> None:
    assert of("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_fleet_of_one_replica_is_copied_from_its_volume_to_the_same_database() -> None:
    (single,) = (each for each in BASES if each["kind"] == "StatefulSet")
    (claim,) = single["spec"]["volumeClaimTemplates"]
    pod = COPY["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (image,) = documents(BASE, "kustomization.yaml")[0]["images"]
    (args,) = (each["args"] for each in single["spec"]["template"]["spec"]["containers"])

    *command, source, target = container["args"]
    assert command == ["storage", "copy"]
    assert f"--storage.url={source}" in args
    assert re.fullmatch(r"\$\((\w+)\)", target)[1] == container["env"][0]["name"]  # type: ignore[index]  # it does
    assert container["env"] == CONTAINER["env"]
    assert container["image"] == f"{image['newName']}:{image['newTag']}"
    name = f"{claim['metadata']['name']}-{single['metadata']['name']}-0"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == name
