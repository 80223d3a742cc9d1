"""Restore: what snapshots hold against what a host has becomes a plan, shown first, then carried out, proven.

Nothing is overwritten that was not saved before. It never sets a key of the registry as a whole, and never
touches what its plan does not name.

aim       what is wanted, gathered from snapshots, or from a run that is undone
folders   which folders are to be there
listed    which access lists a snapshot holds
lists     which of them differ, pure
looking   what is there instead
order     in which order services start
services  which of them stop, and how each is to be in the end
planning  what differs, pure
saving    what a plan replaces, saved before
deed      a plan carried out, step by step
waves     whose turn it is
verifying snapshots read whole first
approval  whether a plan is still the approved one, pure
errand    one host from its snapshot to the proof
into      into a folder of a host, where nothing is touched
drill     a restore tried where nothing is in use
erased    what no undo brings back
history   what earlier runs say
owing     what those that broke off owe the host
"""

from exremote.restore.aim import Aim, aim_of, aim_of_undo, name_of, parts_of
from exremote.restore.approval import ONLY_PLANNED, check_approved
from exremote.restore.deed import clear_scratch
from exremote.restore.drill import Drilled, DrillErrand, Subject, drill_code
from exremote.restore.erased import erased_note
from exremote.restore.errand import Errand, Restored, Work
from exremote.restore.history import Undoable, last_down_s, scratch_left, undoable
from exremote.restore.into import IntoErrand, Laid
from exremote.restore.owing import Owed, owed, saved_before
from exremote.restore.planning import plan_changes
from exremote.restore.services import kinds_down
from exremote.restore.verifying import verify_whole
from exremote.restore.waves import Waves, in_waves

__all__ = [
    "ONLY_PLANNED",
    "Aim",
    "DrillErrand",
    "Drilled",
    "Errand",
    "IntoErrand",
    "Laid",
    "Owed",
    "Restored",
    "Subject",
    "Undoable",
    "Waves",
    "Work",
    "aim_of",
    "aim_of_undo",
    "check_approved",
    "clear_scratch",
    "drill_code",
    "erased_note",
    "in_waves",
    "kinds_down",
    "last_down_s",
    "name_of",
    "owed",
    "parts_of",
    "plan_changes",
    "saved_before",
    "scratch_left",
    "undoable",
    "verify_whole",
]
