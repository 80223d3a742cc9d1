"""The lab's machines: files, registry and services behave as Windows' do, and are the same each time."""

from __future__ import annotations

import hashlib

import pytest

from exremote.lab.files import Denied, DiskFull, FileSystem, Generated, Locked, Missing
from exremote.lab.registry import KeyDenied, Kind, Registry
from exremote.lab.site import (
    STANDARD,
    Bulk,
    HostSpec,
    SpecText,
    build,
    build_machine,
    specs_from_json,
    specs_to_json,
)


@pytest.fixture
def files() -> FileSystem:
    system = FileSystem(now=1)
    system.write(r"C:\Data\One.txt", b"one", modified=5)
    return system


def test_names_are_found_without_case_and_slashes_are_taken(files: FileSystem) -> None:
    assert files.find("c:/data/ONE.TXT").name == "One.txt"
    assert files.is_directory("C:\\DATA\\")
    assert not files.is_file(r"C:\Data")
    with pytest.raises(Missing):
        files.find(r"C:\Data\two.txt")
    with pytest.raises(Missing):
        files.find("relative.txt")


def test_shares_are_roots(files: FileSystem) -> None:
    files.write(r"\\NW\SYS\a\b.txt", b"x")
    assert files.is_file(r"\\nw\sys\A\B.txt")
    assert {relative for relative, _ in files.walk(r"\\NW\SYS")} == {"a", r"a\b.txt"}


def test_locked_denied_vanishing_and_full(files: FileSystem) -> None:
    node = files.find(r"C:\Data\One.txt")
    node.locked = True
    with pytest.raises(Locked):
        files.open(r"C:\Data\One.txt")
    with pytest.raises(Locked):
        files.write(r"C:\Data\One.txt", b"two")
    node.locked, node.denied = False, True
    with pytest.raises(Denied):
        files.open(r"C:\Data\One.txt")
    node.denied, node.vanishing = False, True
    with pytest.raises(Missing):
        files.open(r"C:\Data\One.txt")
    assert not files.is_file(r"C:\Data\One.txt")
    files.full = True
    with pytest.raises(DiskFull):
        files.write(r"C:\Data\Two.txt", b"x")


def test_a_changing_file_differs_for_so_many_readers(files: FileSystem) -> None:
    files.write(r"C:\w.seq", b"x" * 100, modified=7).changing = 2
    first, second, third, fourth = (files.open(r"C:\w.seq") for _ in range(4))
    assert first.modified == 7
    assert first.modified_after > first.modified
    assert first.content.sha256() != second.content.sha256()
    assert third.content.sha256() == fourth.content.sha256()
    assert third.modified_after == third.modified


@pytest.mark.parametrize("size", [0, 1, 5, 1 << 20, (1 << 20) + 7, 3_000_001])
def test_generated_content_is_what_its_digest_says(size: int) -> None:
    content = Generated(size, seed=size)
    data = b"".join(content.chunks())
    assert len(data) == size
    assert hashlib.sha256(data).digest() == content.sha256()
    if size > 100:
        assert data != b"".join(Generated(size, seed=size + 1).chunks())


def test_export_is_what_reg_exe_writes() -> None:
    registry = Registry()
    key = r"HKLM\SOFTWARE\Lab"
    registry.set(key, "", "default")
    registry.set(key, 'Quote"d', 'C:\\Dir "x"')
    registry.set(key, "Number", 0x1234)
    registry.set(key, "Bytes", bytes(range(30)))
    registry.set(key, "Many", ("a", "b"))
    registry.set(key, "Expand", "%X%", Kind.ExpandString)
    registry.set(key, "Long", 5, Kind.QWord)
    registry.make(rf"{key}\Sub")
    data = registry.export(r"hklm\software\LAB")
    assert data is not None
    assert data.startswith(b"\xff\xfe")
    assert data.decode("utf-16") == (
        "Windows Registry Editor Version 5.00\r\n"
        "\r\n"
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Lab]\r\n"
        '@="default"\r\n'
        '"Quote\\"d"="C:\\\\Dir \\"x\\""\r\n'
        '"Number"=dword:00001234\r\n'
        '"Bytes"=hex:00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,15,\\\r\n'
        "  16,17,18,19,1a,1b,1c,1d\r\n"
        '"Many"=hex(7):61,00,00,00,62,00,00,00,00,00\r\n'
        '"Expand"=hex(2):25,00,58,00,25,00,00,00\r\n'
        '"Long"=hex(b):05,00,00,00,00,00,00,00\r\n'
        "\r\n"
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Lab\\Sub]\r\n"
        "\r\n"
    )


