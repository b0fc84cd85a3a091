"""What notifications say: templates for the text of alerts, with links.

The templates stand in the fields of the receivers, so that the configuration is one file. It works
wherever it is copied to, and inside an object of the Prometheus Operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.mixin.values import MixinValues

_MOST: Final = 10
"""Alerts that a text lists. With more, it would be too long for Opsgenie (15 000 characters)."""

_SUMMARY: Final = "{{ or .CommonAnnotations.summary .CommonLabels.alertname }}"

DESCRIPTION: Final = ".Annotations.description"


def as_it_is(value: str) -> str:
    """Return the template of a value."""
    return f"{{{{ {value} }}}}"


def slack_escaped(value: str) -> str:
    """Return the template of a value in which Slack reads no link and no mention of anybody."""
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        value = f'(reReplaceAll "{character}" "{entity}" {value})'
    return f"{{{{ {value} }}}}"


def title(said: Callable[[str], str] = as_it_is) -> str:
    """Return the template of a title. ``said`` returns the template of a value.

    A single alert is told with its names, several with what they have in common.
    """
    firing_alert = said("(index .Alerts.Firing 0)" + DESCRIPTION)
    alert = said("(index .Alerts 0)" + DESCRIPTION)
    return (
        '{{ if eq .Status "resolved" }}Resolved: '
        f"{{{{ if eq (len .Alerts) 1 }}}}{alert}{{{{ else }}}}{_SUMMARY}{{{{ end }}}}"
        f"{{{{ else if eq (len .Alerts.Firing) 1 }}}}{firing_alert}"
        f"{{{{ else }}}}{_SUMMARY} ({{{{ len .Alerts.Firing }}}} alerts){{{{ end }}}}"
    )


RUNBOOK: Final = "{{ .CommonAnnotations.runbook_url }}"

_LINKS: Final = {"Dashboard": "dashboard_url", "Status page": "status_page_url"}
"""Titles of links, and the annotations with their URLs. Rules leave out those that are unknown."""


def links(values: MixinValues) -> dict[str, str]:
    """Return the templates of the URLs that all alerts of a notification share, by their titles.

    A URL is empty if the alerts do not share it.
    """
    shared = {title: f"{{{{ .CommonAnnotations.{name} }}}}" for title, name in _LINKS.items()}
    return {"Runbook": RUNBOOK, **shared, "Silence": _silence(values, ".CommonLabels")}


def firing(
    values: MixinValues, link: Callable[[str, str], str], said: Callable[[str], str] = as_it_is
) -> str:
    """Return the template of the text about firing alerts.

    ``link`` writes a title and a URL, and ``said`` returns the template of a value.
    """
    known = (
        f"{{{{ with .Annotations.{name} }}}}{link(title, '{{ . }}')}\n{{{{ end }}}}"
        for title, name in _LINKS.items()
    )
    silence = link("Silence", _silence(values, ".Labels"))
    return (
        f"{{{{ range $index, $alert := .Alerts.Firing }}}}{{{{ if lt $index {_MOST} }}}}"
        f"{said(DESCRIPTION)}\n{''.join(known)}{silence}\n\n"
        f"{{{{ end }}}}{{{{ end }}}}{{{{ if gt (len .Alerts.Firing) {_MOST} }}}}"
        f"These are {_MOST} of {{{{ len .Alerts.Firing }}}} alerts.\n\n{{{{ end }}}}"
    )


def resolved(said: Callable[[str], str] = as_it_is) -> str:
    """Return the template of the text about alerts that ended."""
    return (
        f"{{{{ range $index, $alert := .Alerts.Resolved }}}}{{{{ if lt $index {_MOST} }}}}"
        f"Resolved: {said(DESCRIPTION)}\n{{{{ end }}}}{{{{ end }}}}"
    )


def text(
    values: MixinValues, link: Callable[[str, str], str], said: Callable[[str], str] = as_it_is
) -> str:
    """Return the template of a whole text: firing alerts, resolved ones, the runbook."""
    runbook = (
        f"{{{{ with .CommonAnnotations.runbook_url }}}}{link('Runbook', '{{ . }}')}{{{{ end }}}}"
    )
    return f"{firing(values, link, said)}{resolved(said)}{runbook}"


def _silence(values: MixinValues, labels: str) -> str:
    """Return a template of the URL of Alertmanager's form for a silence.

    The form reads ``filter`` as matchers whose values are JSON strings. It does not decode ``+``.
    """
    return (
        f"{values.links.alertmanager or '{{ $.ExternalURL }}'}/#/silences/new?filter=%7B"
        f"{{{{ range $number, $pair := {labels}.SortedPairs }}}}"
        "{{ if $number }}%2C{{ end }}"
        '{{ $pair.Name }}%3D{{ reReplaceAll "[+]" "%20" (printf "%q" $pair.Value | urlquery) }}'
        "{{ end }}%7D"
    )
