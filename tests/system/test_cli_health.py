"""`exremote health`: what it finds on the lab's hosts, how it says so, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import API, APIS, HEALTHY, LIVING, NOT_UNDER_WINE, UNPLAYED, Cli, Ran, World

from exremote.lab.site import HostSpec

SICK_API = APIS["EXSICK01"]


def findings(ran: Ran) -> dict[str, dict[str, Any]]:
    """Return the findings of one host's JSON report, by check."""
    return {finding["check"]: finding for finding in ran.json["findings"]}


def test_the_sick_host_is_told_in_full(any_wire: Cli, engine: str) -> None:
    """Stopped service, bad files, empty header, tab in a table: each with evidence, remedy and source."""
    if engine == "powershell" and any_wire.wire == "winrs":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['time']}")
    ran = any_wire("health", "EXSICK01", "--json", code=5)
    found = findings(ran)
    stopped = found["service.running"]
    assert (stopped["verdict"], stopped["evidence"]) == ("critical", "LME-GWISE: Stopped")
    bad = found["groupwise.bad-files"]
    assert bad["verdict"] == "warning"
    assert "3 files" in bad["evidence"]
    assert r"Gwrouter\badfiles\36ED2931.API" in bad["evidence"]
    empty = found["groupwise.api-out-zero-byte"]
    assert empty["verdict"] == "critical"
    assert "1 empty" in empty["evidence"]
    tabs = found["groupwise.table-tabs"]
    assert tabs["verdict"] == "warning"
    assert re.search(r"DxaGwise\\Mapgwise\.tbl: tabs in line 2$", tabs["evidence"])
    for finding in found.values():
        assert finding["verdict"] != "ok"
        assert finding["remedy"], finding
        assert finding["source"], finding
    assert ran.json["exit_code"] == 5
    assert ran.json["hosts"][0]["state"] == "done"


@pytest.mark.not_under_wine("events")
def test_events_of_the_sick_host_are_counted(cli: Cli) -> None:
    found = findings(cli("health", "EXSICK01", "--json", code=5))
    assert "6062: 3 times" in found["groupwise.router-events"]["evidence"]
    assert "8226: 1 time," in found["groupwise.connector-events"]["evidence"]


def test_healthy_hosts_are_well(cli: Cli, engine: str) -> None:
    """Nothing is wrong there; what the engine cannot answer is unknown, and no alarm."""
    ran = cli("health", *HEALTHY, "--json")
    assert {f["check"] for f in ran.json["findings"] if f["verdict"] not in ("info", "unknown")} == UNPLAYED[
        engine
    ]
    assert {h["host"] for h in ran.json["hosts"]} == set(HEALTHY)
    asked = cli("health", "EXGW01", "--json", "--all").json["findings"]
    assert sum(f["verdict"] == "ok" for f in asked) > 20


@pytest.mark.not_under_wine("directory")
def test_a_healthy_host_with_a_directory_has_nothing_unknown(cli: Cli) -> None:
    assert cli("health", "EXNOTES01", "--json").json["findings"] == []


@pytest.mark.not_under_wine("apart")
def test_a_pipe_gets_one_line_a_finding(cli: Cli) -> None:
    ran = cli("health", "EXSICK01", code=5)
    lines = ran.out.splitlines()
    assert lines[-1].endswith(f"{len(lines) - 1} findings")
    for line in lines[:-1]:
        assert re.match(r"EXSICK01\s+(critical|warning|unknown|info)\s+[a-z.-]+\s+\S", line), line
    rows = {row[2]: row[5:] for row in (line.split("\t") for line in lines[:-1])}
    assert rows["groupwise.table-tabs"] == ["groupwise", "Q266693 (5.5)"], "connector and source"
    assert rows["groupwise.api-out-zero-byte"][1].endswith("(inferred)"), "what nobody read says so"
    assert not re.search(r"[\x1b─━│┃]", ran.all)
    assert "EXSICK01: asking" in ran.err


@pytest.mark.not_under_wine("apart")
def test_a_terminal_gets_a_table(cli: Cli, engine: str) -> None:
    master, slave = pty.openpty()
    heard: list[bytes] = []

    def listen() -> None:
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:
                return
            if not data:
                return
            heard.append(data)

    ear = threading.Thread(target=listen, daemon=True)
    ear.start()
    process = subprocess.Popen(
        cli.command("health", "EXSICK01"),
        env={**cli.environment, "COLUMNS": "200", "TERM": "xterm-256color"},
        cwd=cli.folder,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    assert process.wait(60) == 5
    ear.join(5)
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(heard).decode())
    cli.ran.append(Ran(("health",), 5, text, ""))
    assert "Findings" in text
    assert re.search(r"[│┃]\s*verdict", text)
    assert re.search(r"[│┃]\s*connector\s*[│┃]\s*source", text)
    assert "health: all hosts" in text
    assert "EXSICK01: asking" not in text


