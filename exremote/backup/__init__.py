"""Backup: facts of a host become a plan, its steps are done, each connector gets a snapshot.

Nothing here stops a service or changes a host: what these connectors share is copied live. It never
calls a snapshot whole that lacks something.

planning  facts become a plan, pure
errand    one host from facts to committed snapshots
draft     what came in becomes the draft of a snapshot
"""

from exremote.backup.draft import draft_of, listing_text
from exremote.backup.errand import Errand, Taken
from exremote.backup.planning import choose, plan_backup

__all__ = ["Errand", "Taken", "choose", "draft_of", "listing_text", "plan_backup"]
