"""Log-ons on bad days: proofs that nobody answers, tar pits, endless answers, a quota of one."""

from __future__ import annotations

import base64
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Cli, World
from small_servers import Servers

from exremote.lab.site import HostSpec

LAB = (HostSpec("EX01", ("notes",)), HostSpec("EX02", ("notes",)), HostSpec("EX03", ("notes",)))
NAMES = tuple(spec.name for spec in LAB)
QUICK = "attempts = 5\ntotal_s = 30\nfirst_wait_s = 0.05"
ONCE = "attempts = 1\ntotal_s = 1\nfirst_wait_s = 0.1"
FAULT = """<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault>
<s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>w:AccessDenied</s:Value></s:Subcode></s:Code>
<s:Reason><s:Text>SAID</s:Text></s:Reason><s:Detail>
<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="5">
<f:Message>SAID</f:Message></f:WSManFault></s:Detail></s:Fault></s:Body></s:Envelope>"""
CHALLENGE = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\n"
Lab = Callable[..., tuple[Cli, World]]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(tmp_path) as found:
        yield found


def proofs(world: World) -> list[int]:
    """How many proofs of a password each host has seen, right or wrong."""
    counters = [world.client.counters(name) for name in NAMES]
    return [sum(c["auth_failures"].values()) + sum(c["auth_successes"].values()) for c in counters]


def wrong(cli: Cli) -> None:
    cli.more["EXREMOTE_LAB_PASSWORD"] = "wrong-canary-79"
    cli.secrets.append("wrong-canary-79")


@pytest.mark.parametrize("wire", ["psrp", "winrs"])
@pytest.mark.parametrize("effect", ["close", "status=500", "status=503"])
def test_a_proof_that_nobody_answers_locks_no_account(private: Lab, wire: str, effect: str) -> None:
    """Whether the password was taken nobody can tell: it is sent once more, to some host, and no more."""
    cli, world = private(*LAB)
    cli.wire = wire
    cli.inventory(*NAMES, retry=QUICK)
    wrong(cli)
    world.fault(f"EX*:Logon:*:{effect}")
    ran = cli("health", code=3)
    assert sum(proofs(world)) == 2, proofs(world)
    assert "2 times the line broke after the password had been sent" in ran.out
    assert re.findall(r"^EX0\d", ran.out, re.M) == list(NAMES)


def test_a_line_that_breaks_at_a_log_on_is_no_wrong_password(private: Lab) -> None:
    cli, world = private(*LAB)
    cli.inventory(*NAMES, retry=QUICK)
    world.fault("EX01:Logon:1:close")
    cli("health")
    assert sum(proofs(world)) == 4


def test_where_the_password_is_known_to_be_right_one_host_is_given_up_alone(private: Lab) -> None:
    cli, world = private(*LAB)
    cli.inventory(*NAMES, retry=QUICK)
    world.fault("EX02:Logon:*:close")
    ran = cli("health", "--json", "EX01", "EX02", "EX03", code=3)
    assert [h["exit_code"] for h in ran.json["hosts"]] == [0, 21, 0]
    assert proofs(world)[1] == 2


def test_one_account_under_several_names_is_tried_once(private: Lab) -> None:
    """Another variable, another spelling, a file: Windows would count each of them."""
    cli, world = private(*LAB)
    wrong(cli)
    cli.more["OTHER"] = cli.more["EXREMOTE_LAB_PASSWORD"]
    secret = cli.folder / "secret"
    secret.write_text(f"username = lab\\LabAdmin\npassword = {cli.more['OTHER']}\n")
    secret.chmod(0o600)
    cli.inventory(
        *NAMES,
        extra={
            "EX02": "credential = { environment = 'OTHER', username = 'LAB\\LABADMIN' }",
            "EX03": f"credential = {{ file = '{secret}' }}",
        },
    )
    cli("health", code=3)
    assert sum(proofs(world)) == 1
    secret.unlink()


