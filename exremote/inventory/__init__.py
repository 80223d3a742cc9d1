"""Inventory: the servers of a site, read from TOML and resolved at load. It never connects to anything.

It never reads a secret either (see credential.py).

model   what is in force for each server, and where it came from
schema  the file as it is written
reader  from the file to the servers
lines   where in the file each key stands, for errors
files   whether the files that it names are what they should be
cures   what to do about a file that is no TOML, or a key in the wrong place
accepting  the findings that a site lives with
advice  what would keep a file that is right from being of use
names   what a name may be
amounts rates and sizes as a person writes them
"""

from exremote.inventory.accepting import Acceptance
from exremote.inventory.advice import SAME_LISTENER, advice, same_listener
from exremote.inventory.amounts import LEAST_RATE, parse_rate, parse_size, rate_text
from exremote.inventory.lines import key_lines
from exremote.inventory.model import (
    Deadlines,
    Endpoint,
    Gateway,
    Group,
    Host,
    Inventory,
    NtBackup,
    RetryPolicy,
    Setting,
    find_name,
    near,
)
from exremote.inventory.names import FOLDER_ON_HOST, name_problem, second_hop_problem, split_address

__all__ = [
    "FOLDER_ON_HOST",
    "LEAST_RATE",
    "SAME_LISTENER",
    "Acceptance",
    "Deadlines",
    "Endpoint",
    "Gateway",
    "Group",
    "Host",
    "Inventory",
    "NtBackup",
    "RetryPolicy",
    "Setting",
    "advice",
    "find_name",
    "key_lines",
    "name_problem",
    "near",
    "parse_rate",
    "parse_size",
    "rate_text",
    "same_listener",
    "second_hop_problem",
    "split_address",
]
