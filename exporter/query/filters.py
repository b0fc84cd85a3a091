"""Which eSIMs a list holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.query.summaries import data_used_share

if TYPE_CHECKING:
    from exporter.model.events import Status
    from exporter.model.records import Esim


@dataclass(frozen=True, slots=True)
class EsimFilter:
    """Conditions that an eSIM in a list meets. A field left at its default is no condition."""

    vendor: str | None = None
    prefix: str = ""
    """The beginning of the eSIM's id."""
    status: Status | None = None
    package_id: str | None = None
    reference_id: str | None = None
    min_data_used_share: float | None = None
    """0 to 1. Excludes eSIMs without a data limit."""
    over_limit: bool | None = None
    """Whether the eSIM is over the cap ``--limits.max-esims``."""

    def matches(self, esim: Esim) -> bool:
        """Check an eSIM. The caller checks vendor, id and cap, which need no unpacked record."""
        share = self.min_data_used_share
        if share is not None:
            used = data_used_share(esim)
            if used is None or used < share:
                return False
        return (
            self.status in {None, esim.status}
            and self.reference_id in {None, esim.reference_id}
            and (self.package_id is None or esim.allowance(self.package_id) is not None)
        )

    @property
    def record_parts(self) -> tuple[bytes, ...]:
        """Return bytes that the packed record of every matching eSIM contains."""
        values = (self.status, self.package_id, self.reference_id)
        return tuple(value.encode() for value in values if value is not None)