@pytest.mark.not_under_wine("time")
def test_saved_facts_are_judged_again_without_a_network(cli: Cli, world: World) -> None:
    """The same findings, and neither an inventory nor a password nor a connection is needed for them."""
    live = cli("health", *LIVING, "--json", "--save-facts", "facts", code=5).json["findings"]
    files = sorted((cli.folder / "facts").glob("*.json"))
    assert [f.stem for f in files] == sorted(LIVING)
    before = {host: world.client.counters(host)["connections"] for host in LIVING}
    cli.more = {"EXREMOTE_INVENTORY": "", "EXREMOTE_LAB_PASSWORD": ""}
    options = [arg for file in files for arg in ("--facts", str(file))]
    again = cli("health", *options, "--json", code=5).json["findings"]
    assert {host: world.client.counters(host)["connections"] for host in LIVING} == before

    def order(found: list[dict[str, str]]) -> list[str]:
        return sorted(json.dumps(f, sort_keys=True) for f in found)

    assert order(again) == order(live)


@pytest.mark.not_under_wine("time")
def test_facts_that_are_none_are_refused(cli: Cli) -> None:
    (cli.folder / "no.json").write_text('{"host": 7}')
    for name in ("no.json", "absent.json"):
        ran = cli("health", "--facts", name, code=2)
        assert re.search("holds no recorded facts|no file", ran.err)
        assert "--save-facts" in ran.err


@pytest.mark.not_under_wine("time")
@pytest.mark.parametrize(
    ("host", "fail_on", "code"),
    [
        ("EXGW01", "warning", 0),
        ("EXGW01", "info", 5),
        ("EXNOTES01", "ok", 5),
    ],
)
def test_fail_on_decides_from_where_the_code_is_5(cli: Cli, host: str, fail_on: str, code: int) -> None:
    cli("health", host, "--fail-on", fail_on, code=code)


@pytest.mark.not_under_wine("time")
def test_fail_on_takes_verdicts_only(cli: Cli) -> None:
    ran = cli("health", "EXGW01", "--fail-on", "terrible", code=2)
    assert "--fail-on" in ran.err
    assert "'terrible' is not one of" in ran.err
    assert "Value error" not in ran.err, "the word of a library"


@pytest.mark.not_under_wine("judged")
def test_a_warning_alone_is_bad_news_only_if_asked(cli: Cli, world: World) -> None:
    world.write("EXGW01", r"C:\Program Files\Exchsrvr\Conndata\Gwrouter\badfiles\1.API", b"x")
    cli("health", "EXGW01", code=0)
    assert "groupwise.bad-files" in cli("health", "EXGW01", "--fail-on", "warning", code=5).out


def test_the_probe_writes_reads_and_removes(cli: Cli, world: World) -> None:
    """Nothing of it is left; without the option nothing is written at all."""
    quiet = findings(cli("health", "EXGW01", "--json"))
    assert quiet["api.probe"]["verdict"] == "info"
    found = findings(cli("health", "EXGW01", "--probe", "--all", "--json"))
    assert found["api.probe"]["verdict"] == "ok"
    assert found["api.probe"]["evidence"].startswith("written, read back, removed")
    assert found["api.leftovers"]["evidence"] == "none"
    assert not world.exists("EXGW01", rf"{API}\EXPR0001.TMP")


@pytest.mark.not_under_wine("time")
def test_a_probe_of_an_earlier_run_is_named_then_removed(cli: Cli, world: World) -> None:
    left = rf"{API}\EXPR0007.TMP"
    world.client.edit("EXGW01", "write_file", path=left, data=b"exremote probe\r\n")
    assert world.exists("EXGW01", left)
    found = findings(cli("health", "EXGW01", "--json"))
    assert (found["api.leftovers"]["verdict"], found["api.leftovers"]["evidence"]) == (
        "warning",
        "EXPR0007.TMP",
    )
    assert world.exists("EXGW01", left)
    found = findings(cli("health", "EXGW01", "--probe", "--all", "--json"))
    assert "EXPR0007.TMP (removed now)" in found["api.leftovers"]["evidence"]
    assert not world.exists("EXGW01", left)


@pytest.mark.not_under_wine("disk")
def test_a_probe_that_cannot_write_is_critical(cli: Cli, world: World) -> None:
    extra = {"EXGW01": _with_api(cli, "labadmin", cli.lab.password, "API_PASSWORD")}
    cli.inventory("EXGW01", extra=extra)
    world.fault("EXGW01:host:*:disk-full")
    found = findings(cli("health", "EXGW01", "--probe", "--json", code=5))
    assert found["api.probe"]["verdict"] == "critical"
    assert "not written" in found["api.probe"]["evidence"]
    assert "not enough space" in found["api.probe"]["evidence"]