def test_a_key_may_be_missing_or_denied() -> None:
    registry = Registry()
    assert registry.export(r"HKLM\SOFTWARE\None") is None
    registry.make(r"HKLM\SOFTWARE\Shut").denied = True
    with pytest.raises(KeyDenied):
        registry.get(r"HKLM\SOFTWARE\Shut\Below", "x")
    registry.set(r"HKLM\SOFTWARE\A", "x", "1")
    registry.remove(r"HKLM\SOFTWARE\A", "X")
    assert registry.get(r"HKLM\SOFTWARE\A", "x") is None
    registry.remove(r"HKLM\SOFTWARE\A")
    assert registry.find(r"HKLM\SOFTWARE\A") is None


def test_the_router_drags_the_connector_and_the_controller_does_not_drag_the_router() -> None:
    machine = build_machine("EX01", "groupwise")
    machine.set_service("MSExchangeCoCo", "Stopped")
    assert machine.service_state("LME-GWISE") == "Stopped"
    assert machine.service_state("MSExchangeGWRtr") == "Running"
    machine.services["msexchangegwrtr"].stop_delay_s = 60
    machine.set_service("MSExchangeGWRtr", "Stopped")
    assert machine.service_state("msexchangegwrtr") == "StopPending"
    assert machine.service_state("none") is None


def test_a_machine_is_the_same_each_time() -> None:
    def picture() -> list[tuple[str, int, bytes]]:
        machine = build_machine("EX01", "notes", "groupwise", "calendar", bulk=(Bulk(files=5, size=300),))
        return [
            (path, node.modified, node.content.sha256())
            for path, node in machine.files.walk("C:\\Program Files\\")
            if node.content is not None
        ]

    assert picture() == picture()
    assert len([path for path, *_ in picture() if "bulk" in path]) == 5


def test_the_standard_site_has_what_it_promises() -> None:
    machines = {spec.name: build(spec) for spec in STANDARD if not spec.down}
    sick = machines["EXSICK01"]
    assert sick.service_state("LME-GWISE") == "Stopped"
    conndata = r"C:\Program Files\Exchsrvr\Conndata"
    assert len(sick.files.find(rf"{conndata}\Gwrouter\badfiles").children) == 3
    assert len(machines["EXGW01"].files.find(rf"{conndata}\Gwrouter\badfiles").children) == 0
    table = sick.files.open(rf"{conndata}\DxaGwise\Mapgwise.tbl").content
    assert b"\t" in b"".join(table.chunks())
    out = sick.files.find(r"\\NWFS02\SYS\GWDOM\WPGATE\API\API_OUT").children
    assert [node.size for node in out.values()] == [0]
    for name, machine in machines.items():
        for service in machine.services:
            image = machine.expand(
                machine.registry.text(rf"HKLM\SYSTEM\CurrentControlSet\Services\{service}", "ImagePath")
            )
            program = image.split('"')[1] if image.startswith('"') else image.split(" ")[0]
            assert machine.files.is_file(program), (name, service)


def test_hosts_go_to_json_and_back() -> None:
    specs = (
        HostSpec("A", ("notes",), bulk=(Bulk(files=2),), api_accounts=(("u", "p"),)),
        HostSpec("B", down=True, backup_accounts=(("u", "p"),), tasks=(("t", "c"),)),
    )
    assert specs_from_json(specs_to_json(specs)) == specs
    for wrong in (
        "",
        "[]",
        "{}",
        '[{"name": 1}]',
        '[{"name": "A", "colour": "red"}]',
        '[{"name":"A","bulk":[{"x":1}]}]',
    ):
        with pytest.raises(SpecText):
            specs_from_json(wrong)
    with pytest.raises(SpecText):
        build_machine("A", "sendmail")
    with pytest.raises(SpecText):
        build_machine("A", os="95")
