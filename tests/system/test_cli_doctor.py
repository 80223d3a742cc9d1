"""`exremote doctor`: each thing that can be wrong on the way to a host has its stage, sentence and fix.

Hosts that no lab has (a deaf port, an old TLS, a web server) are small servers on loopback.
"""

from __future__ import annotations

import os
import pty
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Cli, Ran, World, interrupt
from small_servers import Servers, certificate

from exremote.lab.site import HostSpec

WIRES = pytest.mark.parametrize("wire", ["psrp", "winrs"])
WIRE = pytest.mark.not_under_wine("wire")
API = r"\\NWFS01\SYS\GWDOM\WPGATE\API"
QUICK = "deadlines = { connect_s = 1.5, operation_s = 1, read_s = 2 }"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(tmp_path) as some:
        yield some


def entry(cli: Cli, port: int, *lines: str, name: str = "EXGW01", address: str = "127.0.0.1") -> None:
    """Write an inventory of one host."""
    text = [
        "[defaults]",
        "auth = 'ntlm'" if not any(line.startswith("auth") for line in lines) else "",
        "credential = { environment = 'EXREMOTE_LAB_PASSWORD', username = 'LAB\\labadmin' }",
        f"[hosts.{name}]",
        f"address = '{address}'",
        f"port = {port}",
        *lines,
    ]
    (cli.folder / "site.toml").write_text("\n".join(text) + "\n", encoding="utf-8")


def stages(ran: Ran) -> dict[str, tuple[str, str]]:
    """Return verdict and text by stage, of a run on one host."""
    found = re.findall(r"^EX\w+\t(ok|warning|failed|skipped|unknown)\t([\w-]+)\t(.*)$", ran.out, re.M)
    assert len(found) == 21, ran.out
    return {s: (verdict, text.removesuffix("\t-").replace("\t", " ")) for verdict, s, text in found}


def failing(ran: Ran) -> tuple[str, str]:
    """Return the one stage that failed, and its text with the fix, which must be there."""
    bad = [(stage, text) for stage, (verdict, text) in stages(ran).items() if verdict == "failed"]
    assert len(bad) == 1, ran.out
    assert " -> " in bad[0][1], bad
    assert f"begin with {bad[0][0]}" in ran.out
    return bad[0]


# ------------------------------------------------------------------ hosts that are well


def test_a_healthy_host(any_wire: Cli, world: World, engine: str) -> None:
    if engine == "simulated":
        world.write("EXGW01", r"C:\WINDOWS\System32\kernel32.dll", os.urandom(3 << 20))
    ran = any_wire("doctor", "EXGW01")
    seen = stages(ran)
    bad = {stage: text for stage, (verdict, text) in seen.items() if verdict not in ("ok", "skipped")}
    bad.pop("rights", None) if engine == "powershell" else None
    assert bad == {}
    assert [stage for stage, (verdict, _) in seen.items() if verdict == "skipped"] == ["tls", "ntbackup"]
    assert re.search(r"round trip takes \d+ ms; .* MB/s: a backup of 100 MB would take", seen["speed"][1])
    assert re.search(r"PowerShell \d", seen["powershell"][1])
    assert API in seen["second-hop"][1]
    assert "nothing keeps it" in ran.out
    assert world.client.counters("EXGW01")["auth_failures"] == {}


@WIRE
@WIRES
def test_a_healthy_host_over_tls(private: Callable[..., tuple[Cli, World]], wire: str) -> None:
    cli, _ = private(HostSpec("EXGW01", ("groupwise",), https=True))
    port = cli.lab.hosts["EXGW01"]
    entry(cli, port, "scheme = 'https'", f"verify = '{cli.lab.trust}'", f"wire = '{wire}'")
    seen = stages(cli("doctor", "EXGW01"))
    assert re.match(r"TLSv1\.[23], a certificate for localhost, 127\.0\.0\.1", seen["tls"][1])
    assert seen["sealing"] == ("ok", "messages are sealed by TLS")
    entry(cli, port, "scheme = 'https'", "verify = false", f"wire = '{wire}'")
    ran = cli("doctor", "EXGW01")
    assert stages(ran)["tls"][0] == stages(ran)["inventory"][0] == "warning"
    assert cli("doctor", "EXGW01", "--fail-on", "warning", code=5)
    entry(cli, port, "scheme = 'https'", f"wire = '{wire}'")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=21))
    assert stage == "tls"
    assert re.search(r'not trusted .*It names localhost.*ends on .*verify = "FILE\.pem"', text)
    assert stages(ran)["listener"][0] == stages(ran)["schemes"][0] == "ok", "no secret, no need of trust"
    assert stages(ran)["authentication"] == ("skipped", "not looked at: tls failed")


