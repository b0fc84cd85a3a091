"""Receivers as Alertmanager reads them. Versions from 0.25 on load all but ``url_file``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.mixin.alertmanager.notifications import (
    RUNBOOK,
    firing,
    links,
    resolved,
    slack_escaped,
    text,
    title,
)

if TYPE_CHECKING:
    from exporter.mixin.receiver_values import (
        EmailReceiver,
        OpsgenieReceiver,
        PagerdutyReceiver,
        ReceiverKinds,
        SlackReceiver,
        WebhookReceiver,
    )
    from exporter.mixin.values import MixinValues

_MOST_ALERTS = 50
"""Alerts in the JSON of a webhook, which then says how many it leaves out."""


_SEVERITY = '{{ if eq .CommonLabels.severity "critical" }}critical{{ else }}warning{{ end }}'


def receivers(values: MixinValues) -> list[dict[str, Any]]:
    """Return all receivers that the routes name."""
    chosen = values.receivers
    return [
        {"name": "null"},
        # The outside service waits for firing alerts and would take a resolved one for one of them.
        {"name": "deadman", **_configs(values, chosen.deadman, send_resolved=False)},
        {"name": "pager", **_configs(values, chosen.pager, send_resolved=True)},
        {"name": "tickets", **_configs(values, chosen.tickets, send_resolved=True)},
    ]


def _configs(
    values: MixinValues, chosen: ReceiverKinds, *, send_resolved: bool
) -> dict[str, list[dict[str, Any]]]:
    configs = {
        "webhook_configs": chosen.webhook and _webhook(chosen.webhook),
        "pagerduty_configs": chosen.pagerduty and _pagerduty(values, chosen.pagerduty),
        "opsgenie_configs": chosen.opsgenie and _opsgenie(values, chosen.opsgenie),
        "slack_configs": chosen.slack and _slack(values, chosen.slack),
        "email_configs": chosen.email and _email(values, chosen.email),
    }
    sending = {"send_resolved": send_resolved}
    return {name: [config | sending] for name, config in configs.items() if config}


def _webhook(webhook: WebhookReceiver) -> dict[str, Any]:
    config: dict[str, Any] = {"url": webhook.url} if webhook.url else {"url_file": webhook.url_file}
    if webhook.credentials_file:
        credentials = {"credentials_file": webhook.credentials_file}
        config["http_config"] = {"authorization": credentials}
    return config | {"max_alerts": _MOST_ALERTS}


def _pagerduty(values: MixinValues, pagerduty: PagerdutyReceiver) -> dict[str, Any]:
    # Alertmanager leaves out links whose URL is empty.
    return {
        "routing_key_file": pagerduty.routing_key_file,
        "url": pagerduty.url,
        "severity": _SEVERITY,
        "description": title(),
        "details": {"firing": firing(values, _plain), "resolved": resolved()},
        "links": [{"text": name, "href": url} for name, url in links(values).items()],
    }


def _opsgenie(values: MixinValues, opsgenie: OpsgenieReceiver) -> dict[str, Any]:
    return {
        "api_key_file": opsgenie.api_key_file,
        "api_url": opsgenie.api_url,
        "priority": opsgenie.priority,
        "message": title(),
        "description": text(values, _plain),
    }


def _slack(values: MixinValues, slack: SlackReceiver) -> dict[str, Any]:
    return {
        "api_url_file": slack.api_url_file,
        "channel": slack.channel,
        "title": title(slack_escaped),
        "title_link": RUNBOOK,
        "fallback": title(slack_escaped),
        "text": text(values, lambda name, url: f"<{url}|{name}>", slack_escaped),
    }


def _email(values: MixinValues, email: EmailReceiver) -> dict[str, Any]:
    user = {"auth_username": email.auth_username, "auth_password_file": email.auth_password_file}
    return {
        "to": email.to,
        "from": email.sender,
        "smarthost": email.smarthost,
        **({name: value for name, value in user.items() if value}),
        "require_tls": email.require_tls,
        "headers": {"Subject": title()},
        "html": "",
        "text": text(values, _plain),
    }


def _plain(name: str, url: str) -> str:
    return f"{name}: {url}"
