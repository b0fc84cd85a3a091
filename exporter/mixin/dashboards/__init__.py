"""Dashboards for Grafana.

``fleet``, ``package``, ``esim`` and ``exporter`` have one dashboard each. ``webhook``, ``process``
and ``replicas`` have panels of the exporter's dashboard. ``panels``, ``tables``, ``alerts``,
``layout`` and ``variables`` have the building blocks. ``palette`` has the colours.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # The SDK prefers a schema that Grafana 10 to 12 do not load from files. It warns at the first
    # import of these modules only.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge, dashboard  # noqa: F401  # see above
