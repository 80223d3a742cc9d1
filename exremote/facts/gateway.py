"""What a host says of the directory, of GroupWise API directories and of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from exremote.facts.parse import FactError, Record, take, texts


@dataclass(frozen=True, slots=True)
class ConnectorObject:
    """One object of the directory: `Get-ConnectorObject`."""

    class_name: str
    """Its class, e.g. `msExchGroupWiseConnector`."""
    distinguished_name: str
    """Its name."""
    attributes: tuple[tuple[str, str], ...]
    """Name and value, one pair a value; bytes as base64 behind a name that ends in `:`."""
    withheld: tuple[str, ...]
    """Attributes that the host did not hand out, passwords above all."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-ConnectorObject"
        pairs = []
        for line in texts(script, record, "Attributes"):
            name, separator, value = line.partition("=")
            if not separator:
                raise FactError(script, "Attributes", "expected name=value")
            pairs.append((name, value))
        return cls(
            class_name=take(script, record, "Class", str),
            distinguished_name=take(script, record, "DistinguishedName", str),
            attributes=tuple(pairs),
            withheld=texts(script, record, "Withheld"),
        )

    def first(self, name: str) -> str | None:
        """Given an attribute's name in any case, return its first value, or None if it has none."""
        return next((value for key, value in self.attributes if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class ApiQueue:
    """One queue folder of a GroupWise API gateway."""

    queue: str
    """E.g. `API_OUT`."""
    exists: bool
    """True if it is there."""
    files: int
    """Files in it."""
    bytes: int
    """Their size."""
    zero_byte: int
    """How many of them are empty."""
    oldest: datetime | None
    """Last write time of the oldest; None if there is no file."""
    oldest_empty: datetime | None = None
    """Last write time of the oldest one that is empty; None if there is none."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given one queue's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Test-ApiDirectory"

        def when(name: str) -> datetime | None:
            return None if record.get(name, ...) is None else take(script, record, name, datetime)

        return cls(
            queue=take(script, record, "Queue", str),
            exists=take(script, record, "Exists", bool),
            files=take(script, record, "Files", int),
            bytes=take(script, record, "Bytes", int),
            zero_byte=take(script, record, "ZeroByte", int),
            oldest=when("OldestUtc"),
            oldest_empty=when("OldestEmptyUtc"),
        )


@dataclass(frozen=True, slots=True)
class ApiDirectoryFact:
    """A GroupWise API gateway's directory as the asking account sees it: `Test-ApiDirectory`."""

    path: str
    """The directory, mostly a UNC path."""
    exists: bool
    """True if the account could see it."""
    account: str
    """Whose rights this proved; never the connector's own."""
    probed: bool
    """True if the write test ran."""
    written: bool
    """The probe file could be written."""
    read_back: bool
    """It could be read, and was the same."""
    removed: bool
    """It could be removed."""
    probe_error: str
    """What went wrong with the probe; '' if nothing did."""
    leftovers: tuple[str, ...]
    """Probe files of earlier runs that were found."""
    queues: tuple[ApiQueue, ...] = ()
    """The queue folders."""
    reason_unknown: str = ""
    """Why this says nothing about the directory; '' if it does."""
    credential_given: bool = False
    """True if a credential of its own was used for the directory, so that a second hop could work."""
    cleared: tuple[str, ...] = ()
    """Those of `leftovers` that were removed, and are known to be gone."""
    leftover_error: str = ""
    """Why nobody knows all probe files of earlier runs; '' if they are known."""

    @classmethod
    def parse(cls, records: Sequence[Record]) -> Self:
        """Given the queues' records and the summary behind them, return the fact. Raise FactError."""
        script = "Test-ApiDirectory"
        if not records:
            raise FactError(script, "Path", "there was no answer")
        *queues, last = records
        return cls(
            path=take(script, last, "Path", str),
            exists=take(script, last, "Exists", bool),
            account=take(script, last, "Account", str),
            probed=take(script, last, "Probed", bool),
            written=take(script, last, "Written", bool),
            read_back=take(script, last, "ReadBack", bool),
            removed=take(script, last, "Removed", bool),
            probe_error=take(script, last, "ProbeError", str),
            leftovers=texts(script, last, "Leftovers"),
            cleared=texts(script, last, "Cleared"),
            leftover_error=take(script, last, "LeftoverError", str),
            queues=tuple(ApiQueue.parse(record) for record in queues),
        )


@dataclass(frozen=True, slots=True)
class EventCount:
    """How often one event was logged: `Get-EventSummary`."""

    source: str
    """Event source, e.g. `MSExchangeGWRtr`."""
    event_id: int
    """The event's number."""
    level: str
    """`Error`, `Warning`, `Information`, as the host words it."""
    count: int
    """How often."""
    last: datetime
    """When last."""
    message: str
    """Beginning of the newest one's text."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-EventSummary"
        return cls(
            source=take(script, record, "Source", str),
            event_id=take(script, record, "EventId", int),
            level=take(script, record, "Level", str),
            count=take(script, record, "Count", int),
            last=take(script, record, "LastUtc", datetime),
            message=take(script, record, "Message", str),
        )
