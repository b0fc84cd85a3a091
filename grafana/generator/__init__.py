"""Writes the dashboards: ``make dashboards``.

``fleet``, ``package``, ``esim`` and ``exporter`` hold one dashboard each, ``webhook``,
``process`` and ``replicas`` panels of the last. They are made of ``panels``, ``tables``,
``alerts``, ``layout`` and ``variables``; ``palette`` holds what has the same colour everywhere.
Used when developing only; users take the JSON.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # The SDK prefers a schema that Grafana 10 to 12 do not load from files.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    from grafana.generator.documents import DASHBOARDS, FOLDER, documents, reread

__all__ = ["DASHBOARDS", "FOLDER", "documents", "reread"]
