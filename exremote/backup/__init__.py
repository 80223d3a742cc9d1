"""Backup: facts of a host become a plan, its steps are done, each connector gets a snapshot.

What connectors share is copied live. Services are stopped only where the inventory wants it, for a copy of
what they hold open, and start again whatever happens. It never calls a snapshot whole that lacks something.

planning  facts become a plan, pure
stopping  which folders are copied while services stand
errand    one host from facts to committed snapshots
draft     what came in becomes the draft of a snapshot
"""

from exremote.backup.draft import draft_of, listing_text
from exremote.backup.errand import Errand, Taken
from exremote.backup.planning import choose, plan_backup

__all__ = ["Errand", "Taken", "choose", "draft_of", "listing_text", "plan_backup"]
