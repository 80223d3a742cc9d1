"""A PowerShell remoting session relayed to a process that speaks PowerShell's packets on standard input and
output.

The fragments of the client and of the process pass through as they are; only their headers are read, to know
when a pipeline has ended. One packet is in flight for each id, for nothing else keeps packets in order there;
what the process sends is never acknowledged, for that ends it.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import threading
from collections.abc import Mapping, Sequence

from exremote.lab.wsman import clixml, soap
from exremote.lab.wsman.child import Child, Spare
from exremote.lab.wsman.shells import Shell
from exremote.lab.wsman.site import Limits
from exremote.lab.wsman.streams import Abandoned, Chunk, OutputQueue

_SESSION = "00000000-0000-0000-0000-000000000000"
_PACKET = re.compile(rb"<(\w+)(?: Stream='\w*')? PSGuid='([^']*)'(?: ?/>|>([^<]*)</\w+>)")
_START_WAIT_S = 60.0
_ACK_WAIT_S = 60.0
_LINE = 32 * 1024
"""Characters of base64 in one packet at most. WinRM hands a request on as bytes; one line would be half a
megabyte of text, several times over, in the memory of a process that is measured."""
_CLOSE_WAIT_S = 5.0
_LOOK_AGAIN_S = 0.02
_POOL_BYTES = 64 * 1024 * 1024
"""Bytes of base64 that all pipelines of a pool together hold, when an unread one is in another's way."""
_ENDS = (3, 4, 5)
"""Pipeline states Stopped, Completed and Failed."""
_STATE = re.compile(rb'N="PipelineState">(\d+)<')


class _Target:
    """One id of the packet protocol: the session or a pipeline."""

    def __init__(self, limit: int) -> None:
        self.queue = OutputQueue(limit)
        self.sending = threading.Lock()
        self.acknowledged = threading.Event()
        self.ending_object: int | None = None
        """The object that carries the pipeline's last state, while its fragments pass."""
        self.ended = False


