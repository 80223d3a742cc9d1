"""The message that makes a pipeline, written once for all hosts that are asked the same. It sends nothing.

pypsrp writes it, as it always did; only the writing is not repeated: it takes longer than all that is done
with an ordinary answer, and many hosts are asked the same few questions. What holds a secret is not kept.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

from pypsrp.complex_objects import ApartmentState, HostInfo, Pipeline, RemoteStreamOptions
from pypsrp.messages import CreatePipeline, Destination, Message
from pypsrp.powershell import PowerShell, RunspacePool

from exremote.transport.wire import Secret, Value

CREATE_PIPELINE = 0x00021006
_HEADER = 40
_LONGEST = 64 * 1024
"""Bytes of parameters beyond which a message is not kept: lists of files are asked for once."""
_KEPT = 256


class _Body:
    """A message's body; equal to another one that was asked for in the same words."""

    def __init__(self, asked: Hashable) -> None:
        self.asked = asked
        self.text: bytes | None = None


@lru_cache(_KEPT)
def _body(asked: Hashable) -> _Body:
    return _Body(asked)


def create_pipeline(
    shell: PowerShell, pool: RunspacePool, script: str, parameters: Mapping[str, Value], *, fed: bool
) -> bytes:
    """Given a pipeline with its commands, what it was made of, and if input will come, return the body."""
    if any(isinstance(value, Secret) for value in parameters.values()):
        return _written(shell, pool, fed)
    asked = tuple((name, _frozen(value)) for name, value in parameters.items() if value is not None)
    if sum(len(str(value)) for _, value in asked) > _LONGEST:
        return _written(shell, pool, fed)
    body = _body((pool.protocol_version, script, asked, fed))
    if body.text is None:
        body.text = _written(shell, pool, fed)
    return body.text


def _frozen(value: Value) -> Hashable:
    # With its type: to Python 1 and True are the same.
    return type(value).__name__, tuple(value) if isinstance(value, list | tuple) else value


def _written(shell: PowerShell, pool: RunspacePool, fed: bool) -> bytes:
    """Given a pipeline, return what pypsrp's own `begin_invoke` would send for it, without the header."""
    made: Any = CreatePipeline(
        not fed,
        ApartmentState(value=pool.apartment_state),
        RemoteStreamOptions(value=0),
        False,
        HostInfo(host=pool.host),
        Pipeline(
            is_nested=shell.is_nested,
            cmds=shell.commands,
            history=shell.history_string,
            redirect_err_to_out=False,
        ),
        shell.is_nested,
    )
    return Message(Destination.SERVER, pool.id, shell.id, made, pool._fragmenter.serializer).pack()[_HEADER:]
