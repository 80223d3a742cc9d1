"""All that one host can be asked to do: only here are scripts named, and only here is anything retried.

It never judges an answer, never stores one, and never tries a refused credential again.

questions  the questions, and the scripts that answer them
deeds      what changes the host, and the scripts that do it
line       the line to the host: patience, deadlines, bounds
route      how a call reaches a host that has no WinRM
second_hop the hop there, from its gateway
security   access lists of files and folders, asked and set
share_hop  the hop from a host to a share of another computer
jobs       the questions and deeds about ntbackup
tapes      the one question about a tape file that stays on the host
pace       how fast the line is, and may be
answers    whether an answer can be what was asked for
"""

from exremote.session.line import EventHandler, TransportFactory
from exremote.session.pace import Pace, Throttle
from exremote.session.questions import Session
from exremote.session.security import ListRoot

__all__ = ["EventHandler", "ListRoot", "Pace", "Session", "Throttle", "TransportFactory"]
