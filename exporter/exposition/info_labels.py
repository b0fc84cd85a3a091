"""The labels of ``esim_info``: which names of an eSIM are shown."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.model.records import Esim

InfoLabel = Literal["reference_id", "iccid", "iccid_hash"]

INFO_LABELS: tuple[InfoLabel, ...] = get_args(InfoLabel)
"""Every label that an operator can choose, in the order in which labels are written."""

DEFAULT_INFO_LABELS: tuple[InfoLabel, ...] = ("reference_id",)


@dataclass(frozen=True, slots=True)
class InfoLabels:
    """The labels of ``esim_info`` that the operator chose.

    An ICCID identifies a person's SIM card, and every notification repeats the labels. So the
    ICCID is off by default. A hash of it, made with a key, can be joined on but not read.
    """

    labels: tuple[InfoLabel, ...] = DEFAULT_INFO_LABELS
    hash_key: bytes = b""
    """Key of the HMAC-SHA256 for ``iccid_hash``. The label holds its first 32 hex digits."""

    def samples(self, esim: Esim) -> Iterable[tuple[Sequence[str], float]]:
        """Return the sample of ``esim_info``."""
        yield [self._value(label, esim) for label in self.labels], 1

    def names(self, esim: Esim) -> dict[str, str]:
        """Return the labels of ``esim_info`` with their values."""
        return {label: self._value(label, esim) for label in self.labels}

    def _value(self, label: InfoLabel, esim: Esim) -> str:
        if label == "reference_id":
            return esim.reference_id
        if label == "iccid" or not esim.iccid:
            return esim.iccid
        return hmac.digest(self.hash_key, esim.iccid.encode(), hashlib.sha256).hex()[:32]
