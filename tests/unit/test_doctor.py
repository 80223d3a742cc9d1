"""The doctor's judging: what each stage makes of what was found, without a host and without a network."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree.ElementTree import fromstring

import pytest

from exremote.credential import Credential, Secret
from exremote.doctor import STAGES, Stage, Verdict, approach, case, examine, exit_code, inside
from exremote.doctor.quotas import judge_quotas
from exremote.doctor.stage import failed, ok, skipped, warning
from exremote.errors import AccessDenied, HostError, ScriptFailed, SessionLost, TrustError, Unreachable
from exremote.facts import Disk, HostFact
from exremote.inventory import Host
from exremote.transport import Address, probe
from exremote.transport.probe import Configuration, Handshake, Listener

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
GIB = 1 << 30
HOST = Host(
    name="EX01",
    address="ex01.example.com",
    credential=Credential(kind="environment", username="DOM\\svc", reference="PW"),
)
FACT = HostFact(
    computer_name="EX01",
    domain="example.com",
    os_version="5.2.3790",
    service_pack="Service Pack 2",
    product_type="ServerNT",
    architecture="x86",
    powershell_version="2.0",
    clr_version="2.0.50727.42",
    system_root="C:\\WINDOWS",
    utc_now=NOW,
    fips_policy=False,
    user_name="DOM\\svc",
    is_administrator=True,
    system_path="",
    disks=(Disk("C:\\", "Fixed", "NTFS", 40 * GIB, 20 * GIB),),
)
ENOUGH = {
    "MaxEnvelopeSizekb": "150",
    "MaxTimeoutms": "60000",
    "Service.MaxConcurrentOperationsPerUser": "15",
    "Winrs.AllowRemoteShellAccess": "true",
    "Winrs.IdleTimeout": "180000",
    "Winrs.MaxProcessesPerShell": "15",
    "Winrs.MaxMemoryPerShellMB": "150",
    "Winrs.MaxShellsPerUser": "5",
}
"""WinRM 2.0 as it comes (domain facts, limits)."""
WINRM = Listener(
    200, "Microsoft-HTTPAPI/1.0", "Microsoft Corporation", "OS: 5.2.3790 SP: 2.0 Stack: 2.0", "x", (), NOW
)


class Patient:
    """Stands for a session: it answers what it was told to."""

    def __init__(self, host: Host, answer: object = None) -> None:
        self.host, self.answer = host, answer

    def target(self) -> tuple[Address, Any, Any]:
        host = self.host
        return (
            Address(host.name, host.address, host.port, host.scheme),
            SimpleNamespace(username="DOM\\svc"),
            None,
        )

    def logging_on(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _answer(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def host_fact(self) -> HostFact:
        return cast(HostFact, self._answer())

    def read_pack(self, path: str, files: object) -> Iterator[bytes]:
        yield from self._answer()


def make(answer: object = None, host: Host = HOST, **known: Any) -> case.Case:
    found = case.Case(
        host, Secret("DOM\\svc", "canary"), cast(Any, Patient(host, answer)), lambda: NOW, (), None
    )
    for name, value in known.items():
        setattr(found, name, value)
    return found


def shown(stage: Stage) -> str:
    return f"{stage.verdict}: {stage.sentence} -> {stage.fix}"


# ------------------------------------------------------------------ stages and their order


def test_every_stage_needs_only_stages_before_it() -> None:
    seen: set[str] = set()
    for name, needs, _ in STAGES:
        assert set(needs) <= seen, name
        seen.add(name)


@pytest.mark.parametrize(
    ("stages", "fail_on", "code"),
    [
        ([ok("")], "failed", 0),
        ([warning("", "x"), skipped("")], "failed", 0),
        ([warning("", "x")], "warning", 5),
        ([warning("", "x"), failed("", "x"), failed("", "x", 20)], "warning", 5),
        ([failed("", "x", 21), failed("", "x")], "failed", 21),
    ],
)
def test_the_first_failure_decides_the_exit_code(stages: list[Stage], fail_on: str, code: int) -> None:
    assert exit_code(stages, Verdict(fail_on)) == code


def run(answers: dict[str, Callable[[case.Case], Stage]]) -> dict[str, Stage]:
    looks = {name: answers.get(name, lambda found: ok("well")) for name, _, _ in STAGES}
    found = examine(HOST, Secret("DOM\\svc", "canary"), now=lambda: NOW, looks=looks)
    return {stage.stage: stage for stage in found}


def raising(error: HostError) -> Callable[[case.Case], Stage]:
    def look(found: case.Case) -> Stage:
        raise error

    return look


def test_a_failure_skips_what_needs_it_and_names_itself() -> None:
    seen = run({"tls": lambda found: failed("not trusted", "trust it", 21)})
    assert list(seen) == [name for name, _, _ in STAGES if name not in case.BEYOND]
    assert seen["listener"].verdict == seen["clock"].verdict == "ok"
    assert {seen[name].sentence for name in ("authentication", "shell", "speed")} == {
        "not looked at: tls failed"
    }


def test_without_any_tls_nothing_can_be_asked() -> None:
    seen = run({"tls": raising(TrustError("EX01", "too old", "use http"))})
    assert (seen["tls"].verdict, seen["tls"].exit_code, seen["tls"].fix) == ("failed", 21, "use http")
    assert seen["listener"].sentence == seen["speed"].sentence == "not looked at: tls failed"


def test_a_host_that_is_lost_is_not_asked_again() -> None:
    seen = run({"second-hop": raising(SessionLost("EX01", "gone"))})
    assert seen["speed"].sentence == "not looked at: second-hop failed"
    assert seen["line"].verdict == "ok"
    seen = run({"second-hop": raising(ScriptFailed("EX01", "no", script="x", error_id="y"))})
    assert seen["speed"].verdict == "ok"


# ------------------------------------------------------------------ on the way


def test_another_port_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    host = replace(HOST, port=80)

    def knock(address: Address, timeout_s: float) -> None:
        if address.port != 5986:
            raise Unreachable("EX01", "no listener on port 80 of ex01 (connection refused).", "Run it.")

    monkeypatch.setattr(probe, "knock", knock)
    stage = approach.port(make(host=host))
    assert shown(stage) == (
        "failed: no listener on port 80 of ex01 (connection refused); 5986 is open. -> "
        'If WinRM is there, set port = 5986 and scheme = "https"; else run it.'
    )
    assert stage.exit_code == 20


def test_a_name_resolves() -> None:
    stage = approach.name(make(host=replace(HOST, address="localhost")))
    assert "127.0.0.1" in stage.sentence or "::1" in stage.sentence
    assert "NTLM" in approach.name(make(host=replace(HOST, address="127.0.0.1"))).sentence


@pytest.mark.parametrize(
    ("hands", "words"),
    [
        (
            Handshake("TLSv1.2", ("ex01.example.com",), NOW + timedelta(days=100), None),
            "ok: TLSv1.2, a certificate for",
        ),
        (
            Handshake("TLSv1.2", ("ex01.example.com",), NOW + timedelta(days=3), None),
            "warning: .*that is soon",
        ),
        (
            Handshake("TLSv1.2", (), None, TrustError("EX01", "not trusted", "verify")),
            "failed: not trusted -> verify",
        ),
    ],
)
def test_certificates(monkeypatch: pytest.MonkeyPatch, hands: Handshake, words: str) -> None:
    monkeypatch.setattr(probe, "shake_hands", lambda *a: hands)
    stage = approach.tls(make(host=replace(HOST, scheme="https")))
    assert __import__("re").match(words, shown(stage)), shown(stage)


def test_winrm_1_cannot_carry_powershell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        probe, "identify", lambda *a: replace(WINRM, version="OS: 5.2.3790 SP: 2.0 Stack: 1.1")
    )
    stage = approach.listener(make())
    assert stage.verdict == "warning"
    assert "KB968930" in stage.fix
    assert approach.listener(make(host=replace(HOST, wire="winrs"))).verdict == "ok"


def test_what_makes_a_right_password_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> Configuration:
        raise AccessDenied("EX01", "wrong user name or password: svc was refused (kerberos).", "Check it.")

    monkeypatch.setattr(probe, "configuration", refuse)
    found = make(host=replace(HOST, auth="kerberos", scheme="https"), listener=WINRM)
    found.asked_at = NOW - timedelta(minutes=7)
    found.account = Secret("svc", "canary")
    stage = approach.authentication(found)
    for word in ("CbtHardeningLevel", "service principal", "by 420 s", "user@domain"):
        assert word in stage.fix


def test_an_account_without_rights_is_no_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> Configuration:
        raise AccessDenied("EX01", "access denied: svc may not use WinRM (HTTP 403).", "Make it one.")

    monkeypatch.setattr(probe, "configuration", refuse)
    found = make()
    assert approach.authentication(found).fix == "Make it one."


@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ({}, "ok", "500 kB are faster"),
        ({"MaxEnvelopeSizekb": "500"}, "ok", "-> "),
        ({"MaxEnvelopeSizekb": "64"}, "failed", "MaxEnvelopeSizekb is 64, less than 150"),
        ({"Winrs.MaxMemoryPerShellMB": "80"}, "warning", "KB2842230"),
        ({"Winrs.MaxMemoryPerShellMB": "0"}, "ok", ""),
        ({"Service.MaxConcurrentOperationsPerUser": "3"}, "warning", "finished commands stay"),
        ({"MaxTimeoutms": "10000"}, "warning", "deadlines.operation_s is 20 s"),
        ({"Winrs.AllowRemoteShellAccess": "false"}, "failed", 'AllowRemoteShellAccess="true"'),
        ({"Winrs.MaxProcessesPerShell": "1"}, "ok", ""),
        ({"MaxEnvelopeSizekb": "9" * 5000}, "ok", ""),
        ({"MaxEnvelopeSizekb": "many"}, "ok", ""),
        ({"MaxTimeoutms": "\u0661"}, "ok", ""),
    ],
)
def test_limits(change: dict[str, str], verdict: str, words: str) -> None:
    stage = judge_quotas(ENOUGH | change, "psrp", 20.0)
    assert stage.verdict == verdict, shown(stage)
    assert words in shown(stage)
    assert judge_quotas({}, "psrp", 20.0).verdict == "unknown"


# ------------------------------------------------------------------ inside


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (FACT, "ok: PowerShell 2.0 on CLR 2.0.50727.42, Windows 5.2.3790 Service Pack 2 -> "),
        (
            replace(FACT, powershell_version="1.0"),
            "failed: PowerShell 1.0 .* need PowerShell 2.0. -> .*KB968930",
        ),
        (replace(FACT, powershell_version=""), "unknown: PowerShell of no version"),
        (replace(FACT, powershell_version="9" * 5000), "unknown: PowerShell 999"),
    ],
)
def test_powershell(answer: HostFact, words: str) -> None:
    stage = inside.powershell(make(answer))
    assert __import__("re").match(words, shown(stage)), shown(stage)


@pytest.mark.parametrize(
    ("error_id", "words"),
    [
        ("ScriptsNotAllowed", "JEA"),
        ("CannotCreateTypeConstrainedLanguage", "AppLocker"),
        ("RuntimeException", "exremote scripts Get-HostFact"),
    ],
)
def test_a_first_script_that_fails(error_id: str, words: str) -> None:
    found = make(ScriptFailed("EX01", "it did not go", script="Get-HostFact", error_id=error_id))
    assert inside.powershell(found).verdict == "unknown"
    stage = inside.language(found)
    assert (stage.verdict, stage.exit_code) == ("failed", 22)
    assert words in shown(stage)


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, "ok"), (-299, "ok"), (301, "warning"), (-86400, "warning")]
)
def test_clocks(seconds: float, verdict: str) -> None:
    assert inside.clock(make(skew_s=seconds)).verdict == verdict
    by_header = make(listener=replace(WINRM, clock=NOW + timedelta(seconds=seconds)), asked_at=NOW)
    assert inside.clock(by_header).verdict == verdict
    assert inside.clock(make()).verdict == "unknown"


def test_room_rights_and_fips() -> None:
    short = replace(FACT, disks=(Disk("C:\\", "Fixed", "NTFS", 40 * GIB, GIB // 2),))
    assert inside.room(make(fact=FACT)).verdict == "ok"
    assert inside.room(make(fact=short)).verdict == "warning"
    assert inside.room(make(fact=replace(FACT, disks=()))).verdict == "unknown"
    assert (
        "Administrators DOM\\svc /add" in inside.rights(make(fact=replace(FACT, is_administrator=False))).fix
    )
    assert "recalled" in inside.fips(make(fact=replace(FACT, fips_policy=True))).sentence


def test_speed() -> None:
    found = make([b"x" * (1 << 20)] * 5, fact=FACT, configuration=Configuration(ENOUGH, round_trip_s=0.012))
    stage = inside.speed(found)
    assert "a round trip takes 12 ms; 2.1 MB came at" in stage.sentence
    error = ScriptFailed("EX01", "not FIPS", script="Read-FilePack", error_id="x")
    assert inside.speed(make(error, fact=replace(FACT, fips_policy=True))).verdict == "failed"
    with pytest.raises(ScriptFailed):
        inside.speed(make(error, fact=FACT))


# ------------------------------------------------------------------ probes


def test_settings_are_read_by_their_dotted_names() -> None:
    text = (
        '<b xmlns:c="http://schemas.microsoft.com/wbem/wsman/1/config"><c:Config><c:MaxEnvelopeSizekb>150'
        "</c:MaxEnvelopeSizekb><c:Client><c:Auth><c:Basic>false</c:Basic></c:Auth></c:Client><c:Service>"
        "<c:AllowUnencrypted> true </c:AllowUnencrypted></c:Service></c:Config></b>"
    )
    assert dict(probe._flat(fromstring(text))) == {
        "MaxEnvelopeSizekb": "150",
        "Client.Auth.Basic": "false",
        "Service.AllowUnencrypted": "true",
    }


def test_the_date_and_stack_of_an_answer() -> None:
    assert probe._date("Sat, 01 Aug 2026 12:00:00 GMT") == NOW
    assert probe._date("") is None
    assert probe._date("yesterday") is None
    assert WINRM.stack == "2.0"
    assert replace(WINRM, version="").stack == ""


def test_what_is_open_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        ports = (server.getsockname()[1], holder.getsockname()[1])
        assert probe.open_ports(Address("EX01", "127.0.0.1", 1), ports) == ports[:1]


def test_a_folder_of_authorities_will_do(tmp_path: Path) -> None:
    assert probe._context(tmp_path).check_hostname
    assert not probe._context(False).check_hostname
