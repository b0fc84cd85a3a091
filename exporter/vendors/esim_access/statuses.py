"""The status of an eSIM: the vendor gives one of the plan and one of the profile."""

from __future__ import annotations

from typing import NamedTuple

from exporter.model.events import Status


class _Rule(NamedTuple):
    """The status for certain pairs."""

    plan: frozenset[str] | None
    """Values of ``esimStatus``; ``None`` for all, and for none at all."""
    profile: frozenset[str] | None
    """Values of ``smdpStatus``; ``None`` for all, and for none at all."""
    status: Status


def _rule(plan: str, profile: str, status: Status) -> _Rule:
    return _Rule(
        None if plan == "*" else frozenset(plan.split()),
        None if profile == "*" else frozenset(profile.split()),
        status,
    )


_RULES = (
    # A plan that is over stays so, whatever happens to the profile.
    _rule("USED_EXPIRED UNUSED_EXPIRED", "*", Status.EXPIRED),
    _rule("CANCEL REVOKED REVOKE", "*", Status.REVOKED),
    _rule("*", "DELETED", Status.DELETED),
    # A top-up ends the one, the operator the other. Our statuses have no equal.
    _rule("USED_UP SUSPENDED", "*", Status.OTHER),
    _rule("IN_USE", "DISABLED", Status.INACTIVE),
    # Also while the profile's status lags behind: it was not told that the profile was enabled.
    _rule("IN_USE", "*", Status.ACTIVATED),
    _rule("*", "RELEASED", Status.NEW),
    _rule("*", "DOWNLOAD INSTALLATION", Status.INSTALLED),
    _rule("GOT_RESOURCE", "ENABLED DISABLED", Status.INSTALLED),
)
"""The first one that fits counts."""


def status_of(plan: str | None, profile: str | None) -> Status:
    """Return the status for ``esimStatus`` and ``smdpStatus`` in any case, ``OTHER`` if unknown."""
    plan, profile = (plan or "").upper(), (profile or "").upper()
    for rule in _RULES:
        if (rule.plan is None or plan in rule.plan) and (
            rule.profile is None or profile in rule.profile
        ):
            return rule.status
    return Status.OTHER
