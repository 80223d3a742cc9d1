"""The verbs of WS-Management on the shells of one site: who may, how many, and what they answer.

It never sees HTTP, sealing or the records that a shell carries.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from xml.sax.saxutils import escape, quoteattr

from exremote.lab.wsman import soap
from exremote.lab.wsman.child import Spare
from exremote.lab.wsman.cmd_shell import CmdShell
from exremote.lab.wsman.psrp_shell import PsrpShell
from exremote.lab.wsman.relay_shell import RelayShell
from exremote.lab.wsman.shells import Shell
from exremote.lab.wsman.site import Counters, ShellInfo, Site
from exremote.lab.wsman.streams import Abandoned

_RECEIVE_CAP_S = 60.0
_DONE = soap.SHELL + "/CommandState/Done"


class Verbs:
    """The shells of one site, and all that can be asked of them."""

    def __init__(self, site: Site, counters: Counters) -> None:
        self.site = site
        self.counters = counters
        self._shells: dict[str, Shell] = {}
        self._lock = threading.Lock()
        self._opening: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._closed = False
        self.starts = 0
        """How often the service was started anew: a shell that was being opened then is lost."""
        self._spare = Spare(site.relay, site.relay_environment) if site.relay and site.spare_relay else None

    def answer(self, request: soap.Request, user: str, client: str, starts: int) -> bytes:
        """Carry out one request of an authenticated user. Return the answer's envelope. Raise Fault.

        `starts`: of the service, when the connection came.
        """
        limits = self.site.limits
        allowed = limits.max_envelope_kb * 1024
        if user.partition("\\")[2] in {name.lower() for name in self.site.denied_users}:
            raise soap.access_denied()
        if request.size > allowed:
            raise soap.too_large(request.size, allowed)
        with self._operation(user):
            parts = self._dispatch(request, user, client, starts)
        envelope = soap.answer(request, parts)
        budget = min(allowed, request.max_envelope)
        if len(envelope) > budget:
            raise soap.too_large(len(envelope), budget)
        return envelope

    def info(self) -> list[ShellInfo]:
        """Return all shells, the oldest first."""
        with self._lock:
            return [shell.info() for shell in self._shells.values()]

    def drop(self, shell_id: str) -> bool:
        """Remove a shell, whoever owns it. Return whether it was there."""
        with self._lock:
            shell = self._shells.pop(shell_id.upper(), None)
        if shell is None:
            return False
        self.counters.add(shells_open=-1)
        shell.close()
        return True

    def expire(self) -> None:
        """Remove the shells that nobody has spoken to for longer than their idle time-out."""
        with self._lock:
            late = [shell.id for shell in self._shells.values() if shell.inactive_s > shell.idle_timeout_s]
        for shell_id in late:
            self.drop(shell_id)

    def restart(self) -> None:
        """Remove all shells, those too that are being opened right now."""
        with self._lock:
            self.starts += 1
            ids = list(self._shells)
        for shell_id in ids:
            self.drop(shell_id)

    def close(self) -> None:
        """Remove all shells; no more can be opened."""
        with self._lock:
            self._closed = True
        self.restart()
        if self._spare is not None:
            self._spare.close()

    @contextmanager
    def _operation(self, user: str) -> Iterator[None]:
        limit = self.site.limits.max_operations_per_user
        with self._lock:
            if self._in_flight.get(user, 0) >= limit:
                raise soap.too_many_operations(limit)
            self._in_flight[user] = self._in_flight.get(user, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._in_flight[user] -= 1

    def _dispatch(self, request: soap.Request, user: str, client: str, starts: int) -> list[bytes]:
        action = request.action
        if action == soap.TRANSFER + "Get" and request.resource.startswith(soap.CONFIG):
            return [self._config(request.resource)]
        if not (request.resource.startswith(soap.SHELL) or request.resource.startswith(soap.POWERSHELL)):
            raise soap.unknown_resource(request.resource)
        if action == soap.TRANSFER + "Create":
            return [self._create(request, user, client, starts)]
        if action == soap.ENUMERATION + "Enumerate":
            return [self._enumerate(request, user, client)]
        shell = self._shell(request, user)
        if action == soap.TRANSFER + "Delete":
            self.drop(shell.id)
            return []
        shell.enter()
        try:
            return self._on_shell(request, shell, client)
        except Abandoned:
            raise soap.unknown_shell() from None
        finally:
            shell.leave()

    def _on_shell(self, request: soap.Request, shell: Shell, client: str) -> list[bytes]:
        verb = request.action.removeprefix(soap.SHELL + "/")
        match verb:
            case "Command":
                return [self._command(request, shell)]
            case "Send":
                return [self._send(request, shell)]
            case "Receive":
                return self._receive(request, shell)
            case "Signal":
                code = request.body.findtext(soap.RSP + "Code", "") if request.body is not None else ""
                shell.signal(request.command_id, code.strip())
                return [b"<rsp:SignalResponse/>"]
            case "Disconnect":
                shell.disconnected = True
                return [b"<rsp:DisconnectResponse/>"]
            case "Reconnect":
                shell.disconnected = False
                return [b"<rsp:ReconnectResponse/>"]
            case "Connect":
                return [self._connect(request, shell)]
        if request.action == soap.TRANSFER + "Get":
            return [_described(shell, client)]
        raise soap.unknown_action(request.action)

    def _shell(self, request: soap.Request, user: str) -> Shell:
        with self._lock:
            shell = self._shells.get(request.shell_id)
        if shell is None:
            raise soap.unknown_shell()
        if shell.owner != user:
            raise soap.access_denied()
        return shell

    def _create(self, request: soap.Request, user: str, client: str, starts: int) -> bytes:
        if request.body is None or request.body.tag != soap.RSP + "Shell":
            raise soap.invalid_xml("no rsp:Shell")
        limits = self.site.limits
        idle = request.body.findtext(soap.RSP + "IdleTimeOut")
        try:
            idle_s = min(soap.seconds(idle), limits.max_idle_timeout_s) if idle else limits.idle_timeout_s
        except ValueError as error:
            raise soap.invalid_parameter(str(error)) from None
        shell_id = (request.body.get("ShellId") or str(uuid.uuid4())).upper()
        with self._reserved(user, shell_id):
            shell = self._made(request, shell_id, user, idle_s)
            with self._lock:
                lost = self._closed or self.starts != starts
                if not lost:
                    self._shells[shell_id] = shell
        if lost:
            shell.close()
            raise soap.internal("the service is going down")
        self.counters.add(shells_open=1, shells_created=1)
        created = (
            f"<x:ResourceCreated><a:Address>http://localhost/wsman</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{escape(shell.resource)}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{escape(shell.id)}</w:Selector></w:SelectorSet>'
            "</a:ReferenceParameters></x:ResourceCreated>"
        )
        return created.encode() + _described(shell, client)

    @contextmanager
    def _reserved(self, user: str, shell_id: str) -> Iterator[None]:
        """Hold a place for one more shell of a user while it is being opened. Raise Fault."""
        limit = self.site.limits.max_shells_per_user
        with self._lock:
            if shell_id in self._shells:
                raise soap.invalid_parameter(f"shell {shell_id} is there already")
            opening = self._opening.get(user, 0)
            if sum(shell.owner == user for shell in self._shells.values()) + opening >= limit:
                raise soap.too_many_shells(limit)
            self._opening[user] = opening + 1
        try:
            yield
        finally:
            with self._lock:
                self._opening[user] -= 1

    def _made(self, request: soap.Request, shell_id: str, user: str, idle_s: float) -> Shell:
        site = self.site
        if request.resource.startswith(soap.POWERSHELL):
            if site.relay:
                return RelayShell(
                    request,
                    shell_id,
                    user,
                    site.limits,
                    idle_s,
                    site.relay,
                    site.relay_environment,
                    self._spare,
                )
            if site.run_script:
                return PsrpShell(request, shell_id, user, site.limits, idle_s, site.run_script, site.name)
        elif request.resource == soap.CMD_SHELL and (site.relay or site.run_command):
            return CmdShell(request, shell_id, user, site.limits, idle_s, site)
        raise soap.unknown_resource(request.resource)

    def _command(self, request: soap.Request, shell: Shell) -> bytes:
        if request.body is None or request.body.tag != soap.RSP + "CommandLine":
            raise soap.invalid_xml("no rsp:CommandLine")
        limit = self.site.limits.max_commands_per_shell
        if len(shell.command_ids()) >= limit:
            raise soap.too_many_commands(limit)
        command_id = shell.command(
            request.command_id,
            request.body.findtext(soap.RSP + "Command") or "",
            [argument.text or "" for argument in request.body.findall(soap.RSP + "Arguments")],
            request.options,
        )
        name = escape(command_id)
        return f"<rsp:CommandResponse><rsp:CommandId>{name}</rsp:CommandId></rsp:CommandResponse>".encode()

    @staticmethod
    def _send(request: soap.Request, shell: Shell) -> bytes:
        timeout_s = min(request.timeout_s, _RECEIVE_CAP_S)
        streams = request.body.findall(soap.RSP + "Stream") if request.body is not None else []
        for stream in streams:
            shell.send(
                (stream.get("CommandId") or "").upper(),
                stream.get("Name", ""),
                stream.text or "",
                stream.get("End", "").lower() in ("true", "1"),
                timeout_s,
            )
        return b"<rsp:SendResponse/>"

    def _receive(self, request: soap.Request, shell: Shell) -> list[bytes]:
        wanted = request.body.findtext(soap.RSP + "DesiredStream") if request.body is not None else None
        if set((wanted or "").split()) - set(shell.streams_out.split()):
            raise soap.invalid_parameter(f"the streams are {shell.streams_out}")
        command_id = request.command_id
        suffix = f" CommandId={quoteattr(command_id)}>".encode() if command_id else b">"
        budget = min(self.site.limits.max_envelope_kb * 1024, request.max_envelope) - soap.OVERHEAD
        taken = shell.queue_for(command_id).take(
            budget, soap.WRAPPING, min(request.timeout_s, _RECEIVE_CAP_S), self.site.limits.fill_answers
        )
        if taken is None:
            raise soap.timed_out()
        if taken.too_large:
            raise soap.too_large(taken.too_large, budget)
        parts = [b"<rsp:ReceiveResponse>"]
        for chunk in taken.chunks:
            parts += (
                b'<rsp:Stream Name="',
                chunk.stream.encode(),
                b'"',
                suffix,
                chunk.encoded,
                b"</rsp:Stream>",
            )
        if taken.done:
            if isinstance(shell, CmdShell):
                ends = (
                    f'<rsp:Stream Name="{name}" End="true"'.encode() for name in shell.streams_out.split()
                )
                parts += (end + suffix + b"</rsp:Stream>" for end in ends)
            parts.append(
                f"<rsp:CommandState CommandId={quoteattr(command_id)} State={quoteattr(_DONE)}>"
                f"<rsp:ExitCode>{taken.exit_code}</rsp:ExitCode></rsp:CommandState>".encode()
            )
        parts.append(b"</rsp:ReceiveResponse>")
        return parts

    @staticmethod
    def _connect(request: soap.Request, shell: Shell) -> bytes:
        shell.disconnected = False
        if request.command_id:
            shell.connect_command(request.command_id)
            return b"<rsp:ConnectResponse/>"
        data = request.body.findtext(soap.PSH + "connectXml") if request.body is not None else None
        inside = shell.connect(data or "")
        return (
            '<rsp:ConnectResponse><pwsh:connectResponseXml xmlns:pwsh="http://schemas.microsoft.com/powershell">'
            f"{inside}</pwsh:connectResponseXml></rsp:ConnectResponse>"
        ).encode()

    def _enumerate(self, request: soap.Request, user: str, client: str) -> bytes:
        with self._lock:
            shells = [shell for shell in self._shells.values() if shell.owner == user]
        if request.resource.lower() == (soap.SHELL + "/Command").lower():
            wanted = ""
            for selector in request.body.iter(soap.W + "Selector") if request.body is not None else ():
                wanted = (selector.text or "").upper()
            items = b"".join(
                f"<rsp:Command><rsp:ShellId>{escape(shell.id)}</rsp:ShellId><rsp:CommandId>{escape(command)}"
                f"</rsp:CommandId><rsp:State>Connected</rsp:State></rsp:Command>".encode()
                for shell in shells
                if wanted in ("", shell.id)
                for command in shell.command_ids()
            )
        else:
            items = b"".join(_described(shell, client) for shell in shells)
        return (
            b"<n:EnumerateResponse><n:EnumerationContext/><w:Items>"
            + items
            + b"</w:Items><w:EndOfSequence/></n:EnumerateResponse>"
        )

    def _config(self, resource: str) -> bytes:
        limits = self.site.limits
        winrs = (
            "<cfg:AllowRemoteShellAccess>true</cfg:AllowRemoteShellAccess>"
            f"<cfg:IdleTimeout>{int(limits.idle_timeout_s * 1000)}</cfg:IdleTimeout>"
            "<cfg:MaxConcurrentUsers>2147483647</cfg:MaxConcurrentUsers>"
            "<cfg:MaxShellRunTime>2147483647</cfg:MaxShellRunTime>"
            f"<cfg:MaxProcessesPerShell>{limits.max_commands_per_shell}</cfg:MaxProcessesPerShell>"
            "<cfg:MaxMemoryPerShellMB>2147483647</cfg:MaxMemoryPerShellMB>"
            f"<cfg:MaxShellsPerUser>{limits.max_shells_per_user}</cfg:MaxShellsPerUser>"
        )
        if resource.lower() == (soap.CONFIG + "/winrs").lower():
            return f'<cfg:Winrs xmlns:cfg="{soap.CONFIG}">{winrs}</cfg:Winrs>'.encode()
        if resource != soap.CONFIG:
            raise soap.unknown_resource(resource)
        return (
            f'<cfg:Config xmlns:cfg="{soap.CONFIG}"><cfg:MaxEnvelopeSizekb>{limits.max_envelope_kb}'
            "</cfg:MaxEnvelopeSizekb><cfg:MaxTimeoutms>60000</cfg:MaxTimeoutms>"
            "<cfg:MaxBatchItems>32000</cfg:MaxBatchItems>"
            "<cfg:Service><cfg:MaxConcurrentOperationsPerUser>"
            f"{limits.max_operations_per_user}</cfg:MaxConcurrentOperationsPerUser>"
            f"<cfg:AllowUnencrypted>{str(self.site.allow_unencrypted).lower()}</cfg:AllowUnencrypted>"
            f"<cfg:Auth><cfg:Basic>{str(self.site.allow_basic).lower()}</cfg:Basic>"
            "<cfg:Negotiate>true</cfg:Negotiate></cfg:Auth></cfg:Service>"
            f"<cfg:Winrs>{winrs}</cfg:Winrs></cfg:Config>"
        ).encode()


def _described(shell: Shell, client: str) -> bytes:
    """Return the rsp:Shell element of a shell."""

    def duration(value: float) -> str:
        days, rest = divmod(int(value), 86400)
        return f"P{days}DT{rest // 3600}H{rest % 3600 // 60}M{rest % 60}S"

    return (
        f"<rsp:Shell><rsp:ShellId>{escape(shell.id)}</rsp:ShellId>"
        f"<rsp:ResourceUri>{escape(shell.resource)}</rsp:ResourceUri><rsp:Owner>{escape(shell.owner)}</rsp:Owner>"
        f"<rsp:ClientIP>{escape(client)}</rsp:ClientIP><rsp:IdleTimeOut>PT{shell.idle_timeout_s:.3f}S</rsp:IdleTimeOut>"
        f"<rsp:InputStreams>{shell.streams_in}</rsp:InputStreams>"
        f"<rsp:OutputStreams>{shell.streams_out}</rsp:OutputStreams>"
        f"<rsp:ShellRunTime>{duration(shell.age_s)}</rsp:ShellRunTime>"
        f"<rsp:ShellInactivity>{duration(shell.inactive_s)}</rsp:ShellInactivity>"
        f"<rsp:State>{'Disconnected' if shell.disconnected else 'Connected'}</rsp:State></rsp:Shell>"
    ).encode()
