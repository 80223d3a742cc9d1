"""Both wires when things go wrong: faults, cut connections, quotas, Ctrl-C, names, certificates."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
from transport_support import (
    PASSWORD,
    USER,
    WIRES,
    add,
    endpoint,
    host,
    raises,
    reach,
    side_by_side,
)

from exremote.credential import Credential
from exremote.credential import Secret as Account
from exremote.errors import (
    AccessDenied,
    HostError,
    QuotaExceeded,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    TrustError,
    Unreachable,
)
from exremote.inventory import Host, RetryPolicy
from exremote.lab.wsman.engine import Call, Record
from exremote.lab.wsman.server import WINRM_2, Endpoint, Listening, Misfortune, RequestInfo
from exremote.session import Session
from exremote.transport import Address, Login, Secret, WireSettings, connect

__all__ = ["endpoint", "host"]  # fixtures


def once(phase: str, action: str, **what: object) -> object:
    """A hook that lets one misfortune happen, to the first request of an action."""
    left = [1]

    def hook(info: RequestInfo) -> Misfortune | None:
        if info.phase == phase and info.action == action and left:
            left.pop()
            return Misfortune(**what)  # type: ignore[arg-type]
        return None

    return hook


@WIRES
@pytest.mark.parametrize(
    ("phase", "action", "what", "kind"),
    [
        ("request", "Create", {"fault": 2150859173}, QuotaExceeded),
        ("request", "Create", {"fault": 2150859236}, QuotaExceeded),
        ("request", "Command", {"fault": 2150859241}, QuotaExceeded),
        ("request", "Create", {"fault": 2150859179}, QuotaExceeded),
        ("request", "Create", {"fault": 5}, AccessDenied),
        ("request", "Create", {"status": 403}, AccessDenied),
        ("request", "Create", {"status": 503}, Unreachable),
        ("request", "Create", {"close": True}, Unreachable),
        ("answer", "Create", {"close": True}, Unreachable),
        ("request", "Command", {"fault": 2150858843}, SessionLost),
        ("request", "Command", {"status": 413}, ScriptFailed),
        ("request", "Command", {"fault": 2150858824}, ScriptFailed),
        ("request", "Receive", {"fault": 995}, SessionLost),
        ("request", "Command", {"drop_shell": True}, SessionLost),
        ("request", "Command", {"close": True}, SessionLost),
        ("answer", "Command", {"close": True}, SessionLost),
        ("answer", "Receive", {"cut_after": 300}, SessionLost),
        ("answer", "Receive", {"bad_mic": True}, SessionLost),
        ("answer", "Command", {"forget_authentication": True}, SessionLost),
        ("request", "Command", {"status": 503}, SessionLost),
    ],
)
def test_misfortunes_have_their_names_and_leave_no_shell(
    endpoint: Endpoint,
    host: Listening,
    wire: str,
    phase: str,
    action: str,
    what: dict[str, object],
    kind: type[HostError],
) -> None:
    transport = reach(host, wire)
    if action == "Receive":
        transport.open()  # opening a pool receives, too
    endpoint.set_hook("EX01", once(phase, action, **what))  # type: ignore[arg-type]
    error = raises(kind, transport)
    assert str(error).startswith("EX01: ")
    if not (wire == "winrs" and action == "Create" and phase == "answer"):  # an id that never arrived
        assert endpoint.shells("EX01") == []
    assert not endpoint.counters("EX01").auth_failures


def test_a_shell_that_is_made_after_its_connection_was_cut_is_deleted(
    endpoint: Endpoint, host: Listening
) -> None:
    """The Delete over a new connection comes before the host has finished the Create, and again later."""
    first = [True]

    def hook(info: RequestInfo) -> Misfortune | None:
        if info.action == "Create" and first.pop():
            for connection in list(endpoint._listeners["EX01"]._connections):
                connection.close()
            time.sleep(0.7)
        return None

    endpoint.set_hook("EX01", lambda info: hook(info) if first else None)
    raises(Unreachable, reach(host, "psrp"))
    assert endpoint.counters("EX01").shells_created == 1
    assert endpoint.shells("EX01") == []


def test_a_read_time_out_is_not_repeated(endpoint: Endpoint) -> None:
    def over(host: Listening, wire: str) -> None:
        transport = reach(host, wire, operation_timeout_s=1, read_timeout_s=2)
        transport.open()
        endpoint.set_hook(host.name, once("answer", "Command", delay_s=14.0))  # type: ignore[arg-type]
        start = time.monotonic()
        raises(RemoteTimeout, transport)
        assert time.monotonic() - start < 25
        assert endpoint.counters(host.name).actions["Command"] == 1

    side_by_side(endpoint, over)


@WIRES
def test_winrm_2_quota(endpoint: Endpoint, host: Listening, wire: str) -> None:
    endpoint.set_limits("EX01", WINRM_2)
    transports = [reach(host, wire) for _ in range(6)]
    try:
        for transport in transports[:5]:
            transport.open()
        with pytest.raises(QuotaExceeded, match="too many shells"):
            transports[5].open()
    finally:
        for transport in transports:
            transport.close()
    assert endpoint.shells("EX01") == []


@WIRES
def test_what_a_dead_run_left_is_deleted(endpoint: Endpoint, host: Listening, wire: str) -> None:
    """A shell of the other wire, too; one that is gone already counts as deleted."""
    left = [reach(host, "psrp"), reach(host, "winrs")]
    ids = []
    for transport in left:
        transport.open()
        ids.append(transport.shell_id or "")
    with closing(reach(host, wire)) as transport:
        assert transport.delete_shell(ids[0], "psrp")
        transport.open()
        assert transport.delete_shell(ids[1], "winrs")
        assert transport.delete_shell(ids[1], "winrs")
        assert len(list(transport.run("echo", {}))) == 1
        assert endpoint.counters("EX01").auth_successes.total() == 3  # one handshake for all of this
    assert endpoint.shells("EX01") == []
    transport = reach(host, wire, password="wrong-password")
    for kind in (AccessDenied, SessionLost):
        with pytest.raises(kind):
            transport.delete_shell(ids[0], "psrp")
    transport.close()
    assert endpoint.counters("EX01").auth_failures.total() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to one process only")
@WIRES
@pytest.mark.parametrize("moment", ["Create", "Receive", "between"])
def test_ctrl_c_leaves_no_shell(endpoint: Endpoint, host: Listening, wire: str, moment: str) -> None:
    """A process of its own is interrupted while it waits for an answer, or between two questions."""
    reached = threading.Event()

    def hook(info: RequestInfo) -> Misfortune | None:
        if info.phase == "answer" and info.action == moment and not reached.is_set():
            reached.set()
            return Misfortune(delay_s=1.5)
        return None

    endpoint.set_hook("EX01", hook)
    code = f"""
