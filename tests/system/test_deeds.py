"""What changes a host: the same deeds, with the same ends, simulated and on Microsoft's engine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from exremote import regfile
from exremote.connector import Connector
from exremote.credential import Secret
from exremote.errors import PlanRefused, ScriptFailed
from exremote.facts import FileDeed, FileEntry, RegistrySetting, SwapFile
from exremote.inventory import Deadlines, Inventory, RetryPolicy
from exremote.lab.client import LabClient
from exremote.lab.control import Control
from exremote.lab.files import REPARSE
from exremote.lab.site import HostSpec
from exremote.lab.world import World, engine_from_environment
from exremote.session import Session

NAME = "EXDEED01"
ROOT = r"C:\Deeds\Conndata"
KEY = r"HKLM\SOFTWARE\Microsoft\Exchange\Deeds"
REAL = pytest.param(
    "real",
    marks=[
        pytest.mark.wine,
        pytest.mark.skipif(
            not engine_from_environment(), reason="EXREMOTE_LAB_POWERSHELL is not set: no real PowerShell"
        ),
    ],
)


@dataclass(frozen=True)
class Lab:
    """One host, and what the tests see of it without exremote."""

    world: World
    client: LabClient

    @property
    def simulated(self) -> bool:
        return self.world.hosts[NAME].prefix is None

    def session(self, **changes: Any) -> Session:
        site = Inventory.load(self.world.inventory, list(Connector.load_all()))
        patience = RetryPolicy(attempts=3, total_s=20.0, first_wait_s=0.05)
        host = replace(site.hosts[NAME], **{"retry": patience, "deadlines": Deadlines(), **changes})
        return Session(host, Secret(self.world.user, self.world.password))

    def edit(self, op: str, **args: object) -> None:
        self.client.edit(NAME, op, **args)

    def write(self, path: str, data: bytes, attributes: int = 0x20) -> None:
        self.edit("write_file", path=path, data=data, attributes=attributes)

    def put(self, path: str, data: bytes) -> None:
        """Write a file among many, straight away."""
        prefix = self.world.hosts[NAME].prefix
        if prefix is None:
            self.world.machine(NAME).files.write(path, data)
            return
        place = prefix.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)

    def unlink(self, path: str) -> None:
        prefix = self.world.hosts[NAME].prefix
        assert prefix is not None
        prefix.path(path).unlink()

    def make_read_only(self, path: str) -> None:
        prefix = self.world.hosts[NAME].prefix
        if prefix is not None:
            prefix.path(path).chmod(0o444)
        else:
            self.world.machine(NAME).files.find(path).attributes |= 1

    def read(self, path: str) -> bytes | None:
        """What a file holds; None if there is none."""
        prefix = self.world.hosts[NAME].prefix
        if prefix is not None:
            place = prefix.path(path)
            return place.read_bytes() if place.is_file() else None
        node = self.world.machine(NAME).files.get(path)
        return None if node is None or node.content is None else b"".join(node.content.chunks())

    def link(self, path: str, target: str) -> None:
        """Put a link to a folder where nothing is."""
        prefix = self.world.hosts[NAME].prefix
        if prefix is not None:
            prefix.path(path).symlink_to(prefix.path(target), target_is_directory=True)
            return
        files = self.world.machine(NAME).files
        files.make_directory(path).attributes |= REPARSE
        files.find(path).children = files.find(target).children


@pytest.fixture(scope="module", params=["simulated", REAL])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    engine = engine_from_environment() if request.param == "real" else []
    world = World([HostSpec(NAME, ("notes",), winrm=3)], engine=engine)
    control = Control(world)
    try:
        yield Lab(world, LabClient(control.url, control.token))
    finally:
        control.close()
        left = world.shells(NAME)
        world.stop()
        assert left == []


@pytest.fixture(scope="module")
def session(lab: Lab) -> Iterator[Session]:
    """One line for all: a real engine takes seconds to start."""
    with lab.session() as line:
        yield line


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- services ---


def test_a_service_stops_and_runs_and_a_second_time_nothing_changes(lab: Lab, session: Session) -> None:
    stopped = session.set_service("lme-notes", "Stopped", 30)
    again = session.set_service("LME-NOTES", "Stopped", 30)
    assert session.service_states(["LME-NOTES"])[0].state == "Stopped"
    runs = session.set_service("LME-NOTES", "Running", 30, "Automatic")
    assert (stopped.name, stopped.state, stopped.changed) == ("LME-NOTES", "Stopped", True)
    assert (again.state, again.changed, again.also) == ("Stopped", False, ())
    assert (runs.state, runs.start_mode, runs.changed) == ("Running", "Automatic", True)
    state = session.service_states(["LME-NOTES"])[0]
    assert (state.state, state.start_mode) == ("Running", "Automatic")
    assert session.set_service("LME-NOTES", None, 30, "Manual").start_mode == "Manual"


def test_what_depends_on_a_service_stops_before_it_and_is_named(lab: Lab, session: Session) -> None:
    session.set_service("LME-NOTES", "Running", 30)
    change = session.set_service("MSExchangeSA", "Stopped", 30)
    assert change.also[-1] != "MSExchangeSA"
    assert {"LME-NOTES", "MSExchangeCoCo"} <= set(change.also)
    assert change.also.index("LME-NOTES") < change.also.index("MSExchangeCoCo")
    states = session.service_states(["LME-NOTES", "MSExchangeCoCo", "MSExchangeSA"])
    assert {state.state for state in states[:3]} == {"Stopped"}
    for name in ("MSExchangeSA", *reversed(change.also)):
        session.set_service(name, "Running", 30)


def test_a_late_stop_is_waited_for_and_one_that_never_comes_is_named_with_its_state(
    lab: Lab, session: Session
) -> None:
    said: list[float] = []
    session.set_service("LME-NOTES", "Stopped", 30)
    lab.edit("trouble_service", name="LME-NOTES", stop_delay_s=3.5)
    session.set_service("LME-NOTES", "Running", 30)
    with pytest.raises(ScriptFailed, match="LME-NOTES is StopPending after 1 s") as caught:
        session.set_service("LME-NOTES", "Stopped", 1)
    assert caught.value.error_id == "ExRemote.ServiceStuck"
    late = session.set_service("LME-NOTES", "Stopped", 30, waited=said.append)
    assert (late.state, late.changed) == ("Stopped", True)
    assert len(said) == 1
    assert 2 <= said[0] <= late.waited_s
    lab.edit("trouble_service", name="LME-NOTES", start_exit_code=1066)
    with pytest.raises(ScriptFailed, match="stopped again while it started, with code 1066") as caught:
        session.set_service("LME-NOTES", "Running", 30)
    assert caught.value.error_id == "ExRemote.ServiceFailed"
    assert "event log" in caught.value.remedy
    lab.edit("trouble_service", name="LME-NOTES")
    session.set_service("LME-NOTES", "Running", 30)


def test_a_disabled_service_and_one_that_is_not_there_are_said(lab: Lab, session: Session) -> None:
    off = session.set_service("LME-NOTES", "Stopped", 30, "Disabled")
    assert (off.state, off.start_mode) == ("Stopped", "Disabled")
    for name, id_ in (("LME-NOTES", "ServiceDisabled"), ("LME-GHOST", "ServiceMissing")):
        with pytest.raises(ScriptFailed, match=name) as caught:
            session.set_service(name, "Running", 30)
        assert caught.value.error_id == f"ExRemote.{id_}"
    assert "/disasterrecovery" in caught.value.remedy
    on = session.set_service("LME-NOTES", "Running", 30, "Manual")
    assert (on.state, on.start_mode) == ("Running", "Manual")


def test_rights_that_lack_are_said(lab: Lab, session: Session) -> None:
    if not lab.simulated:
        pytest.skip("Wine denies nobody a service or a key")
    lab.edit("trouble_service", name="LME-NOTES", denied=True)
    with pytest.raises(ScriptFailed, match="LME-NOTES: Access is denied") as caught:
        session.set_service("LME-NOTES", "Stopped", 30)
    assert caught.value.error_id == "ExRemote.ServiceDenied"
    lab.edit("trouble_service", name="LME-NOTES")
    value = RegistrySetting(rf"{KEY}\Closed", "x", 1, text("x"))
    assert session.set_registry_values([value])[0].state == "set"
    lab.edit("deny", path=value.key)
    other = replace(value, key=rf"{KEY}\Open")
    closed, set_ = session.set_registry_values([replace(value, data=text("y")), other])
    assert (closed.state, closed.error_id, set_.state) == ("failed", "ExRemote.KeyDenied", "set")
    lab.edit("deny", path=value.key, denied=False)


def test_a_service_that_is_gone_after_a_while_was_running_first(lab: Lab, session: Session) -> None:
    if not lab.simulated:
        pytest.skip("Wine says of a process that is gone that it runs, until somebody starts it again")
    session.set_service("LME-NOTES", "Stopped", 30)
    lab.edit("trouble_service", name="LME-NOTES", crash_after_s=0.2)
    assert session.set_service("LME-NOTES", "Running", 30).state == "Running"
    while session.service_states(["LME-NOTES"])[0].state == "Running":
        pass
    lab.edit("trouble_service", name="LME-NOTES")
    assert session.set_service("LME-NOTES", "Running", 30).changed


def test_after_a_line_that_broke_a_deed_is_done_again_with_the_same_end(lab: Lab, session: Session) -> None:
    if not lab.simulated:
        pytest.skip("what a script says is spoilt on the simulated host only")
    root, staging, aside = r"C:\Deeds\lost", r"C:\Deeds\exremote-lost", r"C:\Deeds\exremote-lost2"
    lab.write(rf"{root}\table", b"old")
    lab.write(rf"{root}\extra", b"extra")
    lab.write(rf"{staging}\table", b"new")
    for fault in ("Move-StagedFile:1:gone", "Move-FileAside:1:gone", "Set-RegistryValue:1:skip"):
        lab.client.fault(f"{NAME}:{fault}")
    assert session.swap_files(staging, root, aside, [swap_of("table", b"new")])[0].state == "there"
    assert (lab.read(rf"{root}\table"), lab.read(rf"{aside}\table")) == (b"new", b"old")
    assert session.move_aside(root, aside, ["extra"])[0].state == "moved"
    value = RegistrySetting(KEY, "Lost", 1, text("x"))
    assert session.set_registry_values([value])[0].state == "same"
    lab.client.clear_faults()


# --- work files ---


def test_work_files_go_those_deeper_are_named_and_stay(lab: Lab, session: Session) -> None:
    for name in ("1.seq", "2.SEQ", "1.ck", "keep.tbl", r"Tables\3.seq", r"Temp\named.txt"):
        lab.write(rf"{ROOT}\{name}", name.encode())
    lab.write(rf"{ROOT}\hidden.seq", b"read-only", 0x21)
    lab.write(r"C:\Deeds\elsewhere\x.seq", b"other")
    lab.link(rf"{ROOT}\link", r"C:\Deeds\elsewhere") if lab.read(rf"{ROOT}\link\x.seq") is None else None
    deeds = session.remove_files(ROOT, ["*.seq", "*.ck"], [r"Temp\named.txt", "ghost", r"link\x.seq"])
    found = {deed.path: deed for deed in deeds}
    assert {path: deed.state for path, deed in found.items()} == {
        "1.seq": "removed",
        "2.SEQ": "removed",
        "1.ck": "removed",
        "hidden.seq": "removed",
        r"Tables\3.seq": "deeper",
        r"Temp\named.txt": "removed",
        "ghost": "gone",
        r"link\x.seq": "failed",
    }
    assert found[r"link\x.seq"].error_id == "ExRemote.Link"
    assert (found["1.ck"].size, found["1.ck"].modified_ticks > 6 * 10**17) == (4, True)
    assert lab.read(rf"{ROOT}\1.seq") is None
    assert lab.read(rf"{ROOT}\hidden.seq") is None
    assert lab.read(rf"{ROOT}\Tables\3.seq") == rb"Tables\3.seq"
    assert lab.read(rf"{ROOT}\keep.tbl") == b"keep.tbl"
    assert lab.read(r"C:\Deeds\elsewhere\x.seq") == b"other"
    assert [deed.state for deed in session.remove_files(ROOT, ["*.seq", "*.ck"])] == ["deeper"]
    assert session.remove_files(rf"{ROOT}\nowhere", ["*.seq"]) == []


def test_a_locked_file_fails_alone_whatever_is_done_with_it(lab: Lab, session: Session) -> None:
    root, staging, aside = r"C:\Deeds\locks", r"C:\Deeds\exremote-locks", r"C:\Deeds\exremote-aside"
    for name in ("a.seq", "held.seq", "z.seq"):
        lab.write(rf"{root}\{name}", name.encode())
        lab.write(rf"{staging}\{name}", b"new")
    lab.edit("lock_file", path=rf"{root}\held.seq")
    for deeds, done in (
        (
            session.swap_files(staging, root, aside, [swap_of(f"{x}.seq", b"new") for x in ("held", "a")]),
            "swapped",
        ),
        (session.move_aside(root, rf"{aside}\later", ["held.seq", "a.seq"]), "moved"),
        (session.remove_files(root, ["*.seq"]), "removed"),
    ):
        found = {deed.path: (deed.state, deed.error_id) for deed in deeds}
        assert found.pop("held.seq") == ("failed", "ExRemote.Locked")
        assert list(found.values()) == [(done, "")]
    assert session.file_tree(root, hashed=False).files == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.remove_files("C:\\", ["*.seq"]),
        lambda session: session.remove_files(r"Conndata", ["*.seq"]),
        lambda session: session.remove_files(r"\\server\share", ["*.seq"]),
        lambda session: session.remove_files(r"C:\Deeds\..\Windows", ["*.seq"]),
        lambda session: session.remove_files(r"C:\Deeds\x...\.. ", ["*.seq"]),
        lambda session: session.remove_files(ROOT, ["*"]),
        lambda session: session.remove_files(ROOT, ["*.*"]),
        lambda session: session.remove_files(ROOT, [r"..\*.seq"]),
        lambda session: session.remove_files(ROOT, [], [r"..\x"]),
        lambda session: session.remove_files(ROOT, [], [r"C:\x"]),
        lambda session: session.remove_files(ROOT, [], [r"a\\b"]),
        lambda session: session.remove_files(ROOT, [], ["a", "A"]),
        lambda session: session.remove_files(ROOT, [], ["file:stream"]),
        lambda session: session.remove_folder(r"C:\Deeds\staging"),
        lambda session: session.remove_folder(r"C:\Deeds\exremote-1\below"),
        lambda session: session.remove_folder(r"C:\exremote-1\.."),
        lambda session: session.remove_folder("exremote-1"),
        lambda session: session.swap_files(STAGING, PLACE, PLACE.upper(), []),
        lambda session: session.swap_files(STAGING, "C:\\", ASIDE, []),
        lambda session: session.swap_files(STAGING, PLACE, ASIDE, [swap_of(r"..\x", b"")]),
        lambda session: session.swap_files(STAGING, PLACE, ASIDE, [SwapFile("x", "0", 1, TICKS)]),
        lambda session: session.move_aside(PLACE, ASIDE, ["a\tb"]),
        lambda session: session.set_registry_values([RegistrySetting(r"HKCU\Software\x", "", 1, None)]),
        lambda session: session.set_registry_values([RegistrySetting("HKLM", "", 1, None)]),
        lambda session: session.set_registry_values([RegistrySetting("HKLM\\SOFTWARE\\\\x", "", 1, None)]),
    ],
)
def test_places_that_no_plan_may_have_are_refused_before_anything_travels(
    lab: Lab, call: Callable[[Session], object]
) -> None:
    before = lab.world.endpoint.counters(NAME).exchanges
    with lab.session() as session, pytest.raises(PlanRefused):
        call(session)
    assert lab.world.endpoint.counters(NAME).exchanges == before


# --- registry values ---


def text(value: str, ends: int = 1) -> bytes:
    return value.encode("utf-16-le", "surrogatepass") + bytes(2 * ends)


VALUES = [
    RegistrySetting(KEY, "", 1, text("the default")),
    RegistrySetting(KEY, "Text", 1, text("Müller\t漢 _x0041_ \ud83d")),
    RegistrySetting(KEY, "Lines", 1, text("a\r\nb")),
    RegistrySetting(KEY, "Empty", 1, text("")),
    RegistrySetting(KEY, "Expand", 2, text(r"%SystemRoot%\x")),
    RegistrySetting(KEY, "Bytes", 3, bytes(range(256)) * 1200, secret=True),
    RegistrySetting(KEY, "NoBytes", 3, b""),
    RegistrySetting(KEY, "Word", 4, b"\xff\xff\xff\xff"),
    RegistrySetting(KEY, "Many", 7, text("a\0\0b\0", 1)),
    RegistrySetting(KEY, "None of them", 7, b"\0\0"),
    RegistrySetting(rf"{KEY}\Sub|Key\Below", "A name | with\ttab", 11, b"\x01\0\0\0\0\0\0\x80"),
]


def test_registry_values_are_set_byte_for_byte_and_a_second_time_they_are_the_same(
    lab: Lab, session: Session
) -> None:
    gone = [replace(value, data=None) for value in VALUES]
    session.set_registry_values(gone)
    assert {deed.state for deed in session.set_registry_values(VALUES)} == {"set"}
    deeds = session.set_registry_values(VALUES)
    assert [(deed.key, deed.name) for deed in deeds] == [(value.key, value.name) for value in VALUES]
    assert {deed.state for deed in deeds} == {"same"}
    found = regfile.parse(session.export_registry_key(KEY).data).keys
    keys = {key.casefold().replace("hkey_local_machine", "hklm"): values for key, values in found.items()}
    for value in VALUES:
        if value.name == "Lines" and not lab.simulated:
            continue  # Wine's reg.exe writes line ends as no other does; the script has read it back
        there = keys[value.key.casefold()][value.name.lower()]
        assert (there.kind, there.data) == (value.kind, value.data), value.name
    assert {deed.state for deed in session.set_registry_values(gone)} == {"removed"}
    assert {deed.state for deed in session.set_registry_values(gone)} == {"same"}


def test_what_net_cannot_write_unchanged_fails_alone_and_shows_nothing(lab: Lab, session: Session) -> None:
    secret = "Geheim-4711"
    wrong = [
        RegistrySetting(KEY, "Odd", 5, b"\0\0\0\1"),
        RegistrySetting(KEY, "No NUL", 1, secret.encode("utf-16-le"), secret=True),
        RegistrySetting(KEY, "NUL within", 1, text(f"{secret}\0x"), secret=True),
        RegistrySetting(KEY, "Half a list", 7, text(secret), secret=True),
        RegistrySetting(KEY, "Short", 4, b"\1"),
        RegistrySetting(KEY, "Half", 2, b"\1"),
        RegistrySetting(KEY, "Beyond", 12, b"x"),
    ]
    right = RegistrySetting(r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Exchange\Deeds", "Right", 1, text("x"))
    deeds = session.set_registry_values([*wrong, right])
    assert [deed.error_id for deed in deeds] == ["ExRemote.KindUnsupported"] * len(wrong) + [""]
    assert deeds[-1].state == "set"
    names = [(KEY, value.name) for value in wrong]
    assert not any(value.exists for value in session.registry_values(names))
    assert secret not in repr(deeds) + repr(wrong)
    assert "4711" not in repr(wrong)


def test_ten_thousand_values(lab: Lab, session: Session) -> None:
    """Two hundred where a real engine sets them: it needs 3 ms for each here."""
    count = 10_000 if lab.simulated else 200
    values = [RegistrySetting(rf"{KEY}\Mass", f"Value{n}", 1, text(f"text {n}")) for n in range(count)]
    deeds = session.set_registry_values(values)
    assert [(deed.name, deed.state) for deed in deeds] == [(value.name, "set") for value in values]
    assert session.set_registry_values(values[-1:])[0].state == "same"


def test_the_other_wire_carries_the_same(lab: Lab, session: Session) -> None:
    value = RegistrySetting(KEY, "Wire \u6f22", 7, text("a\0b\0"))
    with lab.session(wire="winrs") as other:
        change = other.set_service("LME-NOTES", None, 5, "Manual")
        assert (change.name, change.start_mode) == ("LME-NOTES", "Manual")
        assert other.set_registry_values([value])[0].state == "set"
    assert session.set_registry_values([value])[0].state == "same"


# --- files ---

STAGING, ASIDE = r"C:\Deeds\exremote-new", r"C:\Deeds\exremote-old"
PLACE = r"C:\Deeds\place"
TICKS = 631_139_040_000_000_000


def swap_of(path: str, data: bytes, attributes: int = 0x20) -> SwapFile:
    return SwapFile(path, sha256(data), len(data), TICKS + len(path) * 10_000_000, attributes)


def entries(session: Session, root: str) -> dict[str, FileEntry]:
    return {entry.path: entry for entry in session.file_tree(root).entries if entry.size >= 0}


def test_staged_files_take_their_places_and_what_was_there_is_aside(lab: Lab, session: Session) -> None:
    new = {
        name: b"new " + name.encode() for name in ("changed", r"sub\only\here", "\u00dcbersicht \u6f22.tbl")
    }
    for name, data in {
        **new,
        "tampered": b"tampered",
        "held": b"new",
        "folder": b"new",
        r"way\x": b"new",
    }.items():
        lab.write(rf"{STAGING}\{name}", data)
    for name in ("changed", "tampered", r"folder\inside", "readonly", "right", "missing"):
        lab.write(rf"{PLACE}\{name}", b"old " + name.encode())
    lab.write(rf"{STAGING}\readonly", b"new readonly")
    lab.make_read_only(rf"{PLACE}\readonly")
    lab.write(r"C:\Deeds\target\x", b"old x")
    lab.link(rf"{PLACE}\way", r"C:\Deeds\target")
    files = [swap_of(name, data) for name, data in new.items()]
    files += [swap_of("readonly", b"new readonly", 0x21), swap_of("right", b"old right", 0x22)]
    files += [swap_of(name, b"new") for name in ("tampered", "folder", r"way\x", "missing")]
    told: list[FileDeed] = []
    deeds = {deed.path: deed for deed in session.swap_files(STAGING, PLACE, ASIDE, files, told.extend)}
    assert told == list(deeds.values())
    assert {path: (deed.state, deed.error_id) for path, deed in deeds.items()} == {
        **dict.fromkeys([*new, "readonly"], ("swapped", "")),
        "right": ("there", ""),
        "tampered": ("failed", "ExRemote.Damaged"),
        "folder": ("failed", "ExRemote.IsFolder"),
        r"way\x": ("failed", "ExRemote.Link"),
        "missing": ("failed", "ExRemote.FileMissing"),
    }
    there = entries(session, PLACE)
    for file in [*files[:3], *files[3:5]]:
        entry = there[file.path]
        assert (entry.sha256, entry.modified_ticks) == (file.sha256, file.modified_ticks), file.path
        assert entry.attributes & 7 == file.attributes & 7, file.path
    aside = entries(session, ASIDE)
    assert {path: entry.sha256 for path, entry in aside.items()} == {
        "changed": sha256(b"old changed"),
        "readonly": sha256(b"old readonly"),
    }
    assert aside["readonly"].attributes & 1
    for name in ("tampered", r"folder\inside", "missing"):
        assert lab.read(rf"{PLACE}\{name}") == b"old " + name.encode()
    assert lab.read(r"C:\Deeds\target\x") == b"old x"
    # A second time, as after a line that was lost: nothing is other, and nothing aside is lost.
    again = session.swap_files(STAGING, PLACE, ASIDE, files[:5])
    assert {deed.state for deed in again} == {"there"}
    lab.write(rf"{PLACE}\changed", b"meanwhile")
    lab.write(rf"{STAGING}\changed", new["changed"])
    (kept,) = session.swap_files(STAGING, PLACE, ASIDE, files[:1])
    assert (kept.state, kept.error_id) == ("failed", "ExRemote.AsideTaken")
    assert lab.read(rf"{ASIDE}\changed") == b"old changed"
    assert lab.read(rf"{PLACE}\changed") == b"meanwhile"
    # A kill between the two moves: what was there is aside, the staged file is in staging.
    lab.edit("remove_file", path=rf"{PLACE}\changed")
    assert session.swap_files(STAGING, PLACE, ASIDE, files[:1])[0].state == "swapped"
    assert lab.read(rf"{PLACE}\changed") == new["changed"]


def test_what_was_there_comes_back_if_nothing_can_take_its_place(lab: Lab, session: Session) -> None:
    root, staging, aside = r"C:\Deeds\back", r"C:\Deeds\exremote-back", r"C:\Deeds\exremote-back2"
    lab.write(rf"{root}\table", b"old")
    lab.write(rf"{staging}\table", b"new")
    lab.edit("lock_file", path=rf"{staging}\table", shared=True)
    (deed,) = session.swap_files(staging, root, aside, [swap_of("table", b"new")])
    assert (deed.state, deed.error_id) == ("failed", "ExRemote.Locked")
    assert deed.message
    assert lab.read(rf"{root}\table") == b"old"
    assert lab.read(rf"{aside}\table") is None
    assert lab.read(rf"{staging}\table") == b"new"


def test_extra_files_go_aside_and_a_folder_of_exremote_goes_whole(lab: Lab, session: Session) -> None:
    root, aside = r"C:\Deeds\extra", r"C:\Deeds\exremote-extra"
    for name in ("one", r"sub\two", r"folder\inside", "stays"):
        lab.write(rf"{root}\{name}", name.encode())
    lab.write(rf"{aside}\taken", b"earlier")
    lab.write(rf"{root}\taken", b"now")
    lab.write(r"C:\Deeds\beyond\y", b"other")
    lab.link(rf"{root}\link", r"C:\Deeds\beyond")
    lab.link(rf"{aside}\link", r"C:\Deeds\beyond")
    names = ["one", r"sub\two", "folder", "taken", r"link\y", "ghost"]
    expected = ["moved", "moved", "failed", "failed", "failed", "gone"]
    for _ in range(2):  # the second time as after a line that was lost
        deeds = session.move_aside(root, aside, names)
        assert [deed.state for deed in deeds] == expected
        ids = [deed.error_id.removeprefix("ExRemote.") for deed in deeds if deed.state == "failed"]
        assert ids == ["IsFolder", "AsideTaken", "Link"]
    assert lab.read(rf"{aside}\sub\two") == rb"sub\two"
    assert (lab.read(rf"{root}\one"), lab.read(rf"{root}\stays")) == (None, b"stays")
    assert (lab.read(rf"{aside}\taken"), lab.read(rf"{root}\taken")) == (b"earlier", b"now")
    lab.make_read_only(rf"{aside}\one")
    if not lab.simulated:
        lab.unlink(rf"{aside}\link")  # Wine removes no link to a folder that is not empty; Windows does
    assert session.remove_folder(aside + "\\") is True
    assert session.remove_folder(aside) is False
    assert lab.read(rf"{aside}\one") is None
    assert lab.read(r"C:\Deeds\beyond\y") == b"other"
    lab.link(r"C:\Deeds\exremote-link", r"C:\Deeds\beyond")
    with pytest.raises(ScriptFailed) as caught:
        session.remove_folder(r"C:\Deeds\exremote-link")
    assert caught.value.error_id == "ExRemote.Link"
    assert lab.read(r"C:\Deeds\beyond\y") == b"other"


def test_ten_thousand_files(lab: Lab, session: Session) -> None:
    """Three hundred where a real engine moves them. Nothing but the plan's own answer travels for each."""
    count = 10_000 if lab.simulated else 300
    root, staging = r"C:\Deeds\many", r"C:\Deeds\exremote-many"
    for n in range(count):
        lab.put(rf"{staging}\part{n % 7}\file{n}", b"%d" % n)
    files = [swap_of(rf"part{n % 7}\file{n}", b"%d" % n) for n in range(count)]
    deeds = session.swap_files(staging, root, r"C:\Deeds\exremote-none", files)
    assert [(deed.path, deed.state) for deed in deeds] == [(file.path, "swapped") for file in files]
    last = files[-1].path
    assert lab.read(rf"{root}\{last}") == b"%d" % (count - 1)
    assert session.move_aside(root, staging, [last])[0].state == "moved"
    assert session.remove_folder(staging)


