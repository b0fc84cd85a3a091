"""Write the dashboards: ``make dashboards``.

``fleet``, ``package``, ``esim`` and ``exporter`` have one dashboard each. ``webhook``, ``process``
and ``replicas`` have panels of the exporter's dashboard. ``panels``, ``tables``, ``alerts``,
``layout`` and ``variables`` have the building blocks. ``palette`` has the colours. Only
developers run this; users take the JSON.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # The SDK prefers a schema that Grafana 10 to 12 do not load from files.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    from grafana.generator.documents import DASHBOARDS, FOLDER, documents, reread

__all__ = ["DASHBOARDS", "FOLDER", "documents", "reread"]