@WIRE
def test_a_program_reads_it(cli: Cli) -> None:
    cli.inventory("EXGW01", "EXNOTES01", extra={"EXNOTES01": "variables = {}"})
    ran = cli("doctor", "EXGW01", "EXNOTES01", "--json")
    assert [h["host"] for h in ran.json["hosts"]] == ["EXGW01", "EXNOTES01"]
    for host in ran.json["hosts"]:
        assert len(host["stages"]) == 21
        assert set(host["stages"][0]) == {"stage", "verdict", "sentence", "fix", "exit_code", "seconds"}
    assert ran.json["exit_code"] == 0


@WIRE
def test_a_person_at_a_terminal_sees_a_table(cli: Cli) -> None:
    ours, theirs = pty.openpty()
    environment = cli.environment | {"TERM": "xterm", "COLUMNS": "150"}
    process = subprocess.Popen(
        cli.command("doctor", "EXGW01"), env=environment, stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass
    os.close(ours)
    assert process.wait(60) == 0
    text = shown.decode()
    assert "Doctor: EXGW01" in text
    assert "looking at" in text
    assert re.search(r"[│┃].*authentication.*[│┃]", text)


# ------------------------------------------------------------------ name and port


@WIRE
def test_nobody_listens(cli: Cli) -> None:
    cli.inventory("EXDOWN01")
    stage, text = failing(ran := cli("doctor", "EXDOWN01", code=20))
    assert stage == "port"
    assert re.search(r"connection refused.*-> .*winrm quickconfig", text)
    assert stages(ran)["speed"] == ("skipped", "not looked at: port failed")


@WIRE
def test_a_name_that_nobody_knows(cli: Cli) -> None:
    entry(cli, 5985, address="no-such-host.invalid")
    stage, text = failing(cli("doctor", "EXGW01", code=20))
    assert stage == "name"
    assert "no-such-host.invalid does not resolve" in text


@WIRE
def test_kerberos_needs_a_name(cli: Cli) -> None:
    entry(cli, cli.lab.hosts["EXGW01"], "auth = 'kerberos'")
    assert "kerberos, which does not work with IP addresses" in cli("doctor", "EXGW01", code=2).err


@WIRE
def test_a_port_that_drops_every_packet(cli: Cli, servers: Servers) -> None:
    entry(cli, servers.full(), QUICK)
    stage, text = failing(cli("doctor", "EXGW01", code=20))
    assert stage == "port"
    assert re.search(r"no answer from port.*-> .*firewall", text)


@WIRE
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_that_never_answers(cli: Cli, servers: Servers, scheme: str) -> None:
    entry(cli, servers.deaf(), QUICK, f"scheme = '{scheme}'")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=20))
    assert stage == {"http": "listener", "https": "tls"}[scheme]
    assert "takes connections and never answers" in text
    assert stages(ran)["schemes"][0] == "skipped"


# ------------------------------------------------------------------ who answers there


def page(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]).encode()


@WIRE
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"220 FTP server ready\r\n", r"answers, but not in HTTP.*-> Another program"),
        (b"", r"broke off.*-> Check that WinRM listens there"),
        (
            page("404 Not Found", "Server: Microsoft-IIS/6.0"),
            r"Microsoft-IIS/6\.0 .*404.*-> .*set port = 5985",
        ),
        (page("404 Not Found", "Server: Microsoft-HTTPAPI/1.0"), r"HTTPAPI.*-> .*winrm enumerate .*listener"),
        (
            page("501 Unsupported", "Server: SimpleHTTP/0.6"),
            r"SimpleHTTP.*it is not WinRM.*-> Another program",
        ),
        (page("503 Service Unavailable"), r"starting or too busy.*-> Wait, or restart"),
    ],
    ids=["ftp", "hangs up", "iis", "no listener", "web server", "503"],
)
def test_something_else_is_there(cli: Cli, servers: Servers, answer: bytes, words: str) -> None:
    entry(cli, servers.canned(answer), QUICK)
    stage, text = failing(cli("doctor", "EXGW01", code=20))
    assert stage == "listener"
    assert re.search(words, text), text
    assert servers.heard_no("Authorization"), "no credential before it is known who is there"