class RelayShell(Shell):
    """A runspace pool in a process of its own."""

    streams_in = "stdin pr"
    streams_out = "stdout"

    def __init__(
        self,
        request: soap.Request,
        shell_id: str,
        owner: str,
        limits: Limits,
        idle_timeout_s: float,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        spare: Spare | None,
    ) -> None:
        """Start the process and hand it the creationXml of a Create. Raise Fault if it does not take it."""
        super().__init__(request, shell_id, owner, limits, idle_timeout_s)
        creation = request.body.findtext(soap.PSH + "creationXml") if request.body is not None else None
        if not creation:
            raise soap.invalid_parameter("a PowerShell shell needs creationXml")
        self._targets = {_SESSION: _Target(limits.queue_bytes)}
        self._targets[_SESSION].queue.hurry()  # small messages only, and the reader must not wait for them
        self._commands: dict[str, str] = {}
        """Command id to the pipeline's id, which is what the process knows."""
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._awaited = 0
        self._dead = threading.Event()
        self._closed = False
        try:
            self._child = (spare.take() if spare else None) or Child([*command, "-s"], environment)
        except OSError as error:
            raise soap.file_not_found(f"{command[0]}: {error}") from None
        threading.Thread(target=self._read, name=f"relay {shell_id}", daemon=True).start()
        try:
            self._packet(_SESSION, "Data", creation.strip(), wait_s=_START_WAIT_S)
        except (Abandoned, soap.Fault):
            self.close()
            raise soap.internal("PowerShell did not take the session") from None

    def command_ids(self) -> tuple[str, ...]:
        """Return the ids of the commands that were not terminated."""
        return tuple(self._commands)

    def command(self, command_id: str, text: str, arguments: list[str], options: Mapping[str, str]) -> str:
        """Start a pipeline with its first fragments. Return its id. Raise Fault."""
        data = "".join(arguments).strip()
        try:
            first = next(clixml.split(base64.b64decode(data)))[2]
            pipeline = str(clixml.pipeline_of(first))
        except (StopIteration, ValueError, binascii.Error):
            raise soap.invalid_parameter("the arguments are no PSRP fragment") from None
        command_id = command_id or pipeline.upper()
        with self._lock:
            if command_id in self._commands:
                raise soap.invalid_parameter(f"command {command_id} is there already")
            self._commands[command_id] = pipeline
            self._targets[pipeline] = _Target(self.limits.queue_bytes)
        self._packet(pipeline, "Command")
        self._packet(pipeline, "Data", data)
        return command_id

    def send(self, command_id: str, stream: str, data: str, end: bool, timeout_s: float) -> None:
        """Pass fragments on, for a pipeline or the pool. Raise Fault, or Abandoned if the process is dead."""
        target = self._pipeline(command_id) if command_id else _SESSION
        kind = "PromptResponse" if stream == "pr" else "Default"
        data = "".join(data.split())  # it is cut where base64 can be
        for start in range(0, len(data), _LINE):
            self._packet(target, "Data", data[start : start + _LINE], kind, wait_s=timeout_s)

    def signal(self, command_id: str, code: str) -> None:
        """Stop a pipeline; with the code Terminate, forget it as well."""
        pipeline = self._commands.get(command_id)
        if pipeline is None:
            return
        target = self._targets[pipeline]
        with contextlib.suppress(Abandoned):
            if not target.ended:
                self._packet(pipeline, "Signal")
            if code.lower().endswith("/terminate"):
                self._packet(pipeline, "Close")
        if code.lower().endswith("/terminate"):
            with self._lock:
                self._commands.pop(command_id, None)
                self._targets.pop(pipeline, None)
            target.queue.abandon()

    def queue_for(self, command_id: str) -> OutputQueue:
        """Return the output of a command, or of the pool if `command_id` is empty. Raise Fault."""
        return self._targets[self._pipeline(command_id) if command_id else _SESSION].queue

    def close(self) -> None:
        """End everything in it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            pipelines = list(self._commands.values())
        for target in list(self._targets.values()):
            target.queue.abandon()  # also lets the reader through to the acknowledgements
        with contextlib.suppress(Abandoned, soap.Fault):
            for pipeline in pipelines:
                if not self._targets[pipeline].ended:
                    self._packet(pipeline, "Signal", wait_s=_CLOSE_WAIT_S)
                self._packet(pipeline, "Close", wait_s=_CLOSE_WAIT_S)
            self._packet(_SESSION, "Close", wait_s=_CLOSE_WAIT_S)
        self._child.end(0.2 if self._dead.is_set() else 3.0)

    def _pipeline(self, command_id: str) -> str:
        pipeline = self._commands.get(command_id)
        if pipeline is None:
            raise soap.unknown_shell()
        return pipeline

    def _packet(
        self, guid: str, kind: str, text: str = "", stream: str = "Default", *, wait_s: float = _ACK_WAIT_S
    ) -> None:
        """Send one packet and wait for its acknowledgement.

        Raise Abandoned if the process has died or the target is gone, Fault if no acknowledgement came in
        time.
        """
        target = self._targets.get(guid)
        if target is None:
            raise Abandoned
        line = (
            f"<Data Stream='{stream}' PSGuid='{guid}'>{text}</Data>\n"
            if kind == "Data"
            else f"<{kind} PSGuid='{guid}' />\n"
        )
        with target.sending:
            if self._dead.is_set():
                raise Abandoned
            target.acknowledged.clear()
            self._await(1)
            try:
                with self._writing:
                    assert self._child.process.stdin is not None
                    self._child.process.stdin.write(line.encode("ascii"))
                    self._child.process.stdin.flush()
                acknowledged = target.acknowledged.wait(wait_s)
            except (OSError, ValueError):
                raise Abandoned from None
            finally:
                self._await(-1)
            if self._dead.is_set():
                raise Abandoned
            if not acknowledged:
                raise soap.timed_out()

    def _await(self, change: int) -> None:
        with self._lock:
            self._awaited += change

    def _put(self, target: _Target, chunk: Chunk) -> None:
        """Put a chunk into a queue, waiting for room. Raise Abandoned.

        All that the process says comes through one pipe. Hence a full queue may not hold up an
        acknowledgement that somebody waits for, nor, up to a bound for the pool, another pipeline's output.
        """
        while True:
            targets = list(self._targets.values())
            starving = any(other.queue.starving for other in targets if other is not target)
            if self._awaited or (starving and sum(other.queue.waiting for other in targets) < _POOL_BYTES):
                target.queue.overfill(chunk)
                return
            if target.queue.put(chunk, _LOOK_AGAIN_S):
                return

    def _read(self) -> None:
        """Sort what the process says until it ends."""
        output = self._child.process.stdout
        assert output is not None
        with contextlib.suppress(OSError, ValueError):
            for line in output:
                found = _PACKET.search(line)
                if found is None:
                    continue
                target = self._targets.get(found[2].decode().lower())
                if target is None:
                    continue
                if found[1] == b"Data":
                    with contextlib.suppress(Abandoned):
                        self._data(target, found[3] or b"")
                else:  # DataAck, CommandAck, SignalAck, CloseAck
                    target.acknowledged.set()
        self._dead.set()
        for target in list(self._targets.values()):
            target.acknowledged.set()
            if not target.ended:
                # Half an answer must not look like a whole one: who still waits learns that the shell is
                # unknown.
                target.queue.abandon()

    def _data(self, target: _Target, encoded: bytes) -> None:
        ended = target is not self._targets[_SESSION] and self._ends(target, encoded)
        try:
            self._put(target, Chunk("stdout", encoded))
        finally:
            target.ended = target.ended or ended
            if ended:
                target.queue.finish()

    @staticmethod
    def _ends(target: _Target, encoded: bytes) -> bool:
        """Whether these fragments end the pipeline: the end of its last PIPELINE_STATE passes."""
        # The header alone tells that a fragment of output is of no interest; only whole other ones are
        # decoded.
        head = base64.b64decode(encoded[:48])
        ended = False
        whole = len(encoded) // 4 * 3 - encoded[-2:].count(b"=")
        if (
            whole == clixml.FRAGMENT_HEADER + int.from_bytes(head[17:21], "big")
            and head[16] & 1
            and clixml.message_type(head[21:29]) != clixml.PIPELINE_STATE
        ):
            return False
        for object_id, flags, payload in clixml.split(base64.b64decode(encoded)):
            if flags & 1 and clixml.message_type(payload) == clixml.PIPELINE_STATE:
                state = _STATE.search(payload)
                if state is not None and int(state[1]) in _ENDS:
                    target.ending_object = object_id
            if flags & 2 and object_id == target.ending_object:
                ended = True
        return ended
