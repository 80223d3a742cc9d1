"""Plans are values: JSON and back, one identity, a closed list of steps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.plan import (
    STEP_KINDS,
    CopyDirectoryObject,
    CopyFiles,
    CopyRegistryKey,
    CopyServiceStates,
    CopyStopped,
    CopyTree,
    Gap,
    HeldTree,
    ListedItem,
    Plan,
    ReadAccessLists,
    RunNtBackup,
    step_from_json,
)

words = st.text(max_size=12)
names = st.lists(words, max_size=3).map(tuple)
steps = st.one_of(
    st.builds(
        CopyTree, words, names, words, names, names, words, st.integers(0), st.integers(0), st.booleans()
    ),
    st.builds(
        CopyStopped,
        names,
        st.lists(st.builds(HeldTree, words, words, words, st.integers(0), st.integers(0)), max_size=2).map(
            tuple
        ),
        names,
        st.lists(st.integers(0), max_size=3).map(tuple),
        st.integers(0),
        words,
        st.integers(0),
    ),
    st.builds(CopyFiles, words, names, words, names, st.booleans()),
    st.builds(CopyRegistryKey, words, names, words, st.booleans()),
    st.builds(CopyServiceStates, names, names),
    st.builds(CopyDirectoryObject, words, names, words),
    st.builds(
        RunNtBackup,
        words,
        names,
        words,
        words,
        names,
        names,
        words,
        words,
        st.floats(0, 9e5),
        st.booleans(),
        words,
    ),
)
plans = st.builds(
    Plan,
    words,
    names,
    st.lists(steps, max_size=5).map(tuple),
    st.lists(st.builds(Gap, names, words, words, st.booleans()), max_size=2).map(tuple),
)


@given(plans)
def test_a_plan_survives_json(plan: Plan) -> None:
    """Whatever a plan holds, its JSON gives the same plan and the same digest."""
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.digest == plan.digest


def test_another_step_is_another_plan() -> None:
    """The digest tells plans apart by any field of any step."""
    one = Plan("EX1", ("notes",), (CopyTree("conndata", ("notes",), "C:\\Conndata", digest="a"),))
    two = Plan("EX1", ("notes",), (CopyTree("conndata", ("notes",), "C:\\Conndata", digest="b"),))
    assert one.digest != two.digest


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "format-disk"}, "unknown kind of step: 'format-disk'"),
        ({}, "unknown kind of step: None"),
        ({"kind": "copy-tree", "item": "x"}, "step copy-tree: connectors"),
        (
            {"kind": "copy-tree", "item": "x", "connectors": [], "root": "r", "colour": 1},
            "unknown field 'colour'",
        ),
        ({"kind": "copy-tree", "item": "x", "connectors": [], "root": "r", "files": "many"}, "files"),
    ],
)
def test_what_is_no_step_is_refused(data: dict[str, object], words: str) -> None:
    """A step that this version does not know is never skipped in silence."""
    with pytest.raises(ValueError, match=words):
        step_from_json(data)


def test_every_step_describes_itself() -> None:
    """The dry run prints one line a step, and a line for each gap."""
    plan = Plan(
        "EX1",
        ("notes",),
        (
            CopyTree("conndata", ("notes",), "C:\\Conndata", files=3, bytes=10),
            CopyStopped(
                ("msmail",),
                (HeldTree("maildata", "D:\\Maildata", "D:\\exremote-copy-maildata", 3, 10),),
                ("MSExchangeMSMI", "MTA"),
                (120, 120),
                120,
                "D:\\exremote-guard-msmail",
                2040,
            ),
            CopyFiles("notes-ini", ("notes",), "C:\\Windows", ("Notes.ini",), secret=True),
            CopyRegistryKey("client", ("notes",), "HKLM\\SOFTWARE\\Lotus\\Notes"),
            CopyServiceStates(("notes",), ("MSExchangeCoCo", "LME-NOTES")),
            CopyDirectoryObject("object", ("notes",), "msExchNotesConnector"),
            ReadAccessLists((ListedItem("conndata", ("notes",), "C:\\Conndata"),), ("notes",)),
            RunNtBackup(
                "systemstate",
                ("systemstate",),
                "job",
                "D:\\x",
                ("SystemState",),
                ("System State",),
                "",
                "wmi",
                60.0,
            ),
        ),
        (Gap(("notes",), "Notes program folder", "the registry has no Path value"),),
    )
    assert {step.kind for step in plan} == set(STEP_KINDS)
    lines = plan.describe()
    assert len(lines) == 9
    assert lines[6] == "read access lists: conndata"
    assert lines[7] == "run ntbackup, job job: System State into D:\\x"
    assert lines[1] == (
        "stop MSExchangeMSMI, MTA, copy D:\\Maildata to D:\\exremote-copy-maildata (10 bytes), "
        "start them, and fetch the copy"
    )
    assert lines[0] == "copy tree conndata: C:\\Conndata (3 files, 10 bytes)"
    assert lines[-1].startswith("cannot take Notes program folder (notes)")
