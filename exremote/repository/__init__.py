"""The repository of snapshots: a plain folder with promises (docs/repository.md). It never talks to a host.

names     names from a host become paths of ours
disk      what is asked of a file system, on Linux and on Windows
system    which system this is, and which of its processes live
lock      who works here, where, since when
objects   each content once, named by its SHA-256
naming    which snapshot a person means
mark      what makes a folder a repository
parts     one content on its way in, in parts
staging   where one host's files lie until they are whole
manifest  what a snapshot says of itself
reading   a manifest read back, and nothing in it believed unseen
snapshot  how a snapshot is built and read
proofs    when a snapshot was last proven to restore
distant   what stays on a host, and how it was when last looked at
composed  the newest full snapshot with newer tables over it
building  a snapshot's folder on its way into place
verify    every byte against what was written down
damage    what was found damaged, noted until it came anew
mending   what came anew, in all places that had it damaged
forget    what may go, and what nothing names
copying   a snapshot of one repository into another
room      whether what hosts are about to bring fits the volume
export    a snapshot as plain files under the host's own names
store     the repository: all of it together
"""

from exremote.repository.composed import Composed, compose, part_of, scopes
from exremote.repository.copying import Standing
from exremote.repository.disk import is_private
from exremote.repository.distant import Kept, Look, waiting
from exremote.repository.export import Exported, export
from exremote.repository.forget import NEWEST, Candidate, Fate, KeepPolicy, Unused, decide, own_bytes
from exremote.repository.lock import (
    Lock,
    LockOwner,
    LockState,
    age_text,
    break_lock,
    hold,
    list_locks,
    read_lock,
)
from exremote.repository.manifest import (
    Content,
    Document,
    Elsewhere,
    Entry,
    Head,
    Kind,
    Manifest,
    Omission,
    SnapshotDraft,
    TreeRecord,
    compact_entries,
    joined_entries,
)
from exremote.repository.names import UnsafeName, is_host, remote_name, safe_relative, stored_path
from exremote.repository.objects import ObjectWriter
from exremote.repository.parts import Assembly
from exremote.repository.proofs import Proof
from exremote.repository.room import Need, Room
from exremote.repository.snapshot import VOLATILE, Snapshot
from exremote.repository.staging import Staging
from exremote.repository.store import WHOLE, CheckRecord, Repository
from exremote.repository.verify import Problem

__all__ = [
    "NEWEST",
    "VOLATILE",
    "WHOLE",
    "Assembly",
    "Candidate",
    "CheckRecord",
    "Composed",
    "Content",
    "Document",
    "Elsewhere",
    "Entry",
    "Exported",
    "Fate",
    "Head",
    "KeepPolicy",
    "Kept",
    "Kind",
    "Lock",
    "LockOwner",
    "LockState",
    "Look",
    "Manifest",
    "Need",
    "ObjectWriter",
    "Omission",
    "Problem",
    "Proof",
    "Repository",
    "Room",
    "Snapshot",
    "SnapshotDraft",
    "Staging",
    "Standing",
    "TreeRecord",
    "UnsafeName",
    "Unused",
    "age_text",
    "break_lock",
    "compact_entries",
    "compose",
    "decide",
    "export",
    "hold",
    "is_dead",
    "is_host",
    "is_private",
    "joined_entries",
    "list_locks",
    "own_bytes",
    "part_of",
    "read_lock",
    "remote_name",
    "safe_relative",
    "scopes",
    "stored_path",
    "waiting",
]
