"""Backup: facts of a host become a plan, its steps are done, each connector gets a snapshot.

What connectors share is copied live. Services are stopped only where the inventory wants it, for a copy of
what they hold open, and start again whatever happens. It never calls a snapshot whole that lacks something.

planning  facts become a plan, pure
stopping  which folders are copied while services stand
errand    one host from facts to committed snapshots
tables    the tables alone, every few minutes
footing   what that stands on: the last full snapshots
need      what a plan needs on the repository's volume
draft     what came in becomes the draft of a snapshot
parts     what ntbackup saves: facts become a plan of one job, pure
ntbackup  one host's jobs, from facts to committed snapshots
identity  which machine it is, for whoever must build another like it
verdict   whether a job is a backup: exit code, log and .bkf together, pure
whole     connectors and jobs of one host
"""

from exremote.backup.draft import draft_of, listing_text
from exremote.backup.errand import Errand, Taken
from exremote.backup.footing import footings, no_footing, without_tables
from exremote.backup.ntbackup import JobErrand
from exremote.backup.planning import choose, plan_backup
from exremote.backup.tables import PART as TABLES
from exremote.backup.tables import TablesErrand
from exremote.backup.whole import Whole, wanted_of

__all__ = [
    "TABLES",
    "Errand",
    "JobErrand",
    "TablesErrand",
    "Taken",
    "Whole",
    "choose",
    "draft_of",
    "footings",
    "listing_text",
    "no_footing",
    "plan_backup",
    "wanted_of",
    "without_tables",
]
