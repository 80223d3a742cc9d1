"""Facts: what breaks a script's contract is named, and JSON loses nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exremote.facts import (
    ApiDirectoryFact,
    ConnectorObject,
    EventCount,
    FactError,
    FileEntry,
    HostFact,
    HostFacts,
    NotesIni,
    RegistryExport,
    RegistryValue,
    ServiceState,
    TableText,
    TreeFact,
    part,
)
from exremote.runner import to_document

FACTS = Path(__file__).parents[1] / "data" / "facts"
NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
HOST: dict[str, object] = {
    "ComputerName": "EX01",
    "Domain": "LAB",
    "OSVersion": "5.2.3790",
    "ServicePack": "Service Pack 2",
    "ProductType": "ServerNT",
    "Architecture": "x86",
    "PowerShellVersion": "2.0",
    "ClrVersion": "2.0.50727.3662",
    "SystemRoot": r"C:\WINDOWS",
    "UtcNow": NOW,
    "FipsPolicy": False,
    "UserName": r"LAB\backup",
    "IsAdministrator": True,
    "SystemPath": r"C:\WINDOWS",
    "Disks": ["C:\\|Fixed|NTFS|100|40"],
    "OnPath": [],
    "Processes": [],
}


def test_a_host_is_parsed() -> None:
    fact = HostFact.parse(HOST)
    assert (fact.computer_name, fact.disks[0].free, fact.utc_now) == ("EX01", 40, NOW)
    assert fact.started is None  # an answer of before the question was asked
    assert HostFact.parse({**HOST, "StartedUtc": None}).started is None
    assert HostFact.parse({**HOST, "StartedUtc": NOW}).started == NOW


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ComputerName", 3),
        ("UtcNow", datetime(2026, 1, 1)),
        ("UtcNow", "2026"),
        ("StartedUtc", "2026"),
        ("StartedUtc", datetime(2026, 1, 1)),
        ("FipsPolicy", 1),
        ("Disks", ["C:"]),
        ("Disks", ["C:\\|Fixed|NTFS|many|40"]),
        ("Disks", ["C:\\|Fixed|NTFS|" + "9" * 5000 + "|40"]),
        ("Disks", ["C:\\|Fixed|NTFS|²|40"]),
        ("Disks", [3]),
        ("Domain", ...),
    ],
)
def test_a_broken_answer_names_script_and_property(name: str, value: object) -> None:
    record = {**HOST, name: value}
    if value is ...:
        del record[name]
    with pytest.raises(FactError) as caught:
        HostFact.parse(record)
    assert (caught.value.script, caught.value.property) == ("Get-HostFact", name)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
def test_a_number_that_no_script_has_is_refused(number: int) -> None:
    """A sum of such numbers could not even be printed."""
    record = {"Source": "s", "EventId": 5, "Level": "Error", "Count": number, "LastUtc": NOW, "Message": "m"}
    with pytest.raises(FactError, match="Count: the number is out of range"):
        EventCount.parse(record)


def test_a_null_text_is_an_empty_one_and_an_unrolled_array_is_an_array() -> None:
    fact = HostFact.parse({**HOST, "ServicePack": None, "Disks": "C:\\|Fixed|NTFS|100|40"})
    assert fact.service_pack == ""
    assert len(fact.disks) == 1
    assert HostFact.parse({**HOST, "Disks": None}).disks == ()


def test_a_true_is_no_number() -> None:
    record = {"Path": "C:\\x", "Exists": True, "Files": True, "Bytes": 0, "Digest": ""}
    with pytest.raises(FactError, match="Files"):
        TreeFact.parse(record)


def test_the_other_records_are_parsed() -> None:
    value = RegistryValue.parse(
        {"Key": "HKLM\\x", "Name": "", "KeyExists": True, "Exists": False, "Kind": None, "Text": None}
    )
    assert (value.key_exists, value.exists, value.text) == (True, False, "")
    service = ServiceState.parse(
        {
            "Name": "a",
            "Exists": True,
            "DisplayName": "A",
            "State": "Running",
            "StartMode": "Manual",
            "Account": "LocalSystem",
            "ImagePath": "C:\\a.exe",
            "ImageExists": True,
            "DependsOn": "EventLog",
            "Readable": True,
        }
    )
    assert service.depends_on == ("EventLog",)
    event = EventCount.parse(
        {"Source": "s", "EventId": 5, "Level": "Error", "Count": 2, "LastUtc": NOW, "Message": "m"}
    )
    assert (event.event_id, event.count, event.last) == (5, 2, NOW)


def test_a_directory_object_keeps_equals_signs_in_values() -> None:
    one = ConnectorObject.parse(
        {"Class": "c", "DistinguishedName": "CN=x", "Attributes": ["a=b=c", "g:=AAE="], "Withheld": []}
    )
    assert one.attributes == (("a", "b=c"), ("g:", "AAE="))
    assert one.first("A") == "b=c"
    assert one.first("z") is None


def test_an_api_directory_is_its_queues_and_a_summary() -> None:
    queue = {"Queue": "API_IN", "Exists": True, "Files": 1, "Bytes": 0, "ZeroByte": 1}
    queue |= {"OldestUtc": None, "OldestEmptyUtc": NOW}
    summary = {
        "Path": "\\\\nw\\sys\\api",
        "Exists": True,
        "Account": "LAB\\b",
        "Probed": False,
        "Written": False,
        "ReadBack": False,
        "Removed": False,
        "ProbeError": None,
        "Leftovers": None,
        "Cleared": "EXPR0001.TMP",
        "LeftoverError": None,
    }
    fact = ApiDirectoryFact.parse([queue, summary])
    assert [q.queue for q in fact.queues] == ["API_IN"]
    assert (fact.queues[0].oldest, fact.queues[0].oldest_empty) == (None, NOW)
    assert (fact.cleared, fact.leftover_error) == (("EXPR0001.TMP",), "")
    with pytest.raises(FactError, match="no answer"):
        ApiDirectoryFact.parse([])
    with pytest.raises(FactError, match="Path"):
        ApiDirectoryFact.parse([queue])


def test_an_export_must_have_the_length_that_the_host_says() -> None:
    record = {"Key": "k", "Exists": True, "Bytes": 4, "Sha256": "ab"}
    assert RegistryExport.parse(record, b"abcd").data == b"abcd"
    with pytest.raises(FactError, match="Bytes"):
        RegistryExport.parse(record, b"abc")


def test_of_a_table_only_counts_are_kept() -> None:
    table = TableText.read("C:\\t.tbl", b"a  b\r\n\r\nc\td\r\n\te\r\n")
    assert (table.lines, table.tab_lines) == (3, (3, 4))
    assert "c" not in json.dumps(HostFacts("h", NOW, tables=(table,)).to_json()["tables"][0]["tab_lines"])


def test_of_a_notes_ini_only_what_is_needed_is_kept() -> None:
    lines = (b"[NOTES]", b"kittype = 1", rb"Directory=C:\N", b"KeyFileName=x.id", b"Password=secret")
    text = b"\r\n".join([*lines, rb"Directory=D:\second"])
    ini = NotesIni.read("C:\\n.ini", text)
    assert (ini.has_section, ini.has_kittype, ini.directory, ini.key_file) == (True, True, "C:\\N", "x.id")
    assert ini.lines == {"directory": "C:\\N", "keyfilename": "x.id"}
    assert "secret" not in repr(ini)
    other = NotesIni.read("C:\\n.ini", b"KitType=2\r\n")
    assert (other.has_section, other.has_kittype, other.directory) == (False, False, "")


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
for _kind, _strategy in ((datetime, TIMES), (int, st.integers(0, 3_155_378_975_999_999_999))):
    st.register_type_strategy(_kind, _strategy)
# What JSON gives back is a tuple; a listing of a host, which is kept in another way, equals it.
st.register_type_strategy(
    TreeFact,
    st.builds(TreeFact, entries=st.lists(st.from_type(FileEntry), max_size=3).map(tuple)),
)


@settings(max_examples=40, deadline=None)
@given(st.builds(HostFacts))
def test_json_loses_nothing_built(facts: HostFacts) -> None:
    assert HostFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        HostFacts,
        host_fact=st.none() | st.from_type(HostFact),
        registry=st.lists(st.from_type(RegistryValue), max_size=2).map(tuple),
        services=st.lists(st.from_type(ServiceState), max_size=2).map(tuple),
        trees=st.dictionaries(st.text(), st.from_type(TreeFact), max_size=2),
        api_directories=st.dictionaries(st.text(), st.from_type(ApiDirectoryFact), max_size=1),
        connector_objects=st.lists(st.from_type(ConnectorObject), max_size=2).map(tuple),
        events=st.lists(st.from_type(EventCount), max_size=2).map(tuple),
        notes_ini=st.none() | st.from_type(NotesIni),
    )
)
def test_json_loses_nothing(facts: HostFacts) -> None:
    """There and back through text is the same, whatever a host answered."""
    assert HostFacts.from_json(json.loads(json.dumps(facts.to_json()))) == facts


TREE: dict[str, object] = {
    "path": "C:\\x",
    "exists": True,
    "files": 1,
    "bytes": 1,
    "digest": "",
    "entries": [],
}
ENTRY: dict[str, object] = {
    "path": "a", "size": 1, "modified_ticks": 1, "attributes": 32, "sha256": None, "state": "file",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"format": 2}, "format"),
        ({"moon": 1}, "moon"),
        ({"host": 5}, "host"),
        ({"collected_at": "2026-11-22T10:15:00"}, "collected_at"),
        ({"collected_at": "yesterday"}, "collected_at"),
        ({"services": [{"name": "a"}]}, "services"),
        ({"trees": []}, "trees"),
        ({"host_fact": []}, "host_fact"),
        ({"event_hours": True}, "event_hours"),
        ({"event_hours": 2**63}, "event_hours"),
        ({"collected_at": "0001-01-01T00:00:00+14:00"}, "collected_at"),
        ({"trees": {"t": TREE | {"entries": [ENTRY | {"modified_ticks": -1}]}}}, "modified_ticks"),
        (
            {"trees": {"t": TREE | {"entries": [ENTRY | {"modified_ticks": 3155378976 * 10**9}]}}},
            "modified_ticks",
        ),
        ({"files": {"f": [{"path": "p", "exists": True, "modified_ticks": 2**62}]}}, "modified_ticks"),
        ({"trees": {"t": TREE | {"bytes": 10**400}}}, "bytes"),
        (
            {"trees": {"t": TREE | {"entries": [ENTRY | {"state": "odd"}]}}},
            r"entries\[0\].state: expected one of",
        ),
        ({"trees": {"t": TREE | {"entries": [ENTRY | {"state": ["file"]}]}}}, "state: expected one of"),
        (
            {"connectors": {"c": {"listed": None, "evidence": [], "missing": [], "state": "odd"}}},
            "connectors.c.state: expected one of present, partial, absent, unknown",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(change: dict[str, Any], place: str) -> None:
    data = {**HostFacts("h", NOW).to_json(), **change}
    with pytest.raises(FactError, match=place):
        HostFacts.from_json(data)


def test_facts_are_written_part_by_part_as_they_are_whole() -> None:
    """The document of a snapshot is the same text, without all of it being there as tables at once."""
    recorded = [p for p in sorted(FACTS.glob("*.json")) if ".findings" not in p.name]
    assert recorded
    for path in recorded:
        facts = HostFacts.from_json(json.loads(path.read_text("utf-8")))
        assert to_document(facts.to_parts(), part) == to_document(facts.to_json())
