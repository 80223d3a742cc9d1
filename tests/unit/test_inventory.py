"""The inventory: what is in force for a host, where it came from, and errors that say where and what."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.errors import InventoryError, UsageError
from exremote.inventory import (
    Deadlines,
    Host,
    Inventory,
    RetryPolicy,
    advice,
    key_lines,
    name_problem,
)

ROOT = Path(__file__).parents[2]
CANARY = "cAnArY-7f3e9"
KNOWN = ("notes", "groupwise", "calendar")
# Two lines, so that what a test says begins in line 3.
LOGIN = "[defaults]\ncredential = { keyring = 'k', username = 'u' }\n"


def load(tmp_path: Path, text: str) -> Inventory:
    path = tmp_path / "site.toml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return Inventory.load(path, KNOWN)


def one(tmp_path: Path, settings: str) -> Host:
    return load(tmp_path, LOGIN + "[hosts.A]\n" + settings).hosts["A"]


def silent(error: BaseException) -> bool:
    """No text of the error, nor of what it came from, has the canary."""
    texts = ["".join(traceback.format_exception(error)), repr(error)]
    context = error.__context__
    while context is not None:
        texts += [str(context), repr(context)]
        context = context.__context__
    return not any(CANARY in text for text in texts)


# --- errors: (what stands from line 3 on, line, key, part of the message)

HOST = "[hosts.A]\n"
ACCEPT = "[[accept]]\ncheck = 'host.clock'\nreason = 'it is so'\n"
WRONG: list[tuple[str, int, str, str]] = [
    # types and ranges
    (HOST + "port = '5985'", 4, "hosts.A.port", "expected a whole number from 1 to 65535"),
    (HOST + "port = 0", 4, "hosts.A.port", "expected a whole number from 1 to 65535"),
    (HOST + "port = true", 4, "hosts.A.port", "expected a whole number"),
    (HOST + "scheme = 'ftp'", 4, "hosts.A.scheme", 'expected "http" or "https"'),
    (HOST + "auth = 'negotiat'", 4, "hosts.A.auth", '"negotiate", "kerberos", "ntlm", "credssp"'),
    (HOST + "encryption = true", 4, "hosts.A.encryption", '"auto", "always" or "never"'),
    (HOST + "wire = 'ssh'", 4, "hosts.A.wire", 'expected "psrp" or "winrs"'),
    (HOST + "path = '/wsman'", 4, "hosts.A.path", "no leading slash"),
    (HOST + "verify = 3", 4, "hosts.A.verify", "true, false (without quotes), or the path of a PEM file"),
    (HOST + "verify = 'false'", 4, "hosts.A.verify", "true, false (without quotes)"),
    (HOST + "probe = 'yes'", 4, "hosts.A.probe", "expected true or false"),
    (HOST + "connectors = 'notes'", 4, "hosts.A.connectors", "expected a list of names"),
    (HOST + "tags = ['a', 3]", 4, "hosts.A.tags", "expected a list of names"),
    (HOST + "tags = ['tag:a']", 4, "hosts.A.tags", "expected a name of 1 to 63"),
    (
        HOST + "backup = ['everything']",
        4,
        "hosts.A.backup",
        'expected of "connectors", "undelivered-mail", "stopped-copy", "systemstate", "storagegroups"',
    ),
    (HOST + "ntbackup = { start = 'at' }", 4, "hosts.A.ntbackup.start", 'expected "wmi", "direct", "system"'),
    (
        HOST + "ntbackup = { folder = 'exremote' }",
        4,
        "hosts.A.ntbackup.folder",
        "expected the full path of a folder",
    ),
    (HOST + "drill_folder = 'D:\\\\drill'", 4, "hosts.A.drill_folder", "single backslashes"),
    (HOST + "ntbackup = { folder = 'D:\\a & b' }", 4, "hosts.A.ntbackup.folder", "in plain letters"),
    (HOST + "ntbackup = { windows_set = ['C:'] }", 4, "hosts.A.ntbackup.windows_set", "a list of drives"),
    (
        HOST + "ntbackup = { storage_groups = ['a\\\\b'] }",
        4,
        "hosts.A.ntbackup.storage_groups",
        "a list of names of storage groups, without a backslash",
    ),
    (HOST + "variables = { a = 3 }", 4, "hosts.A.variables.a", "expected a text between quotes"),
    (HOST + "[hosts.A.variables]\n'B C' = 'x'", 5, 'hosts.A.variables."B C"', "lower case letters"),
    (
        HOST + 'variables = { a = "D:\\temp" }',
        4,
        "hosts.A.variables.a",
        "Windows paths between single quotes",
    ),
    (HOST + "[hosts.A.deadlines]\nread_s = 60\nscript_s = -1", 6, "hosts.A.deadlines.script_s", "above 0"),
    (HOST + "deadlines = { operation_s = 61 }", 4, "hosts.A.deadlines.operation_s", "at most 60"),
    (HOST + "deadlines = { host_s = nan }", 4, "hosts.A.deadlines.host_s", "a number of seconds"),
    (HOST + "deadlines = { read_s = 20 }", 4, "hosts.A.deadlines.read_s", "longer than operation_s"),
    (
        HOST + "deadlines = { operation_s = 30 }",
        4,
        "hosts.A.deadlines.operation_s",
        "longer than operation_s",
    ),
    (HOST + "retry.attempts = 0", 4, "hosts.A.retry.attempts", "expected a whole number from 1 to 100"),
    (HOST + "retry = 5", 4, "hosts.A.retry", "expected a table"),
    ("[hosts]\nA = 5", 4, "hosts.A", "expected a table"),
    ("[hosts.A]\naddress = 'http://a:5985'", 4, "hosts.A.address", "without scheme and port"),
    # findings that are accepted: the line is that of the table that is wrong
    (HOST + ACCEPT + "until = 2026-12-31\n[[accept]]\ncheck = 'a'", 8, "accept.1.reason", "a reason, for"),
    (HOST + ACCEPT + "until = '2026-12-31'", 7, "accept.0.until", "such as 2026-12-31 (without quotes)"),
    (HOST + ACCEPT + "until = 2026-12-31\nhost = ['A']", 8, "accept.0.host", "Did you mean hosts?"),
    (HOST + ACCEPT + "until = 2026-12-31\nhosts = ['B']", 8, "accept.0.hosts", "no host, group or tag B"),
    (
        HOST + ACCEPT + "until = 2026-12-31\nconnectors = ['note']",
        8,
        "accept.0.connectors",
        "groupwise, notes",
    ),
    (HOST + "[accept]", 4, "accept", "expected tables [[accept]]"),
    # unknown keys, with the nearest known one
    (HOST + "prot = 5985", 4, "hosts.A.prot", "not known. Did you mean port"),
    (HOST + "zzz = 1", 4, "hosts.A.zzz", "Known here: port, scheme"),
    (HOST + "deadlines = { script = 5 }", 4, "hosts.A.deadlines.script", "Did you mean script_s?"),
    (HOST + "[hosts.A.retry]\nattempt = 5", 5, "hosts.A.retry.attempt", "Did you mean attempts?"),
    (HOST + "credential = { keyrin = 'k' }", 4, "hosts.A.credential.keyrin", "Did you mean keyring?"),
    (HOST + "[host.B]", 4, "host", "Did you mean hosts?"),
    (HOST + "[gateways.G]\ntags = []", 5, "gateways.G.tags", "not known"),
    # names
    (HOST + "groups = ['exchnge']\n[groups.exchange]", 4, "hosts.A.groups", "Did you mean exchange?"),
    (HOST + "via = 'GW02'\n[gateways.GW01]", 4, "hosts.A.via", "Did you mean GW01?"),
    (HOST + "connectors = ['notes', 'groupwize']", 4, "hosts.A.connectors", "Did you mean groupwise?"),
    (HOST + "[hosts.a]", 4, "hosts.a", "differs from hosts.A in more than case"),
    (HOST + "[groups.a]", 3, "hosts.A", "differs from groups.a in more than case"),
    (HOST + "[gateways.A]", 4, "gateways.A", "differs from hosts.A in more than case"),
    ("[hosts.'../x']", 3, 'hosts."../x"', "expected a name of 1 to 63"),
    ("[hosts.com1]", 3, "hosts.com1", "reserves this one for a device"),
    ("[hosts.'NUL.example.com']", 3, 'hosts."NUL.example.com"', "reserves"),
    ("[hosts.'A.']", 3, 'hosts."A."', "does not end in a dot"),
    ("[groups.G]", 0, "hosts", "expected at least one table [hosts.NAME]"),
    # credentials
    (HOST + "credential = 'secret'", 4, "hosts.A.credential", "expected a table such as { environment ="),
    (
        HOST + "credential = { username = 'u' }",
        4,
        "hosts.A.credential",
        "expected exactly one of environment",
    ),
    (HOST + "credential = { prompt = false }", 4, "hosts.A.credential.prompt", "expected true"),
    (
        HOST + "api_credential = { prompt = true }",
        4,
        "hosts.A.api_credential",
        "expected username beside prompt",
    ),
    (HOST + "password = 'x'", 4, "hosts.A.password", "a password must not stand in the inventory"),
    (HOST + "Admin_Password = 'x'", 4, "hosts.A.Admin_Password", "refer to the new one: credential ="),
    (HOST + "variables = { pwd = 'x' }", 4, "hosts.A.variables.pwd", "a password must not stand"),
    (
        HOST + "credential = { keyring = 'k', password = 'x' }",
        4,
        "hosts.A.credential.password",
        "must not stand",
    ),
    # settings that contradict each other
    (HOST + "auth = 'basic'", 4, "hosts.A.auth", "basic over http sends the password readable"),
    (HOST + "auth = 'basic'\nencryption = 'always'", 5, "hosts.A.encryption", "has no message encryption"),
    (HOST + "auth = 'certificate'", 4, "hosts.A.auth", 'expected scheme = "https" for A'),
    (HOST + "scheme = 'https'\nauth = 'certificate'", 5, "hosts.A.auth", 'expected certificate = "FILE.pem"'),
    (
        HOST + "scheme = 'https'\nauth = 'certificate'\ncertificate = 'c.pem'",
        5,
        "hosts.A.auth",
        'expected certificate_key = "FILE.pem"',
    ),
    (
        HOST + "auth = 'kerberos'\naddress = '10.0.0.1'",
        5,
        "hosts.A.address",
        "does not work with IP addresses",
    ),
    (
        HOST + "auth = 'kerberos'\naddress = 'fe80::1'",
        5,
        "hosts.A.address",
        "does not work with IP addresses",
    ),
    ("[gateways.G]\nauth = 'basic'\n" + HOST, 4, "gateways.G.auth", "basic over http"),
    # said by a group, wrong for the host
    ("[groups.g]\nauth = 'basic'\n" + HOST + "groups = ['g']", 4, "groups.g.auth", 'scheme = "https" for A'),
    # syntax
    (HOST + "port = = 3", 4, "", "expected TOML: Invalid value"),
    (HOST + "port = 3\nport = 4", 5, "", "expected TOML: Cannot overwrite a value"),
]


@pytest.mark.parametrize(("text", "line", "key", "message"), WRONG)
def test_an_error_names_file_line_key_and_what_was_expected(
    tmp_path: Path, text: str, line: int, key: str, message: str
) -> None:
    """Whatever is wrong in the file: where it is, and what should be there."""
    with pytest.raises(InventoryError) as caught:
        load(tmp_path, LOGIN + text)
    error = caught.value
    assert error.key == key
    assert error.line == (line or None)
    assert message in error.text
    place = str(tmp_path / "site.toml") + (f":{line}" if line else "")
    assert error.text.startswith(f"{place}: ")
    assert error.exit_code == 2


def test_the_top_level_and_the_defaults_have_lines_too(tmp_path: Path) -> None:
    """Keys outside of hosts are found as well."""
    for text, line, key in [
        ("parallel = 0\n[hosts.A]", 1, "parallel"),
        ("\nrepository = 3\n[hosts.A]", 2, "repository"),
        ("repo = 'x'\n[hosts.A]", 1, "repo"),
        ("[defaults]\n\npassword = 'x'\n[hosts.A]", 3, "defaults.password"),
        ("[defaults]\nport = 'x'\n[hosts.A]", 2, "defaults.port"),
        ("[[hosts]]\nname = 'A'", 1, "hosts"),
        ("[hosts.A]", 1, "hosts.A"),  # no credential anywhere
    ]:
        with pytest.raises(InventoryError) as caught:
            load(tmp_path, text)
        assert (caught.value.line, caught.value.key) == (line, key)


def test_several_errors_are_told_at_once_the_first_line_first(tmp_path: Path) -> None:
    """One run shows all that the schema finds."""
    with pytest.raises(InventoryError) as caught:
        load(tmp_path, LOGIN + HOST + "port = 'x'\nwire = 3\nfoo = 1")
    assert caught.value.key == "hosts.A.port"
    also = 'line 5: hosts.A.wire: expected "psrp" or "winrs"; line 6: hosts.A.foo: this key is not known.'
    assert f"Also wrong: {also}" in caught.value.text


def test_a_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8: InventoryError with the file's name."""
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    for name, message in [
        ("none.toml", "No such file"),
        (".", "cannot be read"),
        ("latin.toml", "expected UTF-8"),
    ]:
        with pytest.raises(InventoryError, match=message) as caught:
            Inventory.load(tmp_path / name)
        assert str(tmp_path) in str(caught.value)


