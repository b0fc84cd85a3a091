"""The values of the chart, except those of the mixin: defaults, types and what each one means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from exporter.vendors.registry import FIRST, VENDORS

if TYPE_CHECKING:
    from exporter.vendors.vendor import Vendor

NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
HostName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+([.][0-9]+)?(m|[kMGTP]|[KMGTP]i)?$")]
SecretKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]*$")]
ScrapeDuration = Annotated[str, Field(pattern=r"^[0-9]+(ms|[smh])$")]
Texts = dict[str, str]
Objects = list[dict[str, Any]]


class Group(BaseModel):
    """Values that belong together."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Image(Group):
    """The image of the exporter."""

    repository: str = Field(
        "ghcr.io/esim-exporter/esim-exporter", min_length=1, description="Registry and name."
    )
    tag: str = Field("", description="Tag. Default: the appVersion of the chart.")
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")] = Field(
        "", description="Digest, such as sha256:0123...; it wins over the tag."
    )
    pullPolicy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the node fetches the image."
    )
    pullSecrets: Objects = Field(
        [], description="Secrets for a private registry, such as [{name: registry}]."
    )


class Storage(Group):
    """Where the state of the fleet is stored."""

    type: Literal["sqlite", "postgresql"] = Field(
        "sqlite",
        description="sqlite: one replica with a volume. postgresql: several replicas on a database "
        "that you have. docs/replicas.md says when you need it.",
    )


class Sqlite(Group):
    """The volume of storage.type sqlite."""

    size: Quantity = Field(
        "2Gi",
        description="Size of the volume, see docs/performance.md. The chart cannot change it "
        "later: change the PersistentVolumeClaim then.",
    )
    storageClassName: str = Field(
        "", description="Storage class. Default: that of the cluster. Not a network file system."
    )


class Postgresql(Group):
    """The database and the replicas of storage.type postgresql."""

    secretName: ObjectName = Field(
        "esim-exporter-storage",
        description="Secret with the URL of the database, such as "
        "postgresql://esim:password@db.example.com/esim?sslmode=verify-full.",
    )
    secretKey: str = Field("url", min_length=1, description="Key of the URL in the Secret.")
    port: int = Field(
        5432, ge=1, le=65535, description="Port of the database, for the NetworkPolicy."
    )
    shards: int = Field(
        1, ge=1, description="Number of parts of the fleet, if it is too large for one process."
    )
    replicasPerShard: int = Field(
        2, ge=1, description="Replicas that show the same part. With two, one may fail."
    )


class Copy(Group):
    """A Job that copies the SQLite volume to PostgreSQL."""

    enabled: bool = Field(
        default=False, description="Render the Job. The README of deploy/ says when to apply it."
    )


class Webhook(Group):
    """The Secret with the secrets of all vendors."""

    secretName: ObjectName = Field("esim-exporter", description="Secret that you have created.")
    secretKey: SecretKey = Field(
        "webhook-secret",
        description=f"Key with the secrets that {FIRST.title} signs with, one per line: the older "
        f"name of vendors.{FIRST.name}.secretKey. Set it to nothing if you only have others.",
    )


def vendor_value(vendor: Vendor) -> str:
    """Return the name that a vendor has among the values, such as esimGo."""
    first, *others = vendor.name.split("-")
    return first + "".join(map(str.capitalize, others))


def _vendor(vendor: Vendor) -> Group:
    what = f"secrets that {vendor.title} signs with"
    if vendor.authentication.token_in_path:
        what = f"tokens, one of which ends the address that {vendor.title} sends to"
    sentences = [
        f"Key with the {what}, one per line. It turns {vendor.title} on.",
        vendor.secret_note,
        "It also needs the setting metrics.iccid-hash-key-file." if vendor.named_by_iccid else "",
    ]
    description = " ".join(filter(None, sentences))
    model = create_model(
        vendor_value(vendor),
        __base__=Group,
        __doc__=f"The secrets of {vendor.title}.",
        secretKey=(SecretKey, Field("", description=description)),
    )
    return model()


def _vendors() -> Group:
    groups = {vendor_value(vendor): _vendor(vendor) for vendor in VENDORS}
    fields: dict[str, Any] = {name: (type(group), group) for name, group in groups.items()}
    doc = "Which vendors send, by the keys of their secrets in the Secret webhook.secretName."
    made: Group = create_model("Vendors", __base__=Group, __doc__=doc, **fields)()
    return made


def vendor_facts() -> list[dict[str, Any]]:
    """Return what the templates need to know of each vendor."""
    return [
        {
            "name": vendor.name,
            "title": vendor.title,
            "value": vendor_value(vendor),
            "path": vendor.webhook_path,
            "token": vendor.authentication.token_in_path,
            "first": vendor is FIRST,
        }
        for vendor in VENDORS
    ]


