"""Transfer: files from a host into the repository, and back: only what lacks, resumed at any byte.

It never decides what to copy (the plan does), and never stores a file that changed under its hands: such a
file is read again, then reported.

wanted   one file, and what is known of it
pull     from a listing to what is wanted, and from what came to the entries of a snapshot
board    who fetches what: spans of files, taken and split
lane     one stream: from a pack to files
fetch    one errand: its lanes, and the judgement of each file
push     files from here to a folder of a host
outgoing one file on its way there, or a piece of one
crew     the lanes of an errand, whichever way it goes
carrier  which wire bulk takes, and how many streams side by side
"""

from exremote.transfer.carrier import Carrier
from exremote.transfer.outgoing import Outgoing, piece_at, piece_of
from exremote.transfer.pull import Copied, is_secret, pull_files, pull_tree
from exremote.transfer.push import Pushed, push_files
from exremote.transfer.wanted import Progress

__all__ = [
    "Carrier",
    "Copied",
    "Outgoing",
    "Progress",
    "Pushed",
    "is_secret",
    "piece_at",
    "piece_of",
    "pull_files",
    "pull_tree",
    "push_files",
]