DEEP = "x = " + "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (DEEP, None, "nested too deep"),
        (".".join(["a"] * 3000) + " = 1", None, "nested too deep"),
        ("parallel = 4\n[defaults.retry]\nattempts = " + "9" * 5000, 3, "a number is too long"),
        ("[defaults.retry]\nattempts = 0x" + "f" * 5000, 2, "a whole number from 1 to 100"),
    ],
    ids=["brackets", "dots", "number", "hexadecimal"],
)
def test_what_python_refuses_to_read_is_an_error_of_ours(
    tmp_path: Path, text: str, line: int | None, words: str
) -> None:
    with pytest.raises(InventoryError, match=words) as caught:
        load(tmp_path, text)
    assert (caught.value.exit_code, caught.value.line) == (2, line)
    assert "999" not in caught.value.text


def test_notepad_may_write_the_file(tmp_path: Path) -> None:
    """A byte order mark and CRLF are taken; lines still count."""
    path = tmp_path / "site.toml"
    path.write_bytes(("\ufeff" + LOGIN + "[hosts.A]\nport = 6000\n").replace("\n", "\r\n").encode())
    assert Inventory.load(path).hosts["A"].port == 6000
    path.write_bytes(("\ufeff" + LOGIN + "[hosts.A]\nport = 'x'\n").replace("\n", "\r\n").encode())
    with pytest.raises(InventoryError) as caught:
        Inventory.load(path)
    assert caught.value.line == 4


