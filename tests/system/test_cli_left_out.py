"""What a backup leaves out, it leaves out by name: a host that is only checked, a connector of which nobody
can tell whether it is there. And an inventory that nobody could read is a wrong one.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import API, Cli, World


@pytest.mark.not_under_wine("records")
@pytest.mark.parametrize("script", ["Get-ServiceState", "Get-RegistryValue", "Get-HostFact"])
def test_only_a_connector_of_which_nobody_can_tell_is_no_success(cli: Cli, world: World, script: str) -> None:
    """Not even as a part of the work: who left it out in peace would find no snapshot when it is needed."""
    cli.inventory("EXGW01")
    cli.init()
    assert "nothing to do" in cli("backup", "--only", "notes").out
    world.fault(f"EXGW01:{script}:*:throw=ExRemote.Broken")
    ran = cli("backup", "EXGW01", "--only", "notes", code=3)
    assert "incomplete" in ran.out
    assert "nobody can tell whether it is there" in ran.out
    assert "nothing to do" not in ran.out
    assert cli.snapshots() == []


@pytest.mark.not_under_wine("time")
def test_a_host_that_is_only_checked_is_left_out_and_not_even_reached(cli: Cli, world: World) -> None:
    """Named on the command line too; and nobody asks for a secret of its own."""
    nothing = (
        f"backup = []\nvariables = {{ groupwise_api = '{API}' }}\n"
        "credential = { environment = 'NOBODY_SETS_THIS', username = 'u' }"
    )
    cli.inventory("EXGW01", "EXNOTES01", extra={"EXGW01": nothing})
    cli.init()
    before = world.client.counters("EXGW01")["connections"]
    ran = cli("backup", "--json")
    hosts: dict[str, Any] = {host["host"]: host for host in ran.json["hosts"]}
    assert list(hosts) == ["EXGW01", "EXNOTES01"]
    assert (hosts["EXGW01"]["state"], hosts["EXGW01"]["exit_code"]) == ("skipped", 0)
    assert "backup = []" in hosts["EXGW01"]["message"]
    assert hosts["EXNOTES01"]["state"] == "done"
    for options in ((), ("--dry-run",)):
        named = cli("backup", "EXGW01", *options).out
        assert "skipped" in named
        assert "the inventory says backup = [] (host)" in named
    assert {s["host"] for s in cli.snapshots()} == {"EXNOTES01"}
    assert world.client.counters("EXGW01")["connections"] == before
    cli.inventory("EXGW01", extra={"EXGW01": nothing.partition("\ncred")[0]})
    cli("health", "EXGW01")
    assert world.client.counters("EXGW01")["connections"] > before


def test_what_is_only_checked_hides_no_failure(cli: Cli) -> None:
    cli.inventory("EXGW01", "EXDOWN01", extra={"EXGW01": "backup = []"})
    cli.init()
    states = {h["host"]: h["state"] for h in cli("backup", "--json", code=3).json["hosts"]}
    assert states == {"EXGW01": "skipped", "EXDOWN01": "unreachable"}
    newest = max((cli.repository / "runs").glob("*.jsonl"), key=lambda path: path.name)
    assert json.loads(newest.read_text().splitlines()[-1])["outcome"] == "3"


@pytest.mark.not_under_wine("local")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("[defaults.retry]\nattempts = " + "9" * 5000, ":2: expected TOML: a number is too long"),
        (
            '[defaults]\ncredential = { environment = "E, username = "a" }\n\n[hosts.A]\naddress = "a"',
            ':2: expected TOML: a text that begins with " does not end. Write " behind the text, too, in the',
        ),
        ('x = 1\ny = """a\n\n[hosts.A]\naddress = \'a\'', ':2: expected TOML: a text that begins with """'),
        (
            '[hosts.A]\naddress = "a"\nx = "C:\\x\\"',
            ':3: expected TOML: a text that begins with " does not end. Use single',
        ),
        (
            "[defaults]\ncredential = { environment = 'E', username = '\\' }\n[hosts.A]\naddress = 'a'",
            ":2: defaults.credential: expected a name in the username",
        ),
    ],
    ids=["brackets", "number", "quote", "three quotes", "backslash", "nobody"],
)
def test_an_inventory_that_nobody_could_read_is_a_wrong_one(cli: Cli, text: str, words: str) -> None:
    (cli.folder / "evil.toml").write_text(text)
    assert words in cli("inventory", "check", "evil.toml", code=2).err
    assert words in cli("health", "-i", "evil.toml", "--json", code=2).json["error"]
