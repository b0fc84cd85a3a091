"""Which endpoints are served where: the applications of the internal and public listeners."""

from __future__ import annotations

import logging
import ssl
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from exporter.app.reload import reload
from exporter.endpoints.api.endpoint_table import ROOT
from exporter.endpoints.api.handlers import Api, explained
from exporter.endpoints.direct_deliveries import answer_directly
from exporter.endpoints.lifecycle import Lifecycle
from exporter.endpoints.metrics import MetricsEndpoint
from exporter.endpoints.status.admin_actions import AdminActions
from exporter.endpoints.status.overview import StatusSources
from exporter.endpoints.status.page_rendering import Links, PageRenderer
from exporter.endpoints.status.pages import StatusPages
from exporter.endpoints.webhook import switched_off
from exporter.http.connection_limit import ConnectionBounds
from exporter.http.csrf import origin_of
from exporter.http.protection import ReloadableProtection
from exporter.http.quart_application import Application, application
from exporter.logs import fields
from exporter.settings.loading import settings_in_force
from exporter.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Blueprint

    from exporter.app.build import Exporter
    from exporter.settings.field_types import ListenAddress

log = logging.getLogger(__name__)


class ListenerApplication(NamedTuple):
    """One application, with its address, its protection and the bounds of its connections."""

    name: str
    """Label ``listener`` in metrics and log lines."""
    app: Application
    address: ListenAddress
    protection: ReloadableProtection
    bounds: ConnectionBounds


def build_status_pages(exporter: Exporter) -> StatusPages:
    """Make the pages for people."""
    settings = exporter.settings
    web = settings.started.web
    links = Links.of(web.external_url, web.route_prefix)
    renderer = PageRenderer(links, web.telemetry_path, exporter.clock)
    sources = StatusSources(
        intake=exporter.intake,
        health=exporter.health,
        storage=exporter.storage,
        metrics=exporter.metrics,
        queries=exporter.queries,
        deliveries=exporter.deliveries,
        vendors=[each.vendor for each in exporter.webhooks],
        allow_unsigned=settings.started.webhook.allow_unsigned,
        settings=lambda: settings_in_force(settings.started, settings.current),
        certificates=exporter.certificates,
    )
    actions = AdminActions(renderer, exporter.intake, exporter.admin_commands)
    return StatusPages(renderer, sources, exporter.clock, monotonic, actions)


def build_applications(exporter: Exporter, pages: StatusPages) -> list[ListenerApplication]:
    """Make the applications of an exporter, each with its address. Nothing is bound yet."""
    settings = exporter.settings.started
    web, webhook = settings.web, settings.webhook
    internal = _internal_endpoints(exporter, pages)
    public = [each.blueprint() for each in exporter.webhooks]
    on = {each.vendor.name for each in exporter.webhooks}
    public += [switched_off(vendor) for vendor in VENDORS if vendor.name not in on]
    bounds = ConnectionBounds(web.max_connections, web.idle_timeout)
    bounds_public = ConnectionBounds(webhook.max_connections, webhook.idle_timeout)
    protection = exporter.protections["internal"]
    if settings.merged:
        both = [*internal, *public]
        app = _application(exporter, "merged", both, protection, pages, receives=True)
        widened = bounds.widened(bounds_public)
        applications = [
            ListenerApplication("merged", app, webhook.listen_address, protection, widened)
        ]
    else:
        app = _application(exporter, "internal", internal, protection, pages)
        applications = [
            ListenerApplication("internal", app, web.listen_address, protection, bounds)
        ]
        protection = exporter.protections["public"]
        app = _application(exporter, "public", public, protection, receives=True)
        applications.append(
            ListenerApplication("public", app, webhook.listen_address, protection, bounds_public)
        )
    if web.health_listen_address:
        protection = ReloadableProtection()
        app = _application(exporter, "health", [exporter.health.blueprint("")], protection)
        applications.append(
            ListenerApplication("health", app, web.health_listen_address, protection, bounds)
        )
    return applications


def warn_of_unprotected_changes(exporter: Exporter) -> None:
    """Log a warning if everybody who reaches the internal listener may change something."""
    web, protection = exporter.settings.started.web, exporter.protections["internal"].current
    switches = {
        "--web.enable-admin-api": web.enable_admin_api,
        "--web.enable-lifecycle": web.enable_lifecycle,
    }
    enabled = [flag for flag, is_set in switches.items() if is_set]
    certified = protection.tls and protection.tls.context.verify_mode == ssl.CERT_REQUIRED
    if enabled and not (web.listen_address.is_loopback or protection.users or certified):
        log.warning(
            "whoever reaches the internal listener may change data or stop the exporter; set "
            "basic_auth_users in --web.config.file, or listen on 127.0.0.1",
            extra=fields(address=web.listen_address, because=" ".join(enabled)),
        )


def _internal_endpoints(exporter: Exporter, pages: StatusPages) -> list[Blueprint]:
    web, clock = exporter.settings.started.web, exporter.clock
    prefix = web.route_prefix.rstrip("/")
    metrics = MetricsEndpoint(
        exporter.intake,
        exporter.metrics,
        clock,
        max_scrapes=web.max_requests,
        timeout=web.scrape_timeout,
    )
    lifecycle = Lifecycle(partial(reload, exporter), exporter.stop, enabled=web.enable_lifecycle)
    api = Api(
        exporter.intake,
        exporter.storage,
        exporter.queries,
        exporter.deliveries,
        administration=exporter.admin_commands,
        clock=clock,
    )
    return [
        metrics.blueprint(prefix, web.telemetry_path),
        exporter.health.blueprint(prefix),
        lifecycle.blueprint(prefix),
        api.blueprint(prefix),
        pages.blueprint(prefix),
    ]


def _application(
    exporter: Exporter,
    name: str,
    endpoints: Iterable[Blueprint],
    protection: ReloadableProtection,
    pages: StatusPages | None = None,
    *,
    receives: bool = False,
) -> Application:
    """Return the application of a listener.

    With ``pages``, browsers get errors as pages. ``receives`` is true if vendors send to it.
    """
    web = exporter.settings.started.web
    app = application(
        name,
        endpoints,
        exporter.metrics,
        json_errors=receives,
        auth=protection.auth,
        error_page=pages.explain if pages else None,
        errors_below={f"{web.route_prefix.rstrip('/')}{ROOT}": explained} if pages else None,
        origin=origin_of(web.external_url),
        hosts={*web.allowed_hosts, urlsplit(web.external_url).hostname or "localhost"},
    )
    if receives:
        answer_directly(app, exporter.webhooks, exporter.metrics)
    return app
