"""Where notifications go: the receivers that users can choose, and what each needs.

Secrets are read by Alertmanager from files. So the file of values, and everything that is written
from it, can be kept in a repository.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from exporter.mixin.value_groups import HttpUrl, OptionalUrl, ValueGroup, fitting

SecretFile = Annotated[str, fitting(r"/\S+", "an absolute path without spaces")]
"""A file that Alertmanager reads, when it sends. It does not check the file before."""

Address = Annotated[str, fitting(r"[^@\n]+@[^\n]+", "an e-mail address")]

Channel = Annotated[str, fitting(r"\S+", "a channel or a user, such as #esim or @ann")]


class WebhookReceiver(ValueGroup):
    """A program that receives Alertmanager's JSON, which has the annotations of every alert."""

    url: OptionalUrl = Field("", description="where to send to; give url or url_file")
    url_file: SecretFile | None = Field(
        None,
        description="file with the URL, if that is a secret; needs Alertmanager 0.26 or later",
        examples=["/etc/alertmanager/secrets/webhook-url"],
    )
    credentials_file: SecretFile | None = Field(
        None,
        description="file with a bearer token for the header Authorization",
        examples=["/etc/alertmanager/secrets/webhook-token"],
    )

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if bool(self.url) == bool(self.url_file):
            raise ValueError("give url or url_file, and not both")
        return self


class PagerdutyReceiver(ValueGroup):
    """PagerDuty, Events API v2."""

    routing_key_file: SecretFile = Field(
        description="file with the integration key",
        examples=["/etc/alertmanager/secrets/pagerduty-key"],
    )
    url: HttpUrl = Field(
        "https://events.pagerduty.com/v2/enqueue", description="where to send events"
    )


class OpsgenieReceiver(ValueGroup):
    """Opsgenie, or Jira Service Management with its API."""

    api_key_file: SecretFile = Field(
        description="file with the API key", examples=["/etc/alertmanager/secrets/opsgenie-key"]
    )
    api_url: HttpUrl = Field("https://api.opsgenie.com", description="where the API is")
    priority: Literal["P1", "P2", "P3", "P4", "P5"] = Field("P3", description="P1 to P5")


class SlackReceiver(ValueGroup):
    """Slack, or a chat with the same incoming webhooks."""

    api_url_file: SecretFile = Field(
        description="file with the URL of the incoming webhook",
        examples=["/etc/alertmanager/secrets/slack-url"],
    )
    channel: Channel = Field(description="channel or user", examples=["#esim-alerts"])


class EmailReceiver(ValueGroup):
    """E-mail."""

    to: Address = Field(
        description="addresses, separated by commas", examples=["on-call@your-company.test"]
    )
    sender: Address = Field(
        description="address of the sender", examples=["alertmanager@your-company.test"]
    )
    smarthost: Annotated[str, fitting(r"\S+:[0-9]+", "a host with a port")] = Field(
        description="SMTP server with its port", examples=["smtp.your-company.test:587"]
    )
    auth_username: str | None = Field(
        None, description="user at the SMTP server", examples=["alertmanager"]
    )
    auth_password_file: SecretFile | None = Field(
        None,
        description="file with the password of this user",
        examples=["/etc/alertmanager/secrets/smtp-password"],
    )
    require_tls: bool = Field(default=True, description="send nothing without STARTTLS")

    @model_validator(mode="after")
    def _user_with_password(self) -> Self:
        if bool(self.auth_username) != bool(self.auth_password_file):
            raise ValueError("give auth_username and auth_password_file, or none of them")
        return self


class ReceiverKinds(ValueGroup):
    """One or more of webhook, pagerduty, opsgenie, slack and email."""

    webhook: WebhookReceiver | None = None
    pagerduty: PagerdutyReceiver | None = None
    opsgenie: OpsgenieReceiver | None = None
    slack: SlackReceiver | None = None
    email: EmailReceiver | None = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not any(value for _, value in self):
            raise ValueError("give one of webhook, pagerduty, opsgenie, slack, email")
        return self


def _placeholder(name: str) -> ReceiverKinds:
    return ReceiverKinds(webhook=WebhookReceiver(url=f"http://127.0.0.1:5001/{name}"))


class ReceiversValues(ValueGroup):
    """Who gets notifications. Replace all three: nothing listens at the defaults."""

    pager: ReceiverKinds = Field(_placeholder("pager"), description="whoever is on call: pages")
    tickets: ReceiverKinds = Field(
        _placeholder("tickets"),
        description="whoever works in office hours: tickets; the same kinds as for pager",
    )
    deadman: ReceiverKinds = Field(
        _placeholder("deadman"),
        description="a service outside that tells you when the alert Watchdog stops arriving",
    )

    @classmethod
    def below(cls, url: str) -> Self:
        """Return webhooks at ``/pager``, ``/tickets`` and ``/deadman`` below ``url``."""
        return cls(
            **{
                name: ReceiverKinds(webhook=WebhookReceiver(url=f"{url}/{name}"))
                for name in cls.model_fields
            }
        )