import time
from exremote.transport import *
t = connect(Address("EX01", "{host.host}", {host.port}), Login("ntlm", "{USER}", Secret("{PASSWORD}")),
            WireSettings(wire="{wire}"))
try:
    t.open(); list(t.run("echo", {{}})); print("between", flush=True); time.sleep(30)
finally:
    t.close()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        if moment == "between":
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"between")
        else:
            assert reached.wait(30)
            time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert b"KeyboardInterrupt" in stderr
    if not (wire == "winrs" and moment == "Create"):  # its id had not arrived; the idle time-out takes it
        assert endpoint.shells("EX01") == []


def test_a_closed_port_is_told_with_the_ports_to_try() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for wire in ("psrp", "winrs"):
        transport = connect(
            Address("EX01", "127.0.0.1", port),
            Login("ntlm", "u", Secret("p")),
            WireSettings(wire=wire),  # type: ignore[arg-type]
        )
        error = raises(Unreachable, transport)
        assert f"no listener on port {port}" in str(error)
        assert "5986" in str(error)


@WIRES
def test_a_name_that_does_not_resolve(wire: str) -> None:
    address = Address("EX01", "no-such-host.invalid", 5985)
    error = raises(
        Unreachable,
        connect(address, Login("ntlm", "u", Secret("p")), WireSettings(wire=wire)),  # type: ignore[arg-type]
    )
    assert "no-such-host.invalid does not resolve" in str(error)


@WIRES
def test_tls_is_trusted_by_a_pem_file_only(endpoint: Endpoint, wire: str) -> None:
    where = add(endpoint, "TLS01", https=True)
    try:
        error = raises(TrustError, reach(where, wire))
        assert 'verify = "FILE.pem"' in str(error)
        with closing(reach(where, wire, verify=endpoint.certificate_path)) as transport:
            assert len(list(transport.run("echo", {}))) == 1
        with closing(reach(where, wire, verify=endpoint.certificate_path, encryption="always")) as transport:
            assert len(list(transport.run("echo", {}))) == 1
        with closing(reach(where, wire, verify=False)) as transport:
            assert len(list(transport.run("echo", {}))) == 1
        other = reach(where, wire, verify=endpoint.certificate_path, address="127.0.0.2")
        assert not isinstance(raises(HostError, other), SessionLost)
        assert endpoint.shells("TLS01") == []
    finally:
        endpoint.remove("TLS01")