def _with_api(cli: Cli, user: str, password: str, variable: str, api: str = API) -> str:
    cli.more[variable] = password
    cli.secrets.append(password)
    return (
        f"variables = {{ groupwise_api = '{api}' }}\n"
        f"api_credential = {{ environment = '{variable}', username = '{user}' }}"
    )


@pytest.mark.not_under_wine("accounts")
def test_the_second_hop(private: Callable[..., tuple[Cli, World]]) -> None:
    """Without a credential of its own the directory is unknown, with the remedy; with it all is well."""
    host = HostSpec("EXHOP01", ("groupwise",), api_accounts=(("exchgw", "hop-canary-5511"),))
    cli, _ = private(host)
    plain = f"variables = {{ groupwise_api = '{API}' }}"
    cli.inventory("EXHOP01", extra={"EXHOP01": plain})
    blind = findings(cli("health", "--probe", "--json"))
    assert blind["api.reach"]["verdict"] == "unknown"
    assert "api_credential" in blind["api.reach"]["remedy"]
    cli.inventory("EXHOP01", extra={"EXHOP01": _with_api(cli, "exchgw", "hop-canary-5511", "HOP")})
    found = findings(cli("health", "--probe", "--all", "--json"))
    assert (found["api.reach"]["verdict"], found["api.probe"]["verdict"]) == ("ok", "ok")
    cli.inventory("EXHOP01", extra={"EXHOP01": _with_api(cli, "exchgw", "hop-canary-wrong", "HOP")})
    found = findings(cli("health", "--probe", "--json", code=None))
    assert found["api.reach"]["verdict"] in ("warning", "critical")
    assert "password" in found["api.reach"]["evidence"]


@pytest.mark.not_under_wine("denied")
def test_an_api_directory_that_denies(cli: Cli, world: World) -> None:
    """A directory that may not be listed is no healthy one."""
    world.deny("EXGW01", API)
    ran = cli("health", "EXGW01", "--probe", "--json", code=None)
    found = findings(ran)
    about = [f for name, f in found.items() if name.startswith("api.") and f["verdict"] != "info"]
    assert about, ran.out
    assert all(f["remedy"] for f in about)


@pytest.mark.not_under_wine("clock")
def test_a_wrong_clock_is_told(private: Callable[..., tuple[Cli, World]]) -> None:
    cli, _ = private(HostSpec("EXLATE01", ("calendar",), clock_offset_s=-3600))
    found = findings(cli("health", "--json"))
    assert "3600 s behind ours" in found["host.clock"]["evidence"]


@pytest.mark.not_under_wine("wire")
def test_a_host_that_is_down_stops_no_other(cli: Cli) -> None:
    cli.inventory("EXDOWN01", "EXSICK01", "EXGW01")
    ran = cli("health", "--json", code=3)
    states = {h["host"]: (h["state"], h["exit_code"]) for h in ran.json["hosts"]}
    assert states == {"EXDOWN01": ("unreachable", 20), "EXSICK01": ("done", 0), "EXGW01": ("done", 0)}
    assert "service.running" in findings(ran)
    plain = cli("health", "EXDOWN01", code=20)
    assert re.search(r"EXDOWN01.*no listener on port \d+.*winrm quickconfig", plain.out)


@pytest.mark.not_under_wine("time")
def test_groups_and_tags_choose_hosts(cli: Cli) -> None:
    extra = {
        "EXGW01": f"groups = ['novell']\nvariables = {{ groupwise_api = '{API}' }}",
        "EXNOTES01": "tags = ['vienna']",
    }
    cli.inventory(*LIVING, extra=extra)
    site = cli.folder / "site.toml"
    site.write_text(site.read_text() + "\n[groups.novell]\ntags = ['netware']\n")
    for name, host in (("novell", "EXGW01"), ("tag:netware", "EXGW01"), ("tag:vienna", "EXNOTES01")):
        assert [h["host"] for h in cli("health", name, "--json").json["hosts"]] == [host]


def test_health_leaves_a_journal_and_changes_nothing(cli: Cli, world: World) -> None:
    """A run without a repository leaves its journal in the state folder."""
    cli("health", "EXNOTES01")
    runs = list((cli.folder / "state").rglob("runs/*.jsonl"))
    assert len(runs) == 1
    kinds = [json.loads(line)["kind"] for line in runs[0].read_text().splitlines()]
    assert "judged" in kinds
    assert not cli.repository.exists()


@pytest.mark.not_under_wine("apart")
def test_facts_can_be_kept_nowhere(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    ran = cli("health", "EXNOTES01", "--save-facts", "file/below", code=2)
    assert "cannot be kept" in ran.all