@pytest.mark.parametrize(
    "text",
    [
        f"password = '{CANARY}'",
        f"credential = '{CANARY}'",
        f"credential = ['{CANARY}']",
        f"credential = {{ keyring = 'k', username = 'u', password = '{CANARY}' }}",
        f"credential = {{ prompt = '{CANARY}', username = 'u' }}",
        f"credential = {{ environment = '{CANARY}', username = 'u' }}",
        f"credential = {{ file = 3, keyring = '{CANARY}' }}",
        f"auth = '{CANARY}'",
        f"port = '{CANARY}'",
        f"verify = ['{CANARY}']",
        f"unknown = '{CANARY}'",
        f"variables = {{ passwd = '{CANARY}' }}",
        f"variables = {{ a = ['{CANARY}'] }}",
        f'variables = {{ a = "{CANARY}\\u0000" }}',
        f"address = '{CANARY}:{CANARY}'",
        f"deadlines = {{ read_s = '{CANARY}' }}",
        f"port = '{CANARY}",
        f"port = {CANARY}",
    ],
)
def test_no_error_quotes_a_value(tmp_path: Path, text: str) -> None:
    """A password on the wrong line stays unsaid: message, traceback, and what pydantic said."""
    with pytest.raises(InventoryError) as caught:
        load(tmp_path, LOGIN + HOST + text)
    assert silent(caught.value)


