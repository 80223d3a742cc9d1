"""Why a script did not answer, in words, and what can be done about it. It judges nothing and asks nobody.

Scripts give ids, which are the same in every language, and texts in the host's own language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from exremote.errors import ScriptFailed

WORDS: Mapping[str, str] = {
    "ExRemote.AccessDenied": "this account may not read it",
    "ExRemote.FileLocked": "it is locked by another process",
    "ExRemote.FileMissing": "it is gone",
    "ExRemote.IsFolder": "it is a folder there",
    "ExRemote.Link": "its path leads over a link",
    "ExRemote.Locked": "it is locked by another process",
    "ExRemote.NoList": "it has none, as on a drive that keeps none",
    "ExRemote.ReadFailed": "it could not be read",
    "ExRemote.UnknownForm": "it has an entry of a kind that exremote does not keep",
}
"""What the ids say of a file or a folder."""
REMEDIES: Mapping[str, str] = {
    "ExRemote.AccessDenied": (
        "Give the account the right to read it; an administrator of the host mostly has it."
    ),
    "ExRemote.BadArgument": (
        "Correct the path: it comes from the inventory's variables, or from the host itself."
    ),
    "ExRemote.DiskFull": "Make room on the host's drive that the copy goes to.",
    "ExRemote.DirectoryUnavailable": (
        "See whether the host reaches a domain controller; if it does, the log-on ends at the host, and the "
        "directory's own backup has to do."
    ),
    "ExRemote.EventLogUnavailable": (
        "Let the account read the host's Application log, and see that its service EventLog runs."
    ),
    "ExRemote.ExportFailed": (
        "Make room on the host's system drive, where reg.exe writes into the account's temporary folder, and "
        "let the account write there."
    ),
    "ExRemote.FileLocked": "Close what keeps it open, or take it while that is stopped.",
    "ExRemote.KeyUnreadable": (
        "Give the account the right to read that registry key; an administrator has it."
    ),
    "ExRemote.KeyDenied": "Give the account the right to write that registry key; an administrator has it.",
    "ExRemote.KindUnsupported": "Set that value by hand with regedit, from the snapshot's .reg file.",
    "ExRemote.Link": "Look who made a link there; put the folder itself in its place, if that was not meant.",
    "ExRemote.Locked": "Stop or close what keeps it open.",
    "ExRemote.PathMissing": (
        "Look for the folder on the host: its registry, or the inventory, says that it is there."
    ),
    "ExRemote.ReadFailed": "Look into the host's event log for trouble with its disk.",
    "ExRemote.ServiceDenied": "Use an administrator of the host: he may start, stop and set up its services.",
    "ExRemote.ServiceDisabled": "Somebody has disabled it: find out why, then set how it starts.",
    "ExRemote.ServiceFailed": "Look into the host's event log for what the service says of its start.",
    "ExRemote.ServiceMissing": (
        "Install it: Exchange's setup with /disasterrecovery brings a connector's services back."
    ),
    "ExRemote.ServiceStuck": (
        "Give it more time; if it hangs, look into the host's event log, and end its process by hand at last."
    ),
    "ExRemote.SchedulerMissing": (
        'Say start = "wmi" in the host\'s table ntbackup: Windows 2000 has no schtasks.exe.'
    ),
    "ExRemote.TaskRefused": (
        "See on the host that the service Task Scheduler runs, and that the task of the table ntbackup "
        "is there and not disabled; docs/ntbackup.md has the command that makes it."
    ),
    "ExRemote.ShareRefused": "Check api_credential, and that account's rights on the share.",
    "ExRemote.ShareUnreachable": "See that the file server is up, and that SMB (TCP 445 or 139) reaches it.",
    "ExRemote.WmiUnavailable": (
        "Open TCP 135 and RPC's ports from the gateway to the host, see that WMI works there (wbemtest), or "
        "set wmi = false at the gateway in the inventory: then disks, clock and ntbackup are left out."
    ),
}
"""What can be done, by the id."""

_OURS = ("ExRemote.", "Session.", "Transport.")
_MARK = re.compile("!?(" + "|".join(map(re.escape, WORDS)) + r")\b")


def in_words(text: str) -> str:
    """Given a text that may have ids of files and folders in it, return it with words for them."""
    return _MARK.sub(lambda found: WORDS[found[1]], text)


def remedy_in(text: str) -> str:
    """Given a text with words for an id in it, return what can be done about that; '' if there are none."""
    return next((REMEDIES[id_] for id_, words in WORDS.items() if words in text and id_ in REMEDIES), "")


def advise(error: ScriptFailed) -> None:
    """Given what a script failed with, as it came over the wire, put it in words and add what can be done."""
    said = in_words(re.sub(r"\. (?=!ExRemote\.)", ": ", error.message))
    error.message = f"{said.rstrip('.')}."
    by_hand = f"Run it by hand on the host to see why: `exremote scripts {error.script}` prints it."
    error.remedy = error.remedy or REMEDIES.get(error.error_id, by_hand if error.script else "")


def reason_of(error: ScriptFailed) -> str:
    """Given what a script failed with, return it as a part of a sentence, with the id if it is not ours."""
    said = error.message.rstrip(".")
    return said if error.error_id.startswith(_OURS) else f"{said} ({error.error_id})"