def lab_door(lab: Lab, home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run exremote-lab to its end, for a user whose running lab is this one."""
    note = home / "exremote-lab" / "lab.json"
    note.parent.mkdir(exist_ok=True)
    note.write_text(json.dumps({"control": lab.client.url, "token": lab.client.token}))
    return subprocess.run(
        [sys.executable, "-m", "exremote.lab", *args],
        env={**os.environ, "XDG_DATA_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_host_is_broken_in_every_way_that_a_restore_mends(
    lab: Lab, session: Session, tmp_path: Path
) -> None:
    conndata = r"C:\Program Files\Exchsrvr\Conndata"
    before = entries(session, conndata)
    done = lab.client.break_host(NAME.lower())
    if lab.simulated:  # under Wine it would only take longer
        said = lab_door(lab, tmp_path, "break", NAME).stdout
        assert [
            tuple(re.split(" {2,}| (?=[A-Z]:|HKLM|LME)", line, maxsplit=1)) for line in said.splitlines()
        ] == done
        assert "the lab has no EXNONE01" in lab_door(lab, tmp_path, "break", "EXNONE01").stderr
    after = entries(session, conndata)
    assert before.keys() - after.keys() == {r"Tables\lab0001.tbl"}
    assert after.keys() - before.keys() == {"broken.seq", "broken.ck", r"Temp\broken.seq"}
    old, new = before[r"Tables\lab0002.tbl"], after[r"Tables\lab0002.tbl"]
    assert (old.size, old.modified_ticks) == (new.size, new.modified_ticks)
    assert old.sha256 != new.sha256
    state = session.service_states(["LME-NOTES"])[0]
    assert (state.state, state.start_mode) == ("Stopped", "Disabled")
    services = r"HKLM\SYSTEM\CurrentControlSet\Services"
    assert session.registry_values([(rf"{services}\LME-NOTES", "DisplayName")])[0].text == "LABWRONG"
    assert [what for what, _ in done] == [
        "deleted", "changed", "set wrong", "stopped and disabled", *["left behind"] * 3,
    ]  # fmt: skip
    mended = session.set_service("LME-NOTES", "Running", 30, "Manual")
    assert (mended.state, mended.start_mode) == ("Running", "Manual")