# --- what is in force

LAYERS = """
repository = "../backups"
parallel = 7
[defaults]
credential = { environment = "PW", username = "u" }
auth = "ntlm"
tags = ["site"]
[defaults.deadlines]
connect_s = 11
script_s = 100
[defaults.variables]
notes_ini = 'C:\\notes.ini'
color = "defaults"
[groups.one]
auth = "credssp"
wire = "winrs"
tags = ["x", "y"]
deadlines = { script_s = 200 }
variables = { color = "one", size = "one" }
[groups.two]
wire = "psrp"
scheme = "https"
retry = { attempts = 9 }
variables = { color = "two", weight = "two" }
tags = ["z"]
[groups.empty]
[hosts.A]
address = "a.example.com"
groups = ["one", "two"]
tags = ["y", "own"]
deadlines.read_s = 44
[hosts.A.variables]
size = "host"
[hosts.B]
groups = ["TWO", "one"]
auth = "negotiate"
via = "g"
[hosts.C]
connectors = []
backup = []
[gateways.G]
address = "g.example.com"
credential = { file = "~/g.credential" }
"""


def test_host_wins_over_groups_in_order_over_defaults_over_built_in(tmp_path: Path) -> None:
    """Each key by itself, tables sub-key by sub-key, and each with its origin."""
    host = load(tmp_path, LAYERS).hosts["A"]
    expected = {
        "address": ("a.example.com", "host"),
        "auth": ("credssp", "group one"),
        "wire": ("winrs", "group one"),
        "scheme": ("https", "group two"),
        "port": (5986, "built in"),
        "encryption": ("auto", "built in"),
        "verify": (True, "built in"),
        "credential": ("environment variable PW, user u", "defaults"),
        "deadlines.connect_s": (11.0, "defaults"),
        "deadlines.script_s": (200.0, "group one"),
        "deadlines.read_s": (44.0, "host"),
        "deadlines.host_s": (14400.0, "built in"),
        "retry.attempts": (9, "group two"),
        "retry.total_s": (300.0, "built in"),
        "variables.color": ("one", "group one"),
        "variables.size": ("host", "host"),
        "variables.weight": ("two", "group two"),
        "variables.notes_ini": (r"C:\notes.ini", "defaults"),
        "groups": (("one", "two"), "host"),
        "connectors": (None, "built in"),
        "backup": (("connectors",), "built in"),
        "probe": (False, "built in"),
        "via": (None, "built in"),
    }
    described = {key: (value, origin) for key, value, origin in load(tmp_path, LAYERS).describe(host)}
    assert {key: described[key] for key in expected} == expected
    assert host.deadlines == Deadlines(connect_s=11, script_s=200, read_s=44)
    assert host.retry == RetryPolicy(attempts=9)
    assert host.origins["variables.weight"] == "group two"


