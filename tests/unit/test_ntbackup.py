"""ntbackup as values: selections, command lines, logs; and the judgement over exit code, log and tape."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from exremote.backup.verdict import judge_job
from exremote.facts import NtBackupJob
from exremote.lab.tape import TapeFile, TapeSet, tape
from exremote.mtf import walk
from exremote.ntbackup import bks, decoded, jet_line, read_log, storage_groups_job, system_state_job
from exremote.runner import JobEnd

NAME = "exremote-storagegroups-20261122T135907Z-00c0ffee"
GROUPS = ("First Storage Group", "Zweite Gruppe, mit Komma")
JOB = storage_groups_job(NAME, r"D:\exremote\storagegroups", "5.2.3790", "EX01", GROUPS, "copy")
WHEN = datetime(2026, 11, 22, 13, 59, 7)
LOG = "\r\n".join(
    ["Backup Status", "Operation: Backup", f'Media name: "{NAME}.bkf created 11/22/2026 at 1:59 PM"']
    + ["Backup completed on 11/22/2026 at 2:00 PM."] * 2
)
STATE = NtBackupJob(
    "D:\\x", "Ended", NAME, 0, 9, datetime(2026, 11, 22, tzinfo=UTC), 1, 0, "C:\\l", "C:\\n", ()
)


def made(*devices: str, media: str = NAME, empty: bool = False) -> JobEnd:
    sets = [
        TapeSet(device, device, () if empty else (TapeFile("priv1.edb", b"x", stray=True),))
        for device in devices
    ]
    data = tape(sets, media=f"{media}.bkf created", machine="EX01", when=WHEN)
    return JobEnd(STATE, log=read_log(LOG, NAME), tape=walk([data]))


GOOD = made(*JOB.sets)


def test_a_selection_is_utf_16_with_its_mark_a_line_an_entry_and_a_last_backslash() -> None:
    """The form of published scripts: `JET <server>\\Microsoft Information Store\\<group>\\`."""
    assert bks(JOB.lines) == (
        b"\xff\xfe"
        + (
            "JET EX01\\Microsoft Information Store\\First Storage Group\\\r\n"
            "JET EX01\\Microsoft Information Store\\Zweite Gruppe, mit Komma\\\r\n"
        ).encode("utf-16-le")
    )


@pytest.mark.parametrize("name", ["", " ", "a\\b", 'a"b', "a\nb", "a/b"])
def test_a_name_that_would_be_another_selection_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a server or storage group"):
        jet_line("EX01", name)


@pytest.mark.parametrize(
    ("version", "snap"),
    [("5.0.2195", ""), ("5.1.2600", "on"), ("5.2.3790", "on"), ("", ""), ("6.1.7601", "on")],
)
def test_every_switch_is_said_and_snapshots_where_there_are_such(version: str, snap: str) -> None:
    job = system_state_job("job-1", r"D:\x", version)
    words = job.arguments.split(" ")
    assert job.arguments.startswith(r'backup "@D:\x\job-1.bks" /J "job-1" /F "D:\x\job-1.bkf" /D "job-1" ')
    for switch in ("/V:no", "/R:no", "/L:s", "/RS:no", "/HC:off"):
        assert switch in words
    assert words[words.index("/M") + 1] == "copy"
    assert [w for w in words if w.startswith("/SNAP")] == ([f"/SNAP:{snap}"] if snap else [])
    assert not {"/A", "/P", "/G", "/T", "/DS", "/IS"} & set(words)


def test_a_windows_set_is_one_job_that_leaves_its_own_folder_out() -> None:
    job = system_state_job("j", r"C:\exremote\systemstate", "5.2", ["C:\\"], ["C:\\exremote\\"])
    assert job.lines == ("C:\\", "C:\\exremote\\ /Exclude", "SystemState")
    assert job.sets == ("C:", "System State")


def test_a_log_is_read_in_its_own_encoding_and_words() -> None:
    for data in (("\ufeff" + LOG).encode("utf-16-le"), LOG.encode("utf-16-le"), LOG.encode("cp1252")):
        says = read_log(decoded(data), NAME)
        assert (says.language, says.completed, says.named, says.bad) == ("English", 2, True, ())
    strange = read_log("Sicherungsstatus\r\nError: nobody knows\r\n", NAME)
    assert (strange.language, strange.bad, strange.named) == ("", (), False)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Error: The device reported an error.", "failed"),
        ("The operation did not successfully complete.", "failed"),
        (
            'WARNING: Portions of "\\Log Files" cannot be read. The backed up data is corrupt or incomplete.',
            "corrupt",
        ),
        ("This file will not restore correctly.", "corrupt"),
        ('Warning: Unable to open "C:\\x" - skipped.', "skipped"),
        ("Warning: something new", "warnings"),
    ],
)
def test_each_line_is_of_its_kind(line: str, kind: str) -> None:
    says = read_log(f"{LOG}\r\n  {line}\r\n", NAME)
    assert getattr(says, kind) == (line,)
    judged = judge_job(replace(GOOD, log=says), JOB.sets)
    assert bool(judged.bad) == (kind != "warnings")
    assert bool(judged.unknown) == (kind == "warnings")


def test_all_three_well_is_a_backup_and_nothing_is_unknown() -> None:
    assert judge_job(GOOD, JOB.sets) == judge_job(GOOD, [one.upper() for one in JOB.sets])
    assert (judge_job(GOOD, JOB.sets).bad, judge_job(GOOD, JOB.sets).unknown) == ((), ())


def test_each_of_the_three_alone_can_make_it_none() -> None:
    def bad(end: JobEnd) -> str:
        return "; ".join(f"{what}: {why}" for what, why in judge_job(end, JOB.sets).bad)

    assert "exit code 1" in bad(replace(GOOD, job=replace(STATE, exit_code=1)))
    assert "neither runs nor left an exit code" in bad(replace(GOOD, job=replace(STATE, state="Lost")))
    assert "it hung" in bad(replace(GOOD, stopped="it hung"))
    assert "has written none" in bad(replace(GOOD, job=replace(STATE, bytes=-1), tape=None))
    assert "1 of 2 sets" in bad(made(JOB.sets[0])), "cut between two sets"
    assert "is empty" in bad(made(*JOB.sets, empty=True))
    one = read_log(LOG.rpartition("\r\n")[0], NAME)
    assert "1 of 2 sets that they are complete" in bad(replace(GOOD, log=one))


def test_what_nobody_can_tell_is_unknown() -> None:
    def unknown(end: JobEnd) -> list[tuple[str, str]]:
        judged = judge_job(end, JOB.sets)
        assert judged.bad == ()
        return list(judged.unknown)

    assert [check for check, _ in unknown(replace(GOOD, log=None))] == ["ntbackup.log"]
    (renamed,) = unknown(made("Systemstatus", JOB.sets[1]))
    assert renamed[0] == "ntbackup.bkf"
    assert "'Systemstatus'" in renamed[1]
    (more,) = unknown(made(*JOB.sets, "extra"))
    assert "3 sets, and 2" in more[1]
    (other,) = unknown(made(*JOB.sets, media="other"))
    assert "does not name this job" in other[1]
    words = [why for _, why in unknown(replace(GOOD, log=read_log("ラボ", NAME)))]
    assert len(words) == 2, "neither its words nor its job are known"
