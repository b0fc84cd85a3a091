"""The JSON API below ``/api/v1`` of the internal listener.

Answers are those of the Prometheus project: ``{"status": "success", "data": ...}`` or
``{"status": "error", "errorType": ..., "error": ...}``. One table of endpoints feeds the
routes, the reading of parameters and the OpenAPI document; the types in
``shapes`` feed the answers and their schemas. No list and no address holds an ICCID.
"""
