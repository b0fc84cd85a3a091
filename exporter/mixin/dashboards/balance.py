"""Panels of the balance at the vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import dashboard as models

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.panels import Query, Words, dashed, figure, lines

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, timeseries

# Each replica and shard shows the newest partner event.
_BALANCE: Final = "min by (vendor, currency) (esim_partner_balance{@fleet})"
_THRESHOLD: Final = "max by (vendor, currency) (esim_partner_balance_threshold{@fleet})"
_NO_EVENT: Final = "no partner event yet"


def now() -> stat.Panel:
    """Return the panel of the balance of each account, red below its threshold."""
    panel = figure(
        Words(
            "Balance",
            """The balance of each account at the vendor, in its currency. It is red below the
            threshold at which the vendor warns. Orders fail once it is used up: top up before
            that.""",
            _NO_EVENT,
        ),
        # One panel has one set of thresholds, but each account has its own.
        [
            Query(
                f"""label_replace({_BALANCE} < {_THRESHOLD}, "state", ", too low", "", "")
                or ({_BALANCE} unless {_BALANCE} < {_THRESHOLD})""",
                "{{vendor}} {{currency}}{{state}}",
                instant=True,
            )
        ],
        "none",
        decimals=2,
        trend=False,
        names=True,
    )
    red = {"mode": "fixed", "fixedColor": palette.CRITICAL}
    return panel.override_by_regexp(
        "/, too low$/", [models.DynamicConfigValue(id_val="color", value=red)]
    )


def over_time() -> timeseries.Panel:
    """Return the panel of the balance over time."""
    panel = lines(
        Words(
            "Balance and threshold",
            """The balance in the newest partner event. The dashed line is where the vendor warns;
            below it, top up. The balance changes with partner events only, so a flat line means
            no news.""",
            _NO_EVENT,
        ),
        [
            Query(_BALANCE, "{{vendor}} {{currency}}"),
            Query(_THRESHOLD, "threshold {{vendor}} {{currency}}"),
        ],
        "none",
        stairs=True,
    )
    return dashed(panel, "^threshold.*", palette.CRITICAL)