def test_tags_add_up(tmp_path: Path) -> None:
    """A tag of a group is not lost because the host has one of its own."""
    host = load(tmp_path, LAYERS).hosts["A"]
    assert host.tags == ("y", "own", "x", "z", "site")
    assert host.origins["tags"] == "host, group one, group two, defaults"


def test_the_order_of_groups_is_the_hosts(tmp_path: Path) -> None:
    """Another order, another winner; names of groups and gateways are found in any case."""
    host = load(tmp_path, LAYERS).hosts["B"]
    assert (host.groups, host.variables["color"], host.wire) == (("two", "one"), "two", "psrp")
    assert host.address == "B"
    assert host.origins["address"] == "built in"


def test_a_gateway_takes_the_defaults_and_keeps_its_own_credential(tmp_path: Path) -> None:
    """`via` becomes the gateway itself; the host's own credential stays the host's."""
    inventory = load(tmp_path, LAYERS)
    host = inventory.hosts["B"]
    assert host.gateway is inventory.gateways["G"]
    assert host.gateway.auth == "ntlm"
    assert host.gateway.credential.kind == "file"
    assert host.gateway.credential.reference == str(Path.home() / "g.credential")
    assert host.credential.kind == "environment"
    described = {key: (value, origin) for key, value, origin in inventory.describe(host)}
    assert described["via"] == ("G", "host")
    assert described["gateway.address"] == ("g.example.com", "gateway")
    assert described["gateway.auth"] == ("ntlm", "defaults")


def test_a_host_takes_back_the_gateway_of_its_group(tmp_path: Path) -> None:
    """`via = ""` means directly."""
    text = "[groups.g]\nvia = 'GW'\n[gateways.GW]\n[hosts.A]\ngroups = ['g']\nvia = ''\n"
    text += "[hosts.B]\ngroups = ['g']"
    hosts = load(tmp_path, LOGIN + text).hosts
    assert hosts["A"].gateway is None
    assert hosts["B"].gateway is not None


def test_behind_a_gateway_the_listeners_rules_are_the_gateways(tmp_path: Path) -> None:
    """No WinRM goes to the host itself, so an IP address and kerberos do not meet."""
    text = "auth = 'kerberos'\naddress = '10.0.0.1'\nvia = 'GW'\n[gateways.GW]"
    assert one(tmp_path, text).address == "10.0.0.1"


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        "LocalHost.",
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "gw",
        "GW01",
        "gw01.example.com.",
        "10.0.0.9",
    ],
)
@pytest.mark.parametrize("key", ["address", "recover_address"])
def test_a_gateway_is_not_taken_for_the_host_behind_it(tmp_path: Path, key: str, address: str) -> None:
    """It would be stopped, restored and cleaned in its place: no address may name the gateway itself."""
    gateway = "10.0.0.9" if address == "10.0.0.9" else "gw01.example.com"
    text = f"{LOGIN}[hosts.A]\nvia = 'GW'\n{key} = '{address}'\n[gateways.GW]\naddress = '{gateway}'\n"
    with pytest.raises(InventoryError, match="GW itself"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("address", "problem"),
    [("fe80::1", "no share's name"), ("127.1", "whole IPv4"), ("0x7f000001", "whole IPv4")],
)
def test_what_is_no_servers_name_in_a_unc_path(tmp_path: Path, address: str, problem: str) -> None:
    with pytest.raises(InventoryError, match=problem):
        load(tmp_path, f"{LOGIN}[hosts.A]\nvia = 'GW'\naddress = '{address}'\n[gateways.GW]\n")