def test_a_tar_pit_holds_nobody_up(private: Lab, servers: Servers) -> None:
    """It sends a byte now and then, for ever, of a body or of its head: its time ends, and nobody waits for
    it.
    """
    cli, _ = private(*LAB)
    path = cli.inventory(*NAMES, retry=ONCE)
    text = path.read_text()
    heads = {"APIT": CHALLENGE + b"Content-Length: 1000000\r\n\r\n", "BPIT": b"HTTP/1.1 200 OK\r\nX-"}
    for name, head in heads.items():
        port = servers.endless(head, b"x", 0.2)
        pit = f"[hosts.{name}]\naddress = '127.0.0.1'\nport = {port}\ndeadlines = {{ host_s = 4 }}\n"
        text = text.replace("[hosts.EX01]", f"{pit}[hosts.EX01]", 1)
    path.write_text(text)
    started = time.monotonic()
    ran = cli("health", "--json", code=3)
    assert time.monotonic() - started < 45
    ended = {h["host"]: h["exit_code"] for h in ran.json["hosts"]}
    assert ended == dict.fromkeys(heads, 20) | dict.fromkeys(NAMES, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT to one process only")
def test_ctrl_c_ends_a_tar_pit(private: Lab, servers: Servers) -> None:
    cli, _ = private(LAB[0])
    port = servers.endless(CHALLENGE + b"Content-Length: 1000000\r\n\r\n", b"x", 0.2)
    path = cli.inventory("EX01")
    path.write_text(re.sub(r"port = \d+", f"port = {port}", path.read_text()))
    with cli.started("health") as process:
        while not servers.heard:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130


@pytest.mark.parametrize("wire", ["psrp", "winrs"])
def test_an_endless_answer_fills_no_memory(private: Lab, servers: Servers, wire: str) -> None:
    cli, _ = private(LAB[0])
    cli.wire = wire
    piece = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    port = servers.endless(CHALLENGE + b"Transfer-Encoding: chunked\r\n\r\n", piece, 0.0)
    path = cli.inventory("EX01", retry="attempts = 2\ntotal_s = 5\nfirst_wait_s = 0.05")
    path.write_text(re.sub(r"port = \d+", f"port = {port}", path.read_text()))

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    ran = cli("health", code=20, before=little, timeout_s=30)
    assert "more than 8388608 bytes" in ran.out


def test_a_basic_credential_that_the_host_quotes_is_hidden(private: Lab, servers: Servers) -> None:
    """Its base64 is as good as the password itself."""

    def quote(headers: dict[str, str]) -> bytes:
        said = f"refused: {headers.get('authorization', '')}"
        body = FAULT.replace("SAID", said).encode()
        return b"HTTP/1.1 500 Error\r\nContent-Type: application/soap+xml\r\nContent-Length: %d\r\n\r\n%s" % (
            len(body),
            body,
        )

    cli, _ = private(LAB[0])
    port = servers.telling(quote)
    for wire in ("psrp", "winrs"):
        cli.wire = wire
        path = cli.inventory(
            "EX01", defaults="encryption = 'never'", retry="attempts = 1\ntotal_s = 1\nfirst_wait_s = 0.1"
        )
        text = re.sub(r"port = \d+", f"port = {port}", path.read_text()).replace(
            "auth = 'ntlm'", "auth = 'basic'"
        )
        path.write_text(text)
        account = re.search(r"username = '([^']+)'", text)
        assert account
        cli.secrets.append(base64.b64encode(f"{account[1]}:{cli.lab.password}".encode()).decode())
        ran = cli("health", code=21)
        assert "refused: Basic ***" in ran.out


@pytest.mark.parametrize("wire", ["psrp", "winrs"])
def test_what_a_killed_run_left_is_deleted_before_a_shell_is_opened(private: Lab, wire: str) -> None:
    """It may be what fills the quota."""
    cli, world = private(LAB[0])
    cli.wire = wire
    cli.inventory("EX01", retry="attempts = 2\ntotal_s = 5\nfirst_wait_s = 0.05")
    world.client.set_limits("EX01", max_shells_per_user=1)
    world.fault("EX01:Receive:2:delay=20")
    with cli.started("health") as process:
        while not world.shells():
            time.sleep(0.05)
        time.sleep(0.3)
        process.kill()
        process.wait(10)
    assert world.shells()
    world.client.clear_faults()
    cli("health")
    assert world.no_shell() == {}


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM to one process only")
def test_a_doctor_that_is_told_to_end_leaves_no_shell(private: Lab) -> None:
    cli, world = private(LAB[0])
    world.fault("EX01:Receive:*:delay=5")
    with cli.started("doctor", "EX01") as process:
        while not world.shells():
            assert process.poll() is None, "it ended before it had a shell"
            time.sleep(0.05)
        process.terminate()
        assert process.wait(20) == 130
    assert world.no_shell() == {}
    assert not list((cli.folder / "state").rglob("*.lock"))