@WIRE
def test_a_host_that_does_not_offer_what_we_use(cli: Cli, servers: Servers) -> None:
    port = servers.canned(
        page("401 Unauthorized", 'WWW-Authenticate: Basic realm="x"', "Server: Microsoft-HTTPAPI/2.0")
    )
    entry(cli, port, QUICK)
    stage, text = failing(ran := cli("doctor", "EXGW01", code=21))
    assert stage == "schemes"
    assert re.search(r'offers Basic, and auth = ntlm needs .*-> .*@\{Negotiate="true"\}', text)
    assert "wants a log-on before it says who it is" in stages(ran)["listener"][1]
    assert servers.heard_no("Authorization")


# ------------------------------------------------------------------ TLS


@WIRE
def test_plain_http_on_a_tls_port_and_the_other_way_round(cli: Cli, servers: Servers) -> None:
    front = servers.tls(cli.lab.hosts["EXGW01"], certificate("127.0.0.1"))
    entry(cli, front, QUICK)
    stage, text = failing(cli("doctor", "EXGW01", code=20))
    assert stage == "listener"
    assert re.search(r'speaks TLS, not plain HTTP.*-> Set scheme = "https"', text)
    entry(cli, cli.lab.hosts["EXGW01"], QUICK, "scheme = 'https'")
    stage, text = failing(cli("doctor", "EXGW01", code=21))
    assert stage == "tls"
    assert re.search(r'does not speak TLS.*-> Set scheme = "http"', text)


@WIRE
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            {"name": "other.example"},
            r"for another name than 127\.0\.0\.1.*It names other\.example.*-> Set address",
        ),
        ({"name": "127.0.0.1", "days": -3}, r"not valid now.*ends on 20.*-> Renew it on the host"),
        ({"name": "127.0.0.1", "days": 5}, ""),
    ],
    ids=["wrong name", "expired", "expires soon"],
)
def test_certificates(cli: Cli, servers: Servers, made: dict[str, object], words: str) -> None:
    proof = certificate(**made)  # type: ignore[arg-type]
    front = servers.tls(cli.lab.hosts["EXGW01"], proof)
    trust = cli.folder / "trust.pem"
    trust.write_bytes(proof.pem)
    entry(cli, front, QUICK, "scheme = 'https'", f"verify = '{trust}'")
    if words:
        stage, text = failing(cli("doctor", "EXGW01", code=21))
        assert stage == "tls"
        assert re.search(words, text), text
    else:
        # Behind this front there is plain http, which takes nothing unsealed: that is 21, and another stage.
        verdict, text = stages(cli("doctor", "EXGW01", code=21))["tls"]
        assert verdict == "warning"
        assert re.search(r"that is soon\..*-> Renew it", text)


@WIRE
def test_an_old_tls(cli: Cli, servers: Servers) -> None:
    front = servers.tls(cli.lab.hosts["EXGW01"], certificate("127.0.0.1"), newest=ssl.TLSVersion.TLSv1)
    entry(cli, front, QUICK, "scheme = 'https'", "verify = false")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=21))
    assert stage == "tls"
    assert re.search(r'it speaks TLSv1 only, .*too old.*-> Set scheme = "http" and port = 5985', text)
    assert stages(ran)["listener"] == ("skipped", "not looked at: tls failed")


@WIRE
def test_a_host_that_refuses_our_version(cli: Cli, servers: Servers) -> None:
    """Not even the oldest that this machine can: an alert, protocol_version."""
    entry(cli, servers.canned(bytes.fromhex("15030100020246")), QUICK, "scheme = 'https'")
    stage, text = failing(cli("doctor", "EXGW01", code=21))
    assert stage == "tls"
    assert "old TLS that this machine refuses" in text


# ------------------------------------------------------------------ credential and rights


