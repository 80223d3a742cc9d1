"""Both wires against the lab's endpoint: records, errors, secrets, shells, deadlines."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing

import pytest
from transport_support import (
    BLOCK,
    MOMENT,
    PASSWORD,
    TEXT,
    WIRES,
    Shells,
    add,
    endpoint,
    host,
    raises,
    reach,
)

from exremote.errors import (
    AccessDenied,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
)
from exremote.lab.wsman.server import Endpoint, Limits, Listening, Site
from exremote.transport import Piece, Secret

__all__ = ["endpoint", "host"]  # fixtures


@WIRES
def test_records_of_every_kind_arrive_as_they_were(host: Listening, wire: str) -> None:
    with closing(reach(host, wire)) as transport:
        first, *rest = transport.run("types", {})
        assert first == {
            "U": TEXT, "I": 5, "L": 7, "B": True, "T": MOMENT, "N": None, "A": ["ä", "b"], "E": [],
        }  # fmt: skip
        assert rest == [TEXT, 5 << 40, False, None, Piece(b"\0\1\xff", True)]


@WIRES
def test_parameters_and_input_arrive_as_they_were(host: Listening, wire: str) -> None:
    given = {"S": TEXT, "I": -5, "L": 5 << 40, "B": True, "F": False, "A": ["ß", ""], "N": None}
    with closing(reach(host, wire)) as transport:
        (record,) = transport.run("echo", given)
        del given["N"]
        assert record == {"Given": repr(sorted(given.items()))}
        if wire != "raw":  # nothing goes into a raw stream
            assert list(transport.run("input", {}, source=["a", 1, b"\xff"])) == [
                "a",
                1,
                Piece(b"\xff", True),
            ]
        if wire != "raw":  # nothing goes into a raw stream
            assert list(transport.run("input", {}, source=[])) == []


@WIRES
def test_a_secret_arrives_and_shows_nowhere(
    host: Listening, wire: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    with closing(reach(host, wire)) as transport:
        (record,) = transport.run("echo", {"W": Secret("sehr geheim")})
        assert "sehr geheim" in str(record)
        with pytest.raises(ScriptFailed) as caught:
            list(transport.run("throw", {"W": Secret("sehr geheim")}))
    assert "thrown ***" in str(caught.value)
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("psrpcore", "exremote.lab"))]
    for text in (str(caught.value), *ours):
        assert "sehr geheim" not in text
        assert PASSWORD not in text


@WIRES
def test_error_records_are_never_lost(host: Listening, wire: str) -> None:
    with closing(reach(host, wire)) as transport:
        for script, name, came, words in (
            ("error", "ExRemote.X", ["before", "after"], r"Get-It: wrong: ü \(and 1 more\)"),
            ("throw", "ExRemote.Y", ["before"], "Get-It: thrown"),
        ):
            records = transport.run(script, {}, label="Get-It")
            for want in came:
                assert next(records) == want
            with pytest.raises(ScriptFailed, match=words) as caught:
                next(records)
            assert (caught.value.error_id, caught.value.script) == (name, "Get-It")


@WIRES
def test_streams_in_constant_memory(host: Listening, wire: str) -> None:
    psutil = pytest.importorskip("psutil")
    with closing(reach(host, wire)) as transport:
        count, peak, start, block = 0, 0, 0, b""
        for record in transport.run("blocks", {"N": 100}):
            if isinstance(record, Piece):
                block += record.data
            if isinstance(record, Piece) and record.last:
                assert block == BLOCK
                count, block = count + 1, b""
                rss = psutil.Process().memory_info().rss
                start = start or rss
                peak = max(peak, rss)
        assert count == 100
        assert peak - start < 24 * 1024 * 1024  # the host's queue of 4 MiB is in this process, too


@WIRES
def test_a_wrong_password_is_tried_exactly_once(endpoint: Endpoint, host: Listening, wire: str) -> None:
    shells = Shells()
    transport = reach(host, wire, shells, password="wrong-password")
    error = raises(AccessDenied, transport)
    with pytest.raises(SessionLost):
        transport.open()
    assert "wrong user name or password" in str(error)
    assert "wrong-password" not in str(error)
    counters = endpoint.counters("EX01")
    assert sum(counters.auth_failures.values()) == 1
    assert counters.shells_created == 0
    assert [event for event, _ in shells] in (["opened", "closed"], [])


@WIRES
def test_a_wrong_password_over_https_is_tried_exactly_once(endpoint: Endpoint, wire: str) -> None:
    where = add(endpoint, "TLS02", https=True)
    try:
        raises(AccessDenied, reach(where, wire, password="wrong-password", verify=endpoint.certificate_path))
        assert sum(endpoint.counters("TLS02").auth_failures.values()) == 1
    finally:
        endpoint.remove("TLS02")


@WIRES
def test_hundreds_of_runs_leave_no_shell(endpoint: Endpoint, host: Listening, wire: str) -> None:
    endpoint.set_limits("EX01", Limits(max_shells_per_user=1, max_commands_per_shell=15))
    shells = Shells()
    with closing(reach(host, wire, shells)) as transport:
        for _ in range(300):  # twenty times what a shell may have at once
            assert len(list(transport.run("echo", {}))) == 1
        (shell,) = endpoint.shells("EX01")
        assert len(shell.commands) <= 11
        assert shell.idle_timeout_s == 180
        assert transport.shell_id == shell.id
    assert endpoint.shells("EX01") == []
    assert shells == [("opened", shell.id), ("closed", shell.id)]
    assert endpoint.counters("EX01").auth_successes.total() == 1


@WIRES
def test_closing_the_iterator_stops_the_script_and_keeps_the_session(
    endpoint: Endpoint, host: Listening, wire: str
) -> None:
    with closing(reach(host, wire)) as transport:
        records = transport.run("blocks", {"N": 100_000})
        next(records)
        records.close()  # type: ignore[attr-defined]
        assert len(list(transport.run("echo", {}))) == 1
        assert len(endpoint.shells("EX01")) == 1
    assert endpoint.shells("EX01") == []


@WIRES
def test_the_deadline_stops_the_script(endpoint: Endpoint, host: Listening, wire: str) -> None:
    with closing(reach(host, wire)) as transport:
        start = time.monotonic()
        with pytest.raises(RemoteTimeout, match="deadline"):
            list(transport.run("sleep", {}, deadline_s=1.0))
        assert time.monotonic() - start < 5
        assert len(list(transport.run("echo", {}))) == 1
    assert endpoint.shells("EX01") == []


@WIRES
def test_a_silent_script_is_waited_for(host: Listening, wire: str) -> None:
    with closing(reach(host, wire, operation_timeout_s=1)) as transport:
        threading.Timer(2.5, lambda: None).start()
        with pytest.raises(RemoteTimeout):
            list(transport.run("sleep", {}, deadline_s=3))


def test_round_trips_are_few(endpoint: Endpoint, host: Listening) -> None:
    """Counted from connect to close: 2 to authenticate (3 over WinRS), 2 to open, 2 a script, 1 to close.

    The fewest of three count: on a busy machine a script may end behind the answer with all that it said.
    """
    counters = endpoint.counters("EX01")

    def counted(wire: str) -> tuple[int, int, int]:
        counters.reset()
        with closing(reach(host, wire)) as transport:
            transport.open()
            opened = counters.exchanges
            list(transport.run("echo", {}))
            ran = counters.exchanges
        return opened, ran, counters.exchanges

    assert min(counted("psrp") for _ in range(3)) == (4, 6, 7)
    assert min(counted("winrs") for _ in range(3)) == (4, 7, 8)


@pytest.mark.parametrize("encryption", ["auto", "never"])
@pytest.mark.parametrize("auth", ["ntlm", "negotiate"])
def test_both_names_of_the_handshake(endpoint: Endpoint, auth: str, encryption: str) -> None:
    where = add(endpoint, "EX03", allow_unencrypted=encryption == "never")
    try:
        with closing(reach(where, "psrp", auth=auth, encryption=encryption)) as transport:
            assert len(list(transport.run("echo", {}))) == 1
        raises(
            AccessDenied, reach(where, "psrp", auth=auth, encryption=encryption, password="wrong-password")
        )
        counters = endpoint.counters("EX03")
        assert (counters.auth_successes.total(), counters.auth_failures.total()) == (1, 1)
    finally:
        endpoint.remove("EX03")


@pytest.mark.wine
@WIRES
def test_the_real_engine_answers_the_same(endpoint: Endpoint, wire: str) -> None:
    """Microsoft's PowerShell behind the endpoint, where EXREMOTE_LAB_POWERSHELL names it."""
    command = os.environ.get("EXREMOTE_LAB_POWERSHELL", "").split()
    if not command:
        pytest.skip("EXREMOTE_LAB_POWERSHELL is not set: no real PowerShell to run")
    where = endpoint.add(Site("REAL", relay=command))
    try:
        with closing(reach(where, wire)) as transport:
            script = (
                "param([string]$A, [string[]]$L, [switch]$S)"
                "New-Object PSObject -Property @{A = $A; L = $L; S = [bool]$S}"
            )
            assert list(transport.run(script, {"A": TEXT, "L": ["ß", ""], "S": True})) == [
                {"A": TEXT, "L": ["ß", ""], "S": True}
            ]
            with pytest.raises(ScriptFailed) as caught:
                list(transport.run("Write-Error -ErrorId 'ExRemote.X' -Message 'ü'; 1", {}, label="Get-It"))
            assert (caught.value.error_id, "ü" in str(caught.value)) == ("ExRemote.X", True)
            with pytest.raises(ScriptFailed):
                list(transport.run("throw 'an end'", {}))
            blocks = "$b = New-Object byte[] 262145; 1..8 | ForEach-Object { , $b }"
            pieces = list(transport.run(blocks, {}))
            assert b"".join(p.data for p in pieces if isinstance(p, Piece)) == bytes(262145 * 8)
            assert sum(p.last for p in pieces if isinstance(p, Piece)) == 8
        assert endpoint.shells("REAL") == []
    finally:
        endpoint.remove("REAL")
