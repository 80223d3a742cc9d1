"""What a host answered, as typed records, parsed once at the edge. Facts never judge, and never ask.

Only this folder names the properties that the bundled scripts emit. `HostFacts` goes to JSON and
comes back without loss, so that a recorded host can be judged again without a network.
"""

from exremote.facts.approach import ApproachFact, Trouble
from exremote.facts.codec import part
from exremote.facts.collected import FORMAT, HostFacts, Presence
from exremote.facts.deeds import (
    CopyFailure,
    FileDeed,
    RegistryDeed,
    RegistrySetting,
    RemovedFile,
    ServiceChange,
    StartMode,
    SwapFile,
    TreeCopy,
    WantedState,
    folder_removed,
    guard_started,
)
from exremote.facts.files import (
    FileEntry,
    NamedFile,
    NotesIni,
    RegistryExport,
    TableText,
    TreeFact,
    WriteFailure,
)
from exremote.facts.gateway import ApiDirectoryFact, ApiQueue, ConnectorObject, EventCount
from exremote.facts.host import Disk, HostFact, RegistryValue, ServiceState
from exremote.facts.ntbackup import NtBackupJob, RemovedJob, StartedJob, TapeFile
from exremote.facts.parse import FactError, Record
from exremote.facts.reasons import advise, in_words, reason_of, remedy_in
from exremote.facts.security import INHERIT, MADE_UP, AccessLists, accounts_in, parse_access_lists

__all__ = [
    "FORMAT",
    "INHERIT",
    "MADE_UP",
    "AccessLists",
    "ApiDirectoryFact",
    "ApiQueue",
    "ApproachFact",
    "ConnectorObject",
    "CopyFailure",
    "Disk",
    "EventCount",
    "FactError",
    "FileDeed",
    "FileEntry",
    "HostFact",
    "HostFacts",
    "NamedFile",
    "NotesIni",
    "NtBackupJob",
    "Presence",
    "Record",
    "RegistryDeed",
    "RegistryExport",
    "RegistrySetting",
    "RegistryValue",
    "RemovedFile",
    "RemovedJob",
    "ServiceChange",
    "ServiceState",
    "StartMode",
    "StartedJob",
    "SwapFile",
    "TableText",
    "TapeFile",
    "TreeCopy",
    "TreeFact",
    "Trouble",
    "WantedState",
    "WriteFailure",
    "accounts_in",
    "advise",
    "folder_removed",
    "guard_started",
    "in_words",
    "parse_access_lists",
    "part",
    "reason_of",
    "remedy_in",
]
