"""Screens packed eSIMs: which of them may be in a list, judged without unpacking them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.fleet.packed_esims import (
    HIDDEN,
    SEVERAL,
    STATUS_CODES,
    number_of,
    unpack,
)
from exporter.fleet.packed_records import is_transparent
from exporter.model.attention import NEARLY_ALL
from exporter.model.events import TERMINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from exporter.fleet.packed_esims import PackedEsims
    from exporter.model.records import Esim
    from exporter.query.key_ranges import Entries
    from exporter.query.list_options import EsimFilter


class Screen:
    """The conditions of a list that the columns and the bytes of packed eSIMs can tell.

    It never leaves out an eSIM that meets the conditions, but may let others pass.
    """

    def __init__(self, conditions: EsimFilter) -> None:
        wanted = {
            code
            for status, code in STATUS_CODES.items()
            if conditions.status in {None, status}
            and conditions.terminal in {None, status in TERMINAL}
        }
        self._statuses = None if len(wanted) == len(STATUS_CODES) else wanted
        package_id, reference_id = conditions.package_id, conditions.reference_id
        self._package = b"" if package_id is None else package_id.encode()
        self._packages = None if package_id is None else {number_of(package_id), SEVERAL, HIDDEN}
        self._references = None if reference_id is None else {number_of(reference_id)}
        nearly = float(NEARLY_ALL) if conditions.about_to_run_out else 0.0
        self._data = max(conditions.min_data_used_share or 0.0, nearly)
        self._sms = _percent(conditions.min_sms_used_share)
        self._voice = _percent(conditions.min_voice_used_share)
        texts = (package_id, reference_id)
        self._texts = tuple(text.encode() for text in texts if text is not None)

    def may_hold(self, esims: PackedEsims) -> bool:
        """Return whether any of these eSIMs may have the wanted package.

        Where eSIMs have several packages, this searches the bytes of all of them at once.
        """
        if self._packages is None:
            return True
        numbers = self._packages.intersection(esims.packages)
        return bool(numbers) and (numbers != {SEVERAL} or esims.records.may_contain(self._package))

    def passing(self, esims: PackedEsims, places: Sequence[int]) -> Sequence[int]:
        """Return the places of those eSIMs that may be in the list, judged by the columns."""
        if self._statuses is not None:
            places = _in(esims.statuses, self._statuses, places)
        if self._packages is not None:
            places = _in(esims.packages, self._packages, places)
        if self._references is not None:
            places = _in(esims.references, self._references, places)
        if least := self._data:
            shares = esims.data_used_shares
            places = [at for at in places if shares[at] >= least]
        if percent := self._sms:
            sms = esims.sms_percents
            places = [at for at in places if sms[at] >= percent]
        if percent := self._voice:
            voice = esims.voice_percents
            places = [at for at in places if voice[at] >= percent]
        return places

    def may_match(self, record: bytes) -> bool:
        """Return whether the eSIM of a packed record may be in the list, judged by its bytes."""
        return not is_transparent(record) or all(text in record for text in self._texts)


def _in(column: bytearray, wanted: set[int], places: Sequence[int]) -> Sequence[int]:
    return [at for at in places if column[at] in wanted]


def _percent(share: float | None) -> int:
    """Return the least percentage, rounded down, of eSIMs that used at least this share.

    It is one too low, because ``100 * share`` may be rounded up.
    """
    return max(0, int(100 * (share or 0.0)) - 1)


def esims_named(text: str, found: Iterable[Entries]) -> Iterator[Esim]:
    """Yield every eSIM whose reference or ICCID is this text."""
    number, wanted = number_of(text), text.encode()
    for keys, esims, first, last in found:
        references, iccids = esims.references, esims.iccids
        if number not in references and number not in iccids:
            continue
        for at in range(first, last):
            if number in {references[at], iccids[at]}:
                record = esims.records[at]
                if is_transparent(record) and wanted not in record:
                    continue
                esim = unpack(keys[at], record)
                if text in {esim.reference_id, esim.iccid}:
                    yield esim
