"""Lists of packed eSIMs with columns beside them.

An eSIM takes a fifth of the memory of Python objects, but unpacking it takes some 10
microseconds. So a list keeps a few numbers of each eSIM beside the packed records, in *columns*:
what people sort and filter by. A question about a whole fleet then unpacks few eSIMs.
"""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from typing import TYPE_CHECKING, overload

from exporter.fleet.packed_records import RecordList, is_transparent, pack_fields, unpacker
from exporter.model.records import STATUSES, Esim
from exporter.storage.stored_records import field_types

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PackedEsim = tuple[bytes, float, int, bytes]
"""A packed record, and the values of the eSIM in the columns: used share of data, time of the last
event, traits."""

NO_LIMIT = -1.0
"""In the column of used shares: an eSIM without a data limit."""

STATUS_CODES = {status: code for code, status in enumerate(STATUSES)}
"""The number of each status among the traits."""

SEVERAL = 0
"""In place of the number of a package: the eSIM has several packages, or none."""

HIDDEN = 255
"""In place of the number of a package: the record does not contain texts as they are."""

_TRAITS = 6
"""How many bytes the traits of an eSIM take."""


class PackedEsims(MutableSequence[PackedEsim]):
    """A list of packed eSIMs. Their records are in one piece of memory.

    Slices can be read and deleted, not set.
    """

    __slots__ = ("_traits", "data_used_shares", "last_events", "records")

    records: RecordList

    data_used_shares: array[float]
    """The greatest used share of data among the allowances, or :data:`NO_LIMIT`."""
    last_events: array[int]
    """The event time of the newest event, unix seconds."""

    def __init__(self, esims: Iterable[PackedEsim] = ()) -> None:
        self._replace(list(esims))

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, at: int) -> PackedEsim: ...
    @overload
    def __getitem__(self, at: slice) -> PackedEsims: ...
    def __getitem__(self, at: int | slice) -> PackedEsim | PackedEsims:
        if isinstance(at, slice):
            return PackedEsims(list(self)[at])
        traits = bytes(self._traits[_TRAITS * at : _TRAITS * (at + 1)])
        return self.records[at], self.data_used_shares[at], self.last_events[at], traits

    def __setitem__(self, at: int, esim: PackedEsim) -> None:  # type: ignore[override]  # no slices
        self.records[at], self.data_used_shares[at], self.last_events[at], traits = esim
        self._traits[_TRAITS * at : _TRAITS * (at + 1)] = traits

    def __delitem__(self, at: int | slice) -> None:
        kept = list(self)
        del kept[at]
        self._replace(kept)

    def insert(self, at: int, esim: PackedEsim) -> None:
        """Insert an eSIM before the one at ``at``."""
        record, share, last_event, traits = esim
        self.records.insert(at, record)
        self.data_used_shares.insert(at, share)
        self.last_events.insert(at, last_event)
        self._traits[_TRAITS * at : _TRAITS * at] = traits

    def __iter__(self) -> Iterator[PackedEsim]:
        """Yield the eSIMs as they are now; changes made during the iteration are not seen."""
        kept = bytes(self._traits)
        traits = [kept[at : at + _TRAITS] for at in range(0, len(kept), _TRAITS)]
        return zip(self.records, self.data_used_shares[:], self.last_events[:], traits, strict=True)

    @property
    def statuses(self) -> bytearray:
        """Return the column of statuses: numbers from :data:`STATUS_CODES`."""
        return self._traits[0::_TRAITS]

    @property
    def sms_percents(self) -> bytearray:
        """Return the greatest used shares of SMS, in percent, rounded down; 0 without a limit."""
        return self._traits[1::_TRAITS]

    @property
    def voice_percents(self) -> bytearray:
        """Return the greatest used shares of voice, in percent, rounded down; 0 without a limit."""
        return self._traits[2::_TRAITS]

    @property
    def packages(self) -> bytearray:
        """Return the column of packages: :func:`number_of`, :data:`SEVERAL` or :data:`HIDDEN`."""
        return self._traits[3::_TRAITS]

    @property
    def references(self) -> bytearray:
        """Return the column of references, as numbers from :func:`number_of`."""
        return self._traits[4::_TRAITS]

    @property
    def iccids(self) -> bytearray:
        """Return the column of ICCIDs, as numbers from :func:`number_of`."""
        return self._traits[5::_TRAITS]

    def _replace(self, esims: list[PackedEsim]) -> None:
        columns = zip(*esims, strict=True) if esims else ((),) * 4
        records, shares, last_events, traits = columns
        self.records = RecordList(records)
        self.data_used_shares = array("d", shares)
        self.last_events = array("I", last_events)
        self._traits = bytearray().join(traits)


_IN_KEY = 2
"""How many fields of an eSIM its key holds; the record holds the others."""

_unpack_fields = unpacker([*field_types(Esim, _IN_KEY), int])


def number_of(text: str) -> int:
    """Return the number of an identifier, 1 to 254. Different ones may have the same number."""
    return hash(text) % 254 + 1


def pack(esim: Esim) -> PackedEsim:
    """Return all fields of an eSIM except its key, packed, and its values in the columns.

    This runs for every eSIM at a start and for every event. So conditions are written out for each
    resource, and nothing is called that can be written here, not even ``max``.
    """
    record = pack_fields(esim[_IN_KEY:])
    _, _, _, _, _, newest, status, time, reference, iccid_time, iccid, allowances, _ = esim
    newest = time if time > newest else newest
    newest = iccid_time if iccid_time > newest else newest
    share, most_sms, most_voice, package = NO_LIMIT, 0, 0, SEVERAL
    for package_id, time, snapshot, _, _, _, _, _, _ in allowances:
        newest = time if time > newest else newest
        _, data, data_left, sms, sms_left, voice, voice_left, _, _, _ = snapshot
        if data and data_left is not None:
            used = (data - data_left) / data if data_left < data else 0.0
            share = used if used > share else share
        if sms and sms_left is not None and sms_left < sms:
            percent = 100 * (sms - sms_left) // sms
            most_sms = percent if percent > most_sms else most_sms
        if voice and voice_left is not None and voice_left < voice:
            percent = 100 * (voice - voice_left) // voice
            most_voice = percent if percent > most_voice else most_voice
        package = hash(package_id) % 254 + 1  # as number_of does
    if len(allowances) != 1:
        package = SEVERAL
    if not is_transparent(record):
        package = HIDDEN
    traits = bytes(
        (
            STATUS_CODES[status],
            most_sms,
            most_voice,
            package,
            hash(reference) % 254 + 1,
            hash(iccid) % 254 + 1,
        )
    )
    return record, share, newest, traits


def unpack(key: bytes, record: bytes) -> Esim:
    """Return the eSIM of a packed key and a packed record."""
    vendor, _, esim_id = key.decode().partition("\0")
    # Esim() would count the fields again, which takes time.
    return tuple.__new__(Esim, (vendor, esim_id, *_unpack_fields(record)))
