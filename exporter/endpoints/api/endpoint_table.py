"""The table of all endpoints of the API.

The routes, the reading of parameters, the OpenAPI document and the table in ``docs/api.md`` come
from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.endpoints.api.answers import (
    BackupData,
    Deleted,
    Dropped,
    EventList,
    ExporterStatus,
    PackageList,
    RejectedData,
    RejectedList,
    Replayed,
)
from exporter.endpoints.api.parameter_kinds import Parameter, choice, number, share, switch, text
from exporter.ingest.recent_deliveries import MAX_UNVERIFIED, MAX_VERIFIED
from exporter.model.events import Status
from exporter.query.fleet_queries import MAX_PAGE_SIZE
from exporter.query.list_options import SortKey, SortOrder
from exporter.query.shown_values import EsimData, EsimList

ROOT = "/api/v1"

MOST_EVENTS = MAX_VERIFIED + MAX_UNVERIFIED
"""Most deliveries in one answer: as many as are kept in memory."""

MOST_REJECTED = 1000

ERROR_TYPES = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    421: "misdirected",
    422: "unprocessable",
    503: "unavailable",
}
"""``errorType`` by HTTP status; ``bad_data``, ``not_found``, ``unavailable`` as in Prometheus."""

_LONGEST_CURSOR = 4096

_IDS = {
    "esim_id": "The vendor's id of the eSIM.",
    "rejected_id": "SHA-256 of the body, in hex.",
}
"""Parameters in paths, with their descriptions."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint."""

    name: str
    method: str
    path: str
    """Path below :data:`ROOT`, with parameters in braces."""
    summary: str
    data: type
    """Type of the answer's ``data``."""
    parameters: tuple[Parameter, ...] = ()
    admin: bool = False
    """Whether it works only with ``--web.enable-admin-api``."""
    changes: bool = False
    """Whether it writes to the storage, which can fail."""
    refuses: str = ""
    """When it answers 422; empty if it never does."""

    @property
    def path_parameters(self) -> dict[str, str]:
        """Return the parameters in the path, with their descriptions."""
        return {name: text for name, text in _IDS.items() if f"{{{name}}}" in self.path}

    @property
    def route(self) -> str:
        """Return the path in the syntax of Quart's routes. An eSIM's id may be any text."""
        path = self.path.replace("{esim_id}", "<identifier:esim_id>")
        return ROOT + path.replace("{rejected_id}", "<rejected_id>")


_VENDOR = text("vendor", "Of this vendor only.")
_WHOSE = text("vendor", "Needed where eSIMs of several vendors have this id.")

ENDPOINTS = (
    Endpoint(
        *("status", "GET", "/status", "The exporter as a whole"),
        ExporterStatus,
    ),
    Endpoint(
        *("esims", "GET", "/esims", "eSIMs, page by page"),
        EsimList,
        (
            _VENDOR,
            text("prefix", "What the eSIM's id starts with."),
            text("reference_id", "With exactly this reference."),
            choice("status", "In this status.", Status),
            switch("terminal", "DELETED, REVOKED or EXPIRED, or in no such status."),
            switch("out_of_data", "Without data left in any package, or not."),
            switch(
                "about_to_run_out",
                "Not out of data, but at least 90 % is used in every package with data; or not.",
            ),
            text(
                "package_id",
                "With this package; with out_of_data=true, the package that ran out last.",
            ),
            *(
                share(
                    f"min_{resource}_used_share",
                    f"Of which at least this share of {what} is used, in one package.",
                )
                for resource, what in (("data", "data"), ("sms", "SMS"), ("voice", "voice"))
            ),
            switch("over_limit", "Without series of their own, for --limits.max-esims, or with."),
            choice(
                "sort",
                "What to sort by; equal ones by vendor and id.",
                SortKey,
                default=SortKey.ESIM_ID,
            ),
            choice("order", "In which direction.", SortOrder, default=SortOrder.ASCENDING),
            text("after", "The answer's `next` of the page before.", _LONGEST_CURSOR),
            number("limit", "eSIMs on a page.", 1, MAX_PAGE_SIZE, 50),
        ),
    ),
    Endpoint(
        *("esim", "GET", "/esims/{esim_id}", "One eSIM in full"),
        EsimData,
        (_WHOSE,),
    ),
    Endpoint(
        *("delete_esim", "DELETE", "/esims/{esim_id}", "Let an eSIM leave now, as by expiry"),
        Deleted,
        (_WHOSE,),
        admin=True,
        changes=True,
    ),
    Endpoint(
        *("packages", "GET", "/packages", "All packages, with sums over the fleet"),
        PackageList,
    ),
    Endpoint(
        *("events", "GET", "/events", "The deliveries that were answered last"),
        EventList,
        (
            _VENDOR,
            text("esim_id", "About this eSIM only."),
            text("outcome", "With this outcome only."),
            number("limit", "Deliveries at most.", 1, MOST_EVENTS, 100),
        ),
    ),
    Endpoint(
        *("rejected", "GET", "/rejected", "Rejected deliveries that are kept, without bodies"),
        RejectedList,
        (
            number("offset", "How many to pass by.", 0, 10**6, 0),
            number("limit", "Deliveries at most.", 1, MOST_REJECTED, 100),
        ),
    ),
    Endpoint(
        *("rejection", "GET", "/rejected/{rejected_id}", "A rejected delivery with its body"),
        RejectedData,
        admin=True,
    ),
    Endpoint(
        *("drop", "DELETE", "/rejected/{rejected_id}", "Keep a rejected delivery no longer"),
        Dropped,
        admin=True,
        changes=True,
    ),
    Endpoint(
        *("replay", "POST", "/rejected/{rejected_id}/replay"),
        "Take a rejected delivery as of when it first came",
        Replayed,
        admin=True,
        changes=True,
        refuses="It still cannot be taken, and stays.",
    ),
    Endpoint(
        *("backup", "POST", "/admin/backup", "Write a copy of the storage to a new file"),
        BackupData,
        admin=True,
        changes=True,
    ),
)
