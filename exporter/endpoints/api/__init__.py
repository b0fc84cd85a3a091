"""The JSON API below ``/api/v1`` of the internal listener.

Answers have the form of the Prometheus project's API: ``{"status": "success", "data": ...}`` or
``{"status": "error", "errorType": ..., "error": ...}``. ``endpoint_table`` lists all endpoints. The
routes, the reading of parameters and the OpenAPI document come from that one table. The types in
``answers`` and ``exporter.query.shown_values`` give the answers and their JSON Schema. Lists and
addresses never contain an ICCID.
"""
