"""psrpcore's server side, with all that has to be known about its ways.

Workarounds for psrpcore stand here and nowhere else. It never queues, waits or runs anything.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import queue
import uuid
from collections.abc import Mapping
from typing import Any

from psrpcore import (
    PSRPEvent,
    PSRPPayload,
    ServerRunspacePool,
    SetMaxRunspacesEvent,
    SetMinRunspacesEvent,
    StreamType,
)
from psrpcore.types import (
    ErrorCategory,
    ErrorCategoryInfo,
    NETException,
    PSChar,
    PSObject,
    PSRPMessageType,
    PSSecureString,
    PSVersion,
    VerboseRecord,
    WarningRecord,
    add_note_property,
)
from psrpcore.types import ErrorRecord as CoreError

from exremote.lab.wsman import clixml
from exremote.lab.wsman.engine import ErrorRecord, Verbose, Warning_


def plain(value: object) -> object:
    """Return what psrpcore read as one of Python's own kinds; objects become a dict."""
    match value:
        case PSSecureString():
            return str(value.decrypt())
        case None | bool():
            return value
        case PSChar():
            return chr(int(value))
        case enum.Enum():
            return value.value
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float() | decimal.Decimal():
            return float(value)
        case bytes():
            return bytes(value)
        case datetime.datetime():
            return datetime.datetime.fromtimestamp(value.timestamp(), value.tzinfo)
        case datetime.timedelta():
            return value.total_seconds()
        case uuid.UUID() | PSVersion():
            return str(value)
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case queue.Queue():
            return [plain(item) for item in value.queue]
        case PSObject():
            properties = (*value.PSObject.adapted_properties, *value.PSObject.extended_properties)
            return {item.name: plain(item.get_value(value)) for item in properties}
    return value


class Core(ServerRunspacePool):
    """psrpcore's server side, with what it lacks. Not thread-safe: the shell holds a lock around calls."""

    def __init__(self, protocol_version: str) -> None:
        version = "5.1.14393.0" if protocol_version == "2.3" else "2.0"
        super().__init__(application_private_data={"PSVersionTable": {"PSVersion": PSVersion(version)}})
        self.our_capability.protocolversion = PSVersion(protocol_version)

    def _process_SetMaxRunspaces(self, event: SetMaxRunspacesEvent) -> None:
        # The protocol spells it CI here, psrpcore looks for ci.
        add_note_property(event._ps_object, "ci", event._ps_object.CI, force=True)
        super()._process_SetMaxRunspaces(event)

    def _process_SetMinRunspaces(self, event: SetMinRunspacesEvent) -> None:
        add_note_property(event._ps_object, "ci", event._ps_object.CI, force=True)
        super()._process_SetMinRunspaces(event)

    def next_object_id(self) -> int:
        """Return the id for a message that is not written by psrpcore; there is one count for all."""
        return self._fragment_counter

    def feed(self, message: bytes, object_id: int) -> list[PSRPEvent[Any, Any]]:
        """Given one whole message, return its events. Raise PSRPCoreError or ValueError."""
        fragment = next(clixml.fragments(message, object_id, len(message) + clixml.FRAGMENT_HEADER))
        self.receive_data(PSRPPayload(fragment, StreamType.default, None))
        events = []
        while (event := self.next_event()) is not None:
            events.append(event)
        return events

    def drain(self, size: int) -> list[tuple[uuid.UUID | None, bytes]]:
        """Return all that waits to be sent, as (pipeline or None for the pool, fragments)."""
        drained = []
        while (payload := self.data_to_send(size)) is not None:
            drained.append((payload.pipeline_id, payload.data))
        return drained


def core_error(record: ErrorRecord, suffix: str) -> CoreError:
    """Return a record as psrpcore writes it; `suffix` is added to an id that has no comma."""
    exception = NETException(Message=record.message, HResult=-2146233087)
    known = ErrorCategory.__members__.get(record.category, ErrorCategory.NotSpecified)
    target = record.target or None
    error = CoreError(
        Exception=exception,
        CategoryInfo=ErrorCategoryInfo(
            Category=known,
            Activity="Write-Error" if suffix else "",
            Reason="WriteErrorException" if suffix else "RuntimeException",
            TargetName=record.target,
            TargetType="String" if target else "",
        ),
        TargetObject=target,
        FullyQualifiedErrorId=record.error_id if "," in record.error_id else record.error_id + suffix,
    )
    error.serialize_extended_info = False
    error.PSObject.to_string = record.message
    return error


def core_said(record: Warning_ | Verbose) -> tuple[PSObject, PSRPMessageType]:
    """Return a warning or verbose record as psrpcore writes it, and its message type."""
    warning = isinstance(record, Warning_)
    said = (WarningRecord if warning else VerboseRecord)(
        Message=record.message, InvocationInfo=None, PipelineIterationInfo=None
    )
    said.serialize_extended_info = False
    said.PSObject.to_string = record.message  # psrpcore leaves it out, and clients would show "None"
    return said, PSRPMessageType.WarningRecord if warning else PSRPMessageType.VerboseRecord