@WIRES
def test_http_spoken_to_an_https_port_and_the_other_way(endpoint: Endpoint, wire: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            peer, _ = plain.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = Address("EX01", "127.0.0.1", plain.getsockname()[1], "https")
        settings = WireSettings(wire=wire)  # type: ignore[arg-type]
        error = raises(TrustError, connect(address, Login("ntlm", USER, Secret(PASSWORD)), settings))
        assert "does not speak TLS" in str(error)
    where = add(endpoint, "TLS03", https=True)
    try:
        address = Address("TLS03", where.host, where.port, "http")
        raises(Unreachable, connect(address, Login("ntlm", USER, Secret(PASSWORD)), settings))
    finally:
        endpoint.remove("TLS03")


@pytest.mark.parametrize("auth", ["kerberos", "credssp"])
@WIRES
def test_a_missing_extra_is_named(host: Listening, wire: str, auth: str) -> None:
    needs = {"kerberos": "gssapi", "credssp": "requests_credssp"}[auth]
    try:
        __import__(needs)
    except ImportError:
        with pytest.raises(AccessDenied, match=rf"pip install 'exremote\[{auth}\]'"):
            reach(host, wire, auth=auth)
    else:
        pytest.skip(f"{needs} is installed here")


def test_no_proxy_of_the_environment_is_used(host: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for wire in ("psrp", "winrs"):
        with closing(reach(host, wire)) as transport:
            assert len(list(transport.run("echo", {}))) == 1


def test_closing_takes_no_longer_than_ten_seconds(endpoint: Endpoint) -> None:
    def over(host: Listening, wire: str) -> None:
        transport = reach(host, wire)
        transport.open()
        endpoint.set_hook(host.name, lambda info: Misfortune(delay_s=20.0))
        start = time.monotonic()
        transport.close()
        assert time.monotonic() - start < 11
        transport.close()
        with pytest.raises(SessionLost):
            transport.open()

    side_by_side(endpoint, over)


def services(
    text: str, given: Mapping[str, object], source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Answer Get-ServiceState, and nothing else."""
    texts = dict.fromkeys(("DisplayName", "State", "StartMode", "Account", "ImagePath"), "")
    for name in cast(list[str], given["Name"]):
        yield {
            "Name": name, "Exists": False, "ImageExists": False, "DependsOn": [], "Readable": True, **texts,
        }  # fmt: skip


@WIRES
def test_a_session_outlives_a_cut_connection(endpoint: Endpoint, wire: str) -> None:
    """Each misfortune costs one try, over a new connection; each try is told; no shell is left."""
    where = add(endpoint, "EX02", engine=services)
    told: list[tuple[str, dict[str, object]]] = []
    host = Host(
        name="EX02",
        address=where.host,
        port=where.port,
        auth="ntlm",
        wire=wire,  # type: ignore[arg-type]
        credential=Credential(kind="environment", username=USER, reference="V"),
        retry=RetryPolicy(attempts=3, total_s=30.0, first_wait_s=0.01),
    )
    try:
        with Session(
            host, Account(USER, PASSWORD), on_event=lambda k, f: told.append((k, dict(f)))
        ) as session:
            for action, what in (("Command", {"close": True}), ("Receive", {"fault": 2150858843})):
                assert [s.name for s in session.service_states(["a", "ä"])] == ["a", "ä"]
                endpoint.set_hook("EX02", once("request", action, **what))  # type: ignore[arg-type]
            assert len(session.service_states(["a"])) == 1
            assert len(endpoint.shells("EX02")) == 1
        assert [f["script"] for k, f in told if k == "retry"] == ["Get-ServiceState"] * 2
        assert endpoint.shells("EX02") == []
        shells = [(f["what"], f["shell_id"]) for k, f in told if k == "shell"]
        assert sum(what == "opened" for what, _ in shells) == sum(what == "closed" for what, _ in shells) == 3
    finally:
        endpoint.remove("EX02")