@WIRE
@WIRES
def test_a_wrong_password_is_tried_exactly_once(cli: Cli, world: World, wire: str) -> None:
    cli.wire = wire
    cli.inventory("EXGW01", "EXNOTES01")
    cli.more["EXREMOTE_LAB_PASSWORD"] = "wrong-canary-79"
    cli.secrets.append("wrong-canary-79")
    stage, text = failing(cli("doctor", "EXGW01", code=21))
    assert stage == "authentication"
    assert re.search(r"wrong user name or password.*-> Check the credential", text)
    assert sum(world.client.counters("EXGW01")["auth_failures"].values()) == 1
    ran = cli("doctor", "EXGW01", "EXNOTES01", code=3)
    assert "not tried: EXGW01 refused the same credential" in ran.out
    assert sum(world.client.counters("EXNOTES01")["auth_failures"].values()) == 0


@WIRE
def test_no_password_is_no_reason_not_to_look_at_the_network(cli: Cli) -> None:
    cli.more["EXREMOTE_LAB_PASSWORD"] = ""
    stage, text = failing(ran := cli("doctor", "EXGW01", code=2))
    assert stage == "credential"
    assert "-> Set EXREMOTE_LAB_PASSWORD" in text
    assert stages(ran)["schemes"][0] == "ok"
    assert stages(ran)["authentication"] == ("skipped", "not looked at: credential failed")
    assert stages(ran)["clock"] == (
        "unknown",
        "nobody can tell: no script ran there that says it, and its HTTP answer has no Date",
    )


@WIRE
@WIRES
def test_a_user_who_may_not(cli: Cli, world: World, wire: str) -> None:
    """The log-on is right; neither the settings nor a shell are for this account."""
    cli.wire = wire
    cli.inventory("EXGW01")
    world.fault("EXGW01:Get:*:fault=5", "EXGW01:Create:*:fault=5")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=21))
    assert stage == "shell"
    assert re.search(r"access denied.*-> .*local administrator", text)
    assert stages(ran)["authentication"][0] == "ok"
    assert stages(ran)["quotas"][0] == "unknown"


@WIRE
def test_nothing_in_clear_text(cli: Cli) -> None:
    entry(cli, cli.lab.hosts["EXGW01"], "encryption = 'never'")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=21))
    assert stage == "sealing"
    assert re.search(r'no message in clear text.*-> Set encryption = "auto"', text)
    assert stages(ran)["inventory"][0] == "warning"


# ------------------------------------------------------------------ limits


@WIRE
def test_limits(cli: Cli, world: World) -> None:
    world.limits("EXGW01", max_envelope_kb=100)
    stage, text = failing(cli("doctor", "EXGW01", code=5))
    assert stage == "quotas"
    assert re.search(r'MaxEnvelopeSizekb is 100, less than 150 .*-> .*MaxEnvelopeSizekb="500"', text)
    world.limits("EXGW01", max_envelope_kb=150, max_shells_per_user=1, idle_timeout_s=10.0)
    verdict, text = stages(cli("doctor", "EXGW01"))["quotas"]
    assert verdict == "warning"
    assert re.search(r"MaxShellsPerUser is 1, .*IdleTimeout is 10000, ", text)


@WIRE
@WIRES
def test_no_shell_left(cli: Cli, world: World, wire: str) -> None:
    cli.wire = wire
    cli.inventory("EXGW01")
    world.fault("EXGW01:Create:*:quota")
    stage, text = failing(cli("doctor", "EXGW01", code=20))
    assert stage == "shell"
    assert re.search(r"too many shells.*-> Left-over shells go", text)


# ------------------------------------------------------------------ PowerShell


@WIRE
@pytest.mark.parametrize(
    ("wire", "fault", "stage", "words", "code"),
    [
        ("psrp", "Create:*:fault=2150858811", "shell", "not enabled.*-> Run Enable-PSRemoting", 20),
        ("winrs", "Command:*:fault=2147942402", "powershell", "powershell.exe was not found.*KB968930", 22),
    ],
)
def test_no_powershell_2(
    cli: Cli, world: World, wire: str, fault: str, stage: str, words: str, code: int
) -> None:
    cli.wire = wire
    cli.inventory("EXGW01")
    world.fault(f"EXGW01:{fault}")
    found, text = failing(cli("doctor", "EXGW01", code=code))
    assert found == stage
    assert re.search(words, text)


@pytest.mark.not_under_wine("records")
@WIRES
def test_constrained_language(cli: Cli, world: World, wire: str) -> None:
    cli.wire = wire
    cli.inventory("EXGW01")
    world.fault("EXGW01:Get-HostFact:*:throw=MethodInvocationNotSupportedInConstrainedLanguage")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=22))
    assert stage == "language"
    assert re.search(r"restricted.*constrained language.*-> .*AppLocker", text)
    assert stages(ran)["powershell"][0] == "unknown"