@pytest.mark.parametrize(
    ("more", "told"), [("", True), ("second_hop = 'delegated'", False), ("wire = 'psrp'", False)]
)
def test_passwords_of_a_second_hop_that_travel_readable_are_said(
    tmp_path: Path, more: str, told: bool
) -> None:
    """PSRP has a key of its own for them; WinRS has none."""
    wire = "" if "wire" in more else "wire = 'winrs'"
    gateway = f"[gateways.GW]\nauth = 'ntlm'\nencryption = 'never'\n{wire}\n{more}\n"
    warnings = load(tmp_path, f"{LOGIN}[hosts.A]\nvia = 'GW'\n{gateway}").warnings
    assert any("passwords of the hosts behind it are readable" in one for one in warnings) is told


def test_a_name_in_another_domain_is_another_machine(tmp_path: Path) -> None:
    text = f"{LOGIN}[hosts.A]\nvia = 'GW'\naddress = 'mail.b.com'\n[gateways.GW]\naddress = 'mail.a.com'\n"
    assert load(tmp_path, text).hosts["A"].address == "mail.b.com"


def test_nothing_said_is_not_the_same_as_nothing(tmp_path: Path) -> None:
    """An empty list of connectors is none, no list is `find out`."""
    hosts = load(tmp_path, LAYERS).hosts
    assert hosts["C"].connectors == ()
    assert hosts["C"].backup == ()
    assert hosts["B"].connectors is None
    assert hosts["B"].backup == ("connectors",)


def test_the_built_in_settings_are_those_of_the_class(tmp_path: Path) -> None:
    """A host of which nothing is said equals a Host made by hand."""
    host = one(tmp_path, "")
    by_hand = Host(name="A", address="A", credential=host.credential, origins=host.origins)
    assert host == by_hand
    assert (host.port, host.scheme, host.auth, host.wire) == (5985, "http", "negotiate", "psrp")
    assert hash(host) == hash(by_hand)


def test_paths_begin_beside_the_file(tmp_path: Path) -> None:
    """Relative paths do not depend on where exremote is started."""
    inventory = load(tmp_path, LAYERS)
    assert inventory.repository == tmp_path.parent / "backups"
    assert inventory.parallel == 7
    assert load(tmp_path, LOGIN + HOST).repository is None
    assert load(tmp_path, LOGIN + HOST).parallel == 4
    (tmp_path / "ca.pem").touch()
    assert one(tmp_path, "scheme = 'https'\nverify = 'ca.pem'").verify == tmp_path / "ca.pem"


def test_basic_and_certificate_where_they_are_right(tmp_path: Path) -> None:
    """Basic over https, or over http if that is said; certificate without any credential."""
    assert one(tmp_path, "auth = 'basic'\nscheme = 'https'").encryption == "auto"
    assert one(tmp_path, "auth = 'basic'\nencryption = 'never'").encryption == "never"
    text = (
        "[hosts.A]\nscheme = 'https'\nauth = 'certificate'\ncertificate = 'c.pem'\ncertificate_key = 'k.pem'"
    )
    host = load(tmp_path, text).hosts["A"]
    assert host.credential.kind == "none"
    assert host.certificate == tmp_path / "c.pem"
    assert host.certificate_key == tmp_path / "k.pem"


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ("verify = false", "A: verify (host): the TLS certificate is not checked"),
        ("encryption = 'never'", "A: encryption (host): all data is readable"),
        (
            "auth = 'basic'\nencryption = 'never'",
            "A: encryption (host): the password and all data are readable",
        ),
        ("port = 5986", "A: port (host): 5986 is not the usual port of http"),
    ],
)
def test_what_is_allowed_but_dangerous_is_warned_of(tmp_path: Path, settings: str, warning: str) -> None:
    """The warning names host, key and who said so."""
    warnings = load(tmp_path, LOGIN + HOST + settings).warnings
    assert any(each.startswith(warning) for each in warnings), warnings


