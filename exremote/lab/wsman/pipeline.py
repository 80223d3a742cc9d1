"""One pipeline of an in-process PowerShell session: the thread that pulls its records, and its end.

It never reads what a client sends; the shell does, and hands input over.
"""

from __future__ import annotations

import binascii
import contextlib
import threading
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from psrpcore import PowerShell as CreatedPipeline
from psrpcore import ServerPipeline
from psrpcore.types import ErrorRecord as CoreError
from psrpcore.types import PipelineState, PSInvocationState, PSObject, PSRPMessageType

from exremote.lab.wsman import clixml
from exremote.lab.wsman.engine import Call, ErrorRecord, Progress, Record, ScriptThrew, Verbose, Warning_
from exremote.lab.wsman.psrp_core import core_error, core_said, plain
from exremote.lab.wsman.streams import Abandoned, Chunk, InputQueue, OutputQueue

if TYPE_CHECKING:
    from exremote.lab.wsman.psrp_shell import PsrpShell

STOP_WAIT_S = 2.0
"""How long a stop waits for the engine's thread before it answers without it."""


class Pipeline:
    """One pipeline and the thread that pulls its records."""

    def __init__(self, shell: PsrpShell, command_id: str, pipeline_id: uuid.UUID) -> None:
        self.id = pipeline_id
        self.core = ServerPipeline(shell.core, pipeline_id)
        self.queue = OutputQueue(shell.limits.queue_bytes)
        self.input: InputQueue[object] = InputQueue(shell.limits.queue_bytes)
        self.call = Call(user=shell.owner, shell_id=shell.id, command_id=command_id, site=shell.site)
        self.ended = threading.Event()
        self.started = False
        self.received = 0
        """Bytes of messages that it was sent."""
        self._shell = shell

    @property
    def running(self) -> bool:
        """Whether its thread has not come to its end yet."""
        return self.started and not self.ended.is_set()

    def start(self, asked: CreatedPipeline) -> None:
        """Begin to run what the client asked for."""
        self.core.state = PSInvocationState.Running  # start() would send a state that Windows does not send
        self.started = True
        if asked.no_input:
            self.input.end()
        text = " | ".join(command.command_text for command in asked.commands)
        parameters: dict[str, object] = {}
        for command in asked.commands:
            for name, value in command.parameters:
                parameters[name or str(len(parameters))] = plain(value)
        threading.Thread(
            target=self._run, args=(text, parameters), name=f"pipeline {self.id}", daemon=True
        ).start()

    def stop(self) -> None:
        """End it: let its generator be closed, and tell the client."""
        self.call.stopping.set()
        self.input.drop()
        self.queue.hurry()
        self._shell.wake()
        if self.started and not self.ended.wait(STOP_WAIT_S):
            with contextlib.suppress(Abandoned):
                self._stopped()
            self.queue.finish()

    def abandon(self) -> None:
        """End it without a word: nobody listens any more."""
        self.call.stopping.set()
        self.input.drop()
        self.queue.abandon()
        self._shell.wake()

    def write(self, record: Record) -> None:
        """Put one record into the output, waiting for room. Raise Abandoned or TypeError."""
        match record:
            case ErrorRecord():
                error = core_error(record, ",Microsoft.PowerShell.Commands.WriteErrorException")
                self._protocol(error, PSRPMessageType.ErrorRecord)
            case Warning_() | Verbose():
                self._protocol(*core_said(record))
            case Progress(activity, status, percent):
                with self._shell.lock:
                    self.core.write_progress(activity, 0, status, percent_complete=percent)
                    sent = self._shell.core.drain(self._shell.payload_size)
                self._shell.route(sent)
            case _:
                whole = clixml.output(record, self._shell.core.runspace_pool_id, self.id)
                with self._shell.lock:
                    object_id = self._shell.core.next_object_id()
                for fragment in clixml.fragments(whole, object_id, self._shell.payload_size):
                    self.queue.put(Chunk("stdout", binascii.b2a_base64(fragment, newline=False)))

    def _protocol(self, value: PSObject, kind: PSRPMessageType) -> None:
        with self._shell.lock:
            self.core.prepare_message(value, message_type=kind)
            sent = self._shell.core.drain(self._shell.payload_size)
        self._shell.route(sent)

    def _run(self, text: str, parameters: dict[str, object]) -> None:
        self._shell.take_runspace(self.call.stopping)
        records: Iterator[Record] | None = None
        try:
            try:
                if not self.call.stopping.is_set():
                    records = self._shell.run_script(text, parameters, iter(self.input), self.call)
                    for record in records:
                        if self.call.stopping.is_set():
                            break
                        self.write(record)
            finally:
                close = getattr(records, "close", None)
                if close is not None:
                    close()
            if self.call.stopping.is_set():
                self._stopped()
            else:
                self.queue.hurry()  # the last word must get through to a client that reads slowly
                self._state(PSInvocationState.Completed, None)
        except Abandoned:
            pass
        except ScriptThrew as threw:
            self._failed(threw.record)
        except Exception as error:  # whatever a simulated script does wrong is its client's to see
            self._failed(ErrorRecord("RuntimeException", f"{type(error).__name__}: {error}"))
        finally:
            self.input.drop()
            self.queue.finish()
            self.ended.set()
            self._shell.give_runspace()

    def _failed(self, record: ErrorRecord) -> None:
        self.queue.hurry()
        with contextlib.suppress(Abandoned):
            if self.call.stopping.is_set():
                self._stopped()
            else:
                self._state(PSInvocationState.Failed, core_error(record, ""))

    def _stopped(self) -> None:
        record = ErrorRecord("PipelineStopped", "The pipeline has been stopped.", category="OperationStopped")
        self._state(PSInvocationState.Stopped, core_error(record, ""))

    def _state(self, state: PSInvocationState, error: CoreError | None) -> None:
        with self._shell.lock:
            if self.core.state != PSInvocationState.Running:
                return
            message = PipelineState(PipelineState=int(state))
            if error is not None:
                message.ExceptionAsErrorRecord = error
            self.core.state = state
            self.core.prepare_message(message, message_type=PSRPMessageType.PipelineState)
            sent = self._shell.core.drain(self._shell.payload_size)
        self._shell.route(sent)
