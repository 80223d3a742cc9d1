"""ntbackup as a program that is given a selection and a command line, and leaves a log. It starts nothing.

Facts about it carry their source and how sure they are, as in the connector files: S read, I inferred, R
recalled.

command  the selection file and the command line, every switch spelt out
log      what a log says, by the words of its language; words.toml has them
"""

from exremote.ntbackup.command import (
    PARTS,
    Job,
    Part,
    bks,
    jet_line,
    storage_groups_job,
    system_state_job,
)
from exremote.ntbackup.log import LogSays, decoded, read_log

__all__ = [
    "PARTS",
    "Job",
    "LogSays",
    "Part",
    "bks",
    "decoded",
    "jet_line",
    "read_log",
    "storage_groups_job",
    "system_state_job",
]
