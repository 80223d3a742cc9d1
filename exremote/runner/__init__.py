"""Carries plans out: one step, one host, many hosts. It never decides what should be done.

steps    the steps of a plan, in order, for one host
ntbackup one of them: a job of ntbackup, from its start to its .bkf in the repository
visit    one host: session, credential gate, left-over shells, journal
alive    which runs are alive
fleet    many hosts at once
lists    one of the steps: access lists, which no snapshot has to have
limits   what bounds a run as a whole: rate and deadline
interrupts  one signal is heard, later ones change nothing
standing  services that a killed run stopped, put back
still    whether services that were stopped still stand
outcome  how it ended: a value, and the exit code of a run
"""

from typing import TYPE_CHECKING

from exremote.ondemand import ondemand

if TYPE_CHECKING:
    from exremote.runner.alive import alive_runs, clear_dead_runs, distant_runs, living_runs, run_lock
    from exremote.runner.fleet import each_host
    from exremote.runner.interrupts import heard_once
    from exremote.runner.limits import UNLIMITED, Limits
    from exremote.runner.lists import document_of, root_of, unread_words
    from exremote.runner.ntbackup import JobEnd
    from exremote.runner.outcome import Outcome, State, exit_code, failed, interrupted
    from exremote.runner.standing import Heal, LeftDown, Standing, as_put_back, left_down
    from exremote.runner.steps import Harvest, Workplace, execute, to_document, to_pieces
    from exremote.runner.visit import Stopped, Visit, leftover_shells, tell_end
else:
    __getattr__ = ondemand(
        __name__,
        {
            "exremote.runner.alive": "alive_runs clear_dead_runs distant_runs living_runs run_lock",
            "exremote.runner.fleet": "each_host",
            "exremote.runner.interrupts": "heard_once",
            "exremote.runner.limits": "UNLIMITED Limits",
            "exremote.runner.lists": "document_of root_of unread_words",
            "exremote.runner.ntbackup": "JobEnd",
            "exremote.runner.outcome": "Outcome State exit_code failed interrupted",
            "exremote.runner.standing": "Heal LeftDown Standing as_put_back left_down",
            "exremote.runner.steps": "Harvest Workplace execute to_document to_pieces",
            "exremote.runner.visit": "Stopped Visit leftover_shells tell_end",
        },
    )

__all__ = [
    "UNLIMITED",
    "Harvest",
    "Heal",
    "JobEnd",
    "LeftDown",
    "Limits",
    "Outcome",
    "Standing",
    "State",
    "Stopped",
    "Visit",
    "Workplace",
    "alive_runs",
    "as_put_back",
    "clear_dead_runs",
    "distant_runs",
    "document_of",
    "each_host",
    "execute",
    "exit_code",
    "failed",
    "heard_once",
    "interrupted",
    "left_down",
    "leftover_shells",
    "living_runs",
    "root_of",
    "run_lock",
    "tell_end",
    "to_document",
    "to_pieces",
    "unread_words",
]