class Ingress(Group):
    """The way from the vendors to the webhooks, and to nothing else."""

    enabled: bool = Field(default=True, description="Create an Ingress.")
    className: str = Field("", description="Ingress class. Default: that of the cluster.")
    annotations: Texts = Field(
        {}, description="Annotations, such as cert-manager.io/cluster-issuer: letsencrypt."
    )
    host: HostName = Field(
        "esim-webhooks.example.com", description="Host name that the vendors send to."
    )
    tlsSecretName: ObjectName = Field(
        "esim-webhooks-tls", description="Secret with the certificate of the host."
    )


class ServiceMonitors(Group):
    """The two scrape jobs, for the Prometheus Operator."""

    enabled: bool = Field(default=True, description="Create ServiceMonitors.")
    labels: Texts = Field(
        {},
        description="Labels that the serviceMonitorSelector of your Prometheus requires, such as "
        "release: kube-prometheus-stack.",
    )
    interval: ScrapeDuration = Field(
        "30s", description="How often to scrape the exporter, the fleet and attention."
    )
    esims: bool = Field(
        default=True,
        description="Create the second job: every eSIM, for forecasts and dashboards.",
    )
    esimsInterval: ScrapeDuration = Field("2m", description="How often to scrape every eSIM.")
    esimsTimeout: ScrapeDuration = Field("1m", description="How long such a scrape may take.")
    endpoint: dict[str, Any] = Field(
        {},
        description="More fields of both endpoints, such as metricRelabelings.",
    )


class PrometheusRule(Group):
    """The recording rules and alerts, for the Prometheus Operator."""

    enabled: bool = Field(default=True, description="Create a PrometheusRule.")
    labels: Texts = Field(
        {},
        description="Labels that the ruleSelector of your Prometheus requires, such as "
        "release: kube-prometheus-stack.",
    )


class Dashboards(Group):
    """The dashboards, as ConfigMaps for the sidecar of Grafana."""

    enabled: bool = Field(default=True, description="Create a ConfigMap for each dashboard.")
    labels: Texts = Field(
        {"grafana_dashboard": "1"}, description="Labels by which the sidecar finds them."
    )
    annotations: Texts = Field({}, description="Annotations, such as grafana_folder: eSIM.")


class NetworkPolicy(Group):
    """Who may reach the pods, and whom they may reach."""

    enabled: bool = Field(default=True, description="Create a NetworkPolicy.")
    ingressNamespace: NamespaceName = Field(
        "ingress-nginx", description="Namespace of the ingress controller; it reaches the webhook."
    )
    prometheusNamespace: NamespaceName = Field(
        "monitoring", description="Namespace of Prometheus; it reaches the metrics."
    )
    database: Objects = Field(
        [],
        description="Peers that hold the database, such as [{ipBlock: {cidr: 10.1.2.3/32}}]. "
        "Default: any address with postgresql.port.",
    )


class PodDisruptionBudget(Group):
    """How many pods a drain of nodes may stop at a time."""

    enabled: bool = Field(default=True, description="Create a PodDisruptionBudget.")
    maxUnavailable: int = Field(1, ge=1, description="Pods that may be stopped at a time.")


class ChartValues(Group):
    """Everything but the values of the mixin."""

    nameOverride: str = Field(
        "",
        pattern=r"^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
        max_length=50,
        description="Name of the objects. Default: the release's.",
    )
    image: Image = Image()
    storage: Storage = Storage()
    sqlite: Sqlite = Sqlite()
    postgresql: Postgresql = Postgresql()
    copyFromSqlite: Copy = Copy()
    webhook: Webhook = Webhook()
    vendors: Group = _vendors()
    settings: dict[str, str | int | float | bool] = Field(
        {},
        description="More settings by the names of their flags, such as log.level: debug; see "
        "docs/configuration.md. The chart's own are log.format: json and web.shutdown-delay: 5s.",
    )
    ingress: Ingress = Ingress()
    serviceMonitors: ServiceMonitors = ServiceMonitors()
    prometheusRule: PrometheusRule = PrometheusRule()
    dashboards: Dashboards = Dashboards()
    networkPolicy: NetworkPolicy = NetworkPolicy()
    podDisruptionBudget: PodDisruptionBudget = PodDisruptionBudget()
    startupSeconds: int = Field(
        300,
        ge=30,
        description="How long a pod may take to load the fleet before Kubernetes restarts it. A "
        "million eSIMs take about twenty seconds, and more on a slow disk.",
    )
    resources: dict[str, Any] = Field(
        {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        description="Resources of the container. docs/performance.md has a table of sizes.",
    )
    podLabels: Texts = Field({}, description="More labels of the pods.")
    podAnnotations: Texts = Field({}, description="Annotations of the pods.")
    nodeSelector: Texts = Field({}, description="Labels of the nodes for the pods.")
    tolerations: Objects = Field([], description="Taints of nodes that the pods tolerate.")
    affinity: dict[str, Any] = Field({}, description="Affinity of the pods.")
    priorityClassName: str = Field("", description="Priority class of the pods.")
    env: Objects = Field([], description="More environment variables of the container.")
    volumes: Objects = Field(
        [], description="More volumes of the pods, such as a Secret with the CA of the database."
    )
    volumeMounts: Objects = Field([], description="Where the container mounts these volumes.")