@pytest.mark.parametrize(
    ("settings", "line", "key", "problem"),
    [
        ("scheme = 'https'\nverify = 'no.pem'", 5, "verify", "there is no file"),
        ("scheme = 'https'\nverify = 'empty.pem'", 5, "verify", "holds no certificate"),
        (
            "scheme = 'https'\nauth = 'certificate'\ncertificate = 'c.pem'\ncertificate_key = 'k.pem'",
            6,
            "certificate",
            "there is no file",
        ),
    ],
)
def test_a_host_that_cannot_be_asked_does_not_spoil_the_file(
    tmp_path: Path, settings: str, line: int, key: str, problem: str
) -> None:
    """The others can be asked: the error waits at the host, with file, line and key."""
    (tmp_path / "empty.pem").touch()
    tail = "\n[hosts.B]\n[gateways.GW]\n"
    hosts = load(tmp_path, LOGIN + HOST + settings + tail).hosts
    error = hosts["A"].unusable
    assert error is not None
    assert (error.line, error.key) == (line, f"hosts.A.{key}")
    assert problem in error.message
    assert error.remedy
    assert hosts["B"].unusable is None
    assert load(tmp_path, LOGIN + HOST + "scheme = 'http'\nverify = 'no.pem'").hosts["A"].unusable is None


def test_nothing_dangerous_no_warning(tmp_path: Path) -> None:
    """Silence means that there is nothing to say."""
    assert load(tmp_path, LAYERS).warnings == ()


