"""A PowerShell remoting session whose engine is a function in this process.

psrpcore reads and writes the protocol's own messages (`psrp_core`); records of the output and byte arrays of
the input pass it by (`clixml`). This file never interprets a script.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import threading
import uuid
from collections.abc import Mapping

from psrpcore import (
    CreatePipelineEvent,
    EndOfPipelineInputEvent,
    GetAvailableRunspacesEvent,
    GetCommandMetadataEvent,
    PipelineInputEvent,
    PSRPCoreError,
    ResetRunspaceStateEvent,
    SetMaxRunspacesEvent,
    SetMinRunspacesEvent,
)
from psrpcore.types import (
    PSInvocationState,
)

from exremote.lab.wsman import clixml, soap
from exremote.lab.wsman.engine import (
    ErrorRecord,
    RunScript,
    ScriptThrew,
)
from exremote.lab.wsman.pipeline import STOP_WAIT_S, Pipeline
from exremote.lab.wsman.psrp_core import Core, plain
from exremote.lab.wsman.shells import Shell
from exremote.lab.wsman.site import Limits
from exremote.lab.wsman.streams import Abandoned, Chunk, OutputQueue

_IN_CONNECT_RESPONSE = (0x00010002, 0x0002100B)
"""SESSION_CAPABILITY and RUNSPACEPOOL_INIT_DATA: the answers to a Connect that travel inside it."""


class PsrpShell(Shell):
    """A runspace pool. Commands are pipelines."""

    streams_in = "stdin pr"
    streams_out = "stdout"

    def __init__(
        self,
        request: soap.Request,
        shell_id: str,
        owner: str,
        limits: Limits,
        idle_timeout_s: float,
        run_script: RunScript,
        site: str,
    ) -> None:
        """Open the pool with the creationXml of a Create. Raise Fault if there is none, or no sense in it."""
        super().__init__(request, shell_id, owner, limits, idle_timeout_s)
        self.site = site
        self.run_script = run_script
        self.core = Core(limits.protocol_version)
        self.lock = threading.RLock()
        self._pool_queue = OutputQueue(limits.queue_bytes)
        self._pool_queue.hurry()  # it holds only small messages, and those who write them must not wait
        self._pipelines: dict[str, Pipeline] = {}
        self._partial: dict[int, list[bytes]] = {}
        self._runspaces = threading.Condition()
        self._running = 0
        self._closed = False
        creation = request.body.findtext(soap.PSH + "creationXml") if request.body is not None else None
        if not creation:
            raise soap.invalid_parameter("a PowerShell shell needs creationXml")
        self._receive(_decoded(creation), request.timeout_s)

    def command_ids(self) -> tuple[str, ...]:
        """Return the ids of the commands that were not terminated."""
        return tuple(self._pipelines)

    def command(self, command_id: str, text: str, arguments: list[str], options: Mapping[str, str]) -> str:
        """Start a pipeline with its first fragments. Return its id. Raise Fault."""
        data = _decoded("".join(arguments))
        try:
            first = next(clixml.split(data))[2]
            pipeline_id = clixml.pipeline_of(first)
        except (StopIteration, ValueError):
            raise soap.invalid_parameter("the arguments are no PSRP fragment") from None
        command_id = command_id or str(pipeline_id).upper()
        with self.lock:
            if command_id in self._pipelines:
                raise soap.invalid_parameter(f"command {command_id} is there already")
            self._pipelines[command_id] = Pipeline(self, command_id, pipeline_id)
        try:
            self._receive(data, 60.0)
        except soap.Fault:
            self._pipelines.pop(command_id, None)
            raise
        return command_id

    def send(self, command_id: str, stream: str, data: str, end: bool, timeout_s: float) -> None:
        """Take fragments for a pipeline or the pool. Raise Fault."""
        if command_id and command_id not in self._pipelines:
            raise soap.unknown_shell()
        self._receive(_decoded(data), timeout_s)

    def signal(self, command_id: str, code: str) -> None:
        """Stop a pipeline; with the code Terminate, forget it as well."""
        pipeline = self._pipelines.get(command_id)
        if pipeline is None:
            return
        if pipeline.running:
            pipeline.stop()
        if code.lower().endswith("/terminate"):
            with self.lock:
                self._pipelines.pop(command_id, None)
                self.core.pipeline_table.pop(pipeline.id, None)
            pipeline.abandon()

    def queue_for(self, command_id: str) -> OutputQueue:
        """Return the output of a command, or of the pool if `command_id` is empty. Raise Fault."""
        if not command_id:
            return self._pool_queue
        pipeline = self._pipelines.get(command_id)
        if pipeline is None:
            raise soap.unknown_shell()
        return pipeline.queue

    def close(self) -> None:
        """End everything in it."""
        with self.lock:
            pipelines = list(self._pipelines.values())
            self._pipelines.clear()
            self._closed = True
        for pipeline in pipelines:
            pipeline.abandon()
        self._pool_queue.abandon()
        for pipeline in pipelines:
            if pipeline.started:
                pipeline.ended.wait(STOP_WAIT_S / max(1, len(pipelines)))

    def connect(self, data: str) -> str:
        """Let a new client take the pool over. Return what answers its connectXml."""
        with self.lock:
            self.core.disconnect()
            self.core.connect()
            self.core.prepare_message(self.core.our_capability)  # psrpcore forgets it here, pypsrp needs it
            try:
                for object_id, _, message in clixml.split(_decoded(data)):
                    self.core.feed(message, object_id)
            except (PSRPCoreError, ValueError, SyntaxError) as error:
                raise soap.invalid_parameter(str(error)) from None
            drained = self.core.drain(self.payload_size)
        inside = b""
        for _, joined in drained:
            for object_id, _, message in clixml.split(joined):
                fragment = next(clixml.fragments(message, object_id, len(message) + clixml.FRAGMENT_HEADER))
                if clixml.message_type(message) in _IN_CONNECT_RESPONSE:
                    inside += fragment
                else:
                    self._pool_queue.put(Chunk("stdout", binascii.b2a_base64(fragment, newline=False)))
        return base64.b64encode(inside).decode()

    def route(self, sent: list[tuple[uuid.UUID | None, bytes]]) -> None:
        """Put what psrpcore wants to send into the queue it is for. Raise Abandoned if that is gone."""
        for pipeline_id, data in sent:
            target = self._pool_queue
            if pipeline_id is not None:
                found = next((p for p in list(self._pipelines.values()) if p.id == pipeline_id), None)
                if found is None:
                    raise Abandoned
                target = found.queue
            target.put(Chunk("stdout", binascii.b2a_base64(data, newline=False)))

    def take_runspace(self, stopping: threading.Event) -> None:
        """Wait until the pool has a runspace free, or `stopping`."""
        with self._runspaces:
            while self._running >= max(1, self.core.max_runspaces) and not stopping.is_set():
                self._runspaces.wait()
            self._running += 1

    def give_runspace(self) -> None:
        """Give it back."""
        with self._runspaces:
            self._running -= 1
            self._runspaces.notify_all()

    def wake(self) -> None:
        """Have those who wait for a runspace look again."""
        with self._runspaces:
            self._runspaces.notify_all()

    def _receive(self, data: bytes, timeout_s: float) -> None:
        """Given joined fragments of the client, do what they say. Raise Fault."""
        inputs: list[tuple[Pipeline, object, int]] = []
        ends: list[Pipeline] = []
        with self.lock:
            try:
                for object_id, flags, payload in clixml.split(data):
                    parts = self._partial.setdefault(object_id, [])
                    parts.append(payload)
                    if flags & 2:
                        del self._partial[object_id]
                        self._message(b"".join(parts) if len(parts) > 1 else payload, object_id, inputs, ends)
            except (PSRPCoreError, ValueError, SyntaxError, AttributeError, binascii.Error) as error:
                raise soap.invalid_parameter(f"PSRP: {error}") from error
            sent = self.core.drain(self.payload_size)
        with contextlib.suppress(Abandoned):
            self.route(sent)
        for pipeline, value, size in inputs:
            if not pipeline.input.put(value, size, timeout_s):
                raise soap.timed_out()
        for pipeline in ends:
            pipeline.input.end()

    def _message(
        self,
        message: bytes,
        object_id: int,
        inputs: list[tuple[Pipeline, object, int]],
        ends: list[Pipeline],
    ) -> None:
        if clixml.message_type(message) == clixml.PIPELINE_INPUT:
            array = clixml.plain_bytes(message)
            if array is not None:
                self._input(clixml.pipeline_of(message), array, len(message), inputs)
                return
        for event in self.core.feed(message, object_id):
            match event:
                case PipelineInputEvent():
                    self._input(event.pipeline_id, plain(event.data), len(message), inputs)
                case EndOfPipelineInputEvent():
                    pipeline = self._pipeline(event.pipeline_id)
                    if pipeline is not None:
                        ends.append(pipeline)
                case CreatePipelineEvent():
                    pipeline = self._pipeline(event.pipeline_id)
                    if pipeline is not None and not pipeline.started:
                        pipeline.start(event.pipeline)
                case GetCommandMetadataEvent():
                    self._no_metadata(event.pipeline_id)
                case GetAvailableRunspacesEvent():
                    self.core.runspace_availability_response(
                        event.ci, self.core.max_runspaces - self._running
                    )
                case SetMaxRunspacesEvent() | SetMinRunspacesEvent() | ResetRunspaceStateEvent():
                    self.core.runspace_availability_response(event.ci, True)
                    self.wake()

    def _input(
        self, pipeline_id: uuid.UUID, value: object, size: int, inputs: list[tuple[Pipeline, object, int]]
    ) -> None:
        pipeline = self._pipeline(pipeline_id)
        if pipeline is None:
            return
        pipeline.received += size
        most = self.limits.max_received_mb_per_command << 20
        if pipeline.received <= most:
            inputs.append((pipeline, value, size))
            return
        why = f"The total data received from the remote client exceeded the allowed maximum of {most} bytes."
        pipeline.input.refuse(ScriptThrew(ErrorRecord("PSRemotingTransportException", why)))

    def _pipeline(self, pipeline_id: uuid.UUID) -> Pipeline | None:
        return next((p for p in self._pipelines.values() if p.id == pipeline_id), None)

    def _no_metadata(self, pipeline_id: uuid.UUID) -> None:
        """Answer a question for command metadata: there are none."""
        pipeline = self._pipeline(pipeline_id)
        if pipeline is not None:
            pipeline.core.state = PSInvocationState.Running
            pipeline.started = True
            pipeline.write({"Count": 0})
            pipeline.core.complete()
            self.route(self.core.drain(self.payload_size))
            pipeline.queue.finish()
            pipeline.ended.set()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error as error:
        raise soap.invalid_parameter(f"base64: {error}") from None