@pytest.mark.not_under_wine("clock")
def test_a_clock_that_is_off(cli: Cli, world: World) -> None:
    world.client.edit("EXGW01", "set_clock", offset_s=600)
    world._undo.append(lambda: world.client.edit("EXGW01", "set_clock", offset_s=0))
    verdict, text = stages(cli("doctor", "EXGW01"))["clock"]
    assert verdict == "warning"
    assert re.search(r"(10 min 0|9 min 59) s ahead of ours.*5 minutes \(recalled\).*-> .*w32tm", text)


@pytest.mark.not_under_wine("accounts")
def test_no_administrator_and_no_room(cli: Cli, world: World) -> None:
    world.set("EXGW01", "administrator", False)
    world.fault("EXGW01:host:*:disk-full")
    stage, text = failing(ran := cli("doctor", "EXGW01", code=5))
    assert stage == "room"
    assert re.search(r"full: C:\\, D:\\ .*-> Make room", text)
    verdict, text = stages(ran)["rights"]
    assert verdict == "warning"
    assert "net localgroup Administrators" in text


@pytest.mark.not_under_wine("accounts")
def test_the_second_hop(private: Callable[..., tuple[Cli, World]]) -> None:
    spec = HostSpec("EXGW01", ("groupwise",), api=API, api_accounts=(("nwuser", "nw-canary-80"),))
    cli, _ = private(spec)
    cli.secrets.append("nw-canary-80")
    cli.more |= {"NW": "nw-canary-80", "BAD": "bad-canary-81"}
    path = f"variables = {{ groupwise_api = '{API}' }}"
    entry(cli, cli.lab.hosts["EXGW01"], path)
    stage, text = failing(cli("doctor", "EXGW01", code=5))
    assert stage == "second-hop"
    assert re.search(r"not reachable .* own log-on.*-> Set api_credential", text)
    account = "api_credential = {{ environment = '{}', username = 'nwuser' }}"
    entry(cli, cli.lab.hosts["EXGW01"], path, account.format("NW"))
    verdict, text = stages(cli("doctor", "EXGW01"))["second-hop"]
    assert (verdict, text) == ("ok", f"{API} is reachable from the host with api_credential, and not without")
    entry(cli, cli.lab.hosts["EXGW01"], path, account.format("BAD"))
    stage, text = failing(cli("doctor", "EXGW01", code=5))
    assert re.search(r"with api_credential \(.*Logon failure.*-> Check that account", text)


# ------------------------------------------------------------------ trouble on the way


@WIRE
def test_a_busy_service(cli: Cli, world: World) -> None:
    world.fault("EXGW01:any:*:status=503")
    stage, text = failing(cli("doctor", "EXGW01", code=20))
    assert stage == "authentication"
    assert "HTTP 503" in text


@WIRE
@WIRES
@pytest.mark.parametrize("comes_back", [True, False])
def test_the_service_ends_in_the_middle(cli: Cli, world: World, wire: str, comes_back: bool) -> None:
    cli.wire = wire
    cli.inventory("EXGW01")
    world.fault("EXGW01:Command:1:delay=1.5")
    with cli.started("doctor", "EXGW01") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "\tshell\ta shell opened" in line:  # seen as it happens, not at the end
                world.fault("EXGW01:host:*:restart" if comes_back else "EXGW01:host:*:refused")
        code = process.wait(60)
    ran = Ran(("doctor",), code, "".join(lines), "")
    if comes_back:
        assert code == 0, ran.out
        verdict, text = stages(ran)["line"]
        assert verdict == "warning"
        assert re.search(r"had to be asked again: Get-HostFact.*-> See the host's event log", text)
    else:
        assert code == 20, ran.out
        assert failing(ran)[0] == "powershell"
        assert stages(ran)["speed"] == ("skipped", "not looked at: powershell failed")


@WIRE
def test_an_interrupt_leaves_no_shell(cli: Cli, world: World) -> None:
    world.fault("EXGW01:Command:1:delay=2")
    with cli.started("doctor", "EXGW01") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "\tshell\ta shell opened" in line:
                interrupt(process)
        assert process.wait(60) == 130
    assert world.no_shell() == {}