def test_what_is_shown_is_json_and_has_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inventory show` prints references, even where the secret can be had."""
    monkeypatch.setenv("PW", CANARY)
    inventory = load(tmp_path, LAYERS)
    for host in inventory.hosts.values():
        assert host.credential.resolve().password == CANARY
        shown = json.dumps(inventory.to_json(host))
        assert CANARY not in shown + repr(host) + repr(inventory)
        assert "environment variable PW" in shown
        assert all(origin for _, _, origin in inventory.describe(host))


# --- selection


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["A", "B", "C"]),
        (["B", "A"], ["B", "A"]),
        (["b"], ["B"]),
        (["one"], ["A", "B"]),
        (["C", "ONE", "A"], ["C", "A", "B"]),
        (["tag:own"], ["A"]),
        (["TAG:Site"], ["A", "B", "C"]),
        (["tag:z", "C"], ["A", "B", "C"]),
    ],
)
def test_selection(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    """Hosts, groups and tags in any case, each host once, in the order asked for."""
    assert [host.name for host in load(tmp_path, LAYERS).select(names)] == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onee", "Did you mean one?"),
        ("tag:ownn", "Did you mean tag:own"),
        ("qqqqqq", "inventory show"),
        ("own", "no host, group or tag own"),
        ("empty", "No host is in the group empty"),
        ("G", "no host, group or tag G"),
    ],
)
def test_a_name_that_fits_no_host_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """A typing mistake never means `no host`, and so never `all done`."""
    with pytest.raises(UsageError, match=re.escape(message)):
        load(tmp_path, LAYERS).select([name])


# --- names


@given(st.text(max_size=70))
def test_a_name_that_is_accepted_is_a_safe_folder_name(name: str) -> None:
    """Accepted: one plain path component, on Windows and on Linux, that means itself."""
    if name_problem(name):
        return
    assert name.isascii()
    assert 1 <= len(name) <= 63
    assert not set(name) & set('<>:"/\\|?* \t\n\0')
    assert not name.endswith((".", " "))
    assert not name.startswith(".")
    assert Path(name).name == name
    assert name.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", *(f"COM{n}" for n in range(10))}


@given(st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,60}[A-Za-z0-9])?", fullmatch=True))
def test_usual_names_are_accepted(name: str) -> None:
    """Letters, digits, hyphens and underscores make a name, devices apart."""
    device = re.fullmatch(r"(?i)con|prn|aux|nul|(com|lpt)[0-9]", name)
    assert bool(name_problem(name)) == bool(device)


@given(
    st.sampled_from(["con", "PRN", "Aux", "nul", "com1", "LPT9", "COM0"]),
    st.sampled_from(["", ".txt", ".example.com"]),
)
def test_windows_devices_are_refused(device: str, rest: str) -> None:
    """With and without something behind a dot."""
    assert name_problem(device + rest)


# --- lines

TRICKY = '''\
# [no.table]
"quoted.key" = 1            # a = 2
'single' = "x # y = [z]"
a.b."c d" = [
  1, # [x]
  { inner = { deep = 1 }, other = [[1], [2]] }, "]", '}',
]
text = """
[not.a.table]
k = "quoted \\""" still"
"""
literal = \'\'\'
k = 1
\'\'\'
date = 1979-05-27 07:32:00
number = 6.02e+23
[ spaced . "table" ]   # comment
z = true
[[array]]
m = {}
[[array]]
n = { "p q" = 1, r.s = 2 }
o = []
'''


def test_the_line_of_each_key_is_found() -> None:
    """Quotes, dots, arrays over lines, inline tables, texts over lines, comments that look like keys."""
    tomllib.loads(TRICKY)
    assert key_lines(TRICKY) == {
        ("quoted.key",): 2,
        ("single",): 3,
        ("a",): 4,
        ("a", "b"): 4,
        ("a", "b", "c d"): 4,
        ("a", "b", "c d", "inner"): 6,
        ("a", "b", "c d", "inner", "deep"): 6,
        ("a", "b", "c d", "other"): 6,
        ("text",): 8,
        ("literal",): 12,
        ("date",): 15,
        ("number",): 16,
        ("spaced",): 17,
        ("spaced", "table"): 17,
        ("spaced", "table", "z"): 18,
        ("array",): 19,
        ("array", "0"): 19,
        ("array", "0", "m"): 20,
        ("array", "1"): 21,
        ("array", "1", "n"): 22,
        ("array", "1", "n", "p q"): 22,
        ("array", "1", "n", "r"): 22,
        ("array", "1", "n", "r", "s"): 22,
        ("array", "1", "o"): 23,
    }


# --- cures and advice


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ('repository = "C:\\exremote\\repo"\n', "single quotes"),
        ('[defaults]\ncredential = { prompt = true, username = "DOM\\svc" }\n', "single quotes"),
        ("[hosts.ex01.example.com]\naddress = 'a'\n", '[hosts."ex01.example.com"]'),
        ("[hosts.A]\n[defaults]\nread_s = 5\n", "deadlines = { read_s = ... }"),
        ("[hosts.A]\nattempts = 5\n", "retry = { attempts = ... }"),
        (
            "[hosts.EX1]\nport = 1\n\n[hosts.EX2]\n[hosts.'EX1']\nport = 2\n",
            "hosts.EX1 stands twice (lines 1 and 5)",
        ),
        ("[hosts.EX1]\nport = 1\nport = 2\n", "stands twice"),
    ],
)
def test_an_error_comes_with_its_cure(tmp_path: Path, text: str, cure: str) -> None:
    with pytest.raises(InventoryError) as caught:
        load(tmp_path, text)
    assert cure in caught.value.text


def test_advice_about_what_is_right_and_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not set, a file that is not there or not private, a name that nothing reads."""
    monkeypatch.delenv("NOT_SET", raising=False)
    monkeypatch.setenv("IS_SET", CANARY)
    (tmp_path / "open").write_text(f"username=u\npassword={CANARY}\n", encoding="utf-8")
    (tmp_path / "open").chmod(0o644)
    site = load(
        tmp_path,
        "[defaults]\ncredential = { environment = 'NOT_SET', username = 'u' }\n"
        "[hosts.A]\nvariables = { groupwise_ap = 'x', notes_ini = 'y' }\n[hosts.B]\n"
        "[hosts.C]\ncredential = { environment = 'IS_SET', username = 'u' }\n"
        "api_credential = { file = 'absent' }\n"
        "[hosts.D]\ncredential = { file = 'open' }\n",
    )
    found = advice(site, ["groupwise_api", "notes_ini"])
    assert len(found) == 4
    assert found[0] == "A, B: credential: the environment variable NOT_SET is not set, or empty."
    assert found[1] == "A: nothing reads the variable groupwise_ap. Did you mean groupwise_api?"
    assert re.match(r"C: api_credential: \S+absent: ", found[2])
    assert re.match(r"D: credential: \S+open: ", found[3])
    assert CANARY not in "".join(found)


def test_names_with_commas_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Put blanks between names: A b"):
        load(tmp_path, LAYERS).select(["A,b"])


# --- the example


def test_the_example_loads() -> None:
    """The commented site that people copy is right, and uses what it explains."""
    inventory = Inventory.load(ROOT / "inventory" / "example.toml", KNOWN)
    assert [host.name for host in inventory.select(["tag:netware"])] == ["EXCH01", "EXCH02"]
    assert inventory.hosts["EXCH01"].variables["groupwise_api"] == r"\\NW1\SYS\DOM\WPGATE\API"
    assert inventory.hosts["EXCH02"].port == 5986
    assert inventory.hosts["OLDEXCH"].gateway is inventory.gateways["GW01"]
    assert inventory.warnings == ()
    assert {host.name for host in inventory.hosts.values() if host.unusable} == {"EXCH02"}
