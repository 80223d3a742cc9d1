"""Recovery of a lost server along the nine steps of Microsoft's tip (KB 328835), over days and restarts.

What a machine can do it does; what only a person can, it has a person do, and looks whether it was done. It
writes nothing to a machine that could be the wrong one.

steps         a recovery as plain values
original      what the lost server was, read from its snapshots
editions      which Exchange a build number is
instructions  what a person does at the console, in words
planning      the plan, from what the repository holds
record        what the journals say of a recovery, over all its runs
history       the same, told: who did what when, and what proved it
reaching      how the new machine is reached, before step 5 and after
asking        what is asked of it for each step
checks        whether a step was really done, pure
bringing      what a person needs at the console, put there
proving       step 9
rehearsing    whether each step could be done now
ground        what every step stands on: what hosts share, and one host with its record
beginning     steps 1 to 4
people        steps that a person does, looked at before they count
restarts      the machine is waited for
finishing     steps 6 to 9
errand        one host through all steps
"""

from typing import TYPE_CHECKING

from exremote.ondemand import ondemand

if TYPE_CHECKING:
    from exremote.recover.doubts import (
        IN_SERVICE,
        Doubt,
        doubt_about,
        doubt_text,
        doubts_of,
        machine_seen,
        names_in,
    )
    from exremote.recover.editions import build_text
    from exremote.recover.errand import RecoveryErrand
    from exremote.recover.ground import Person
    from exremote.recover.history import Link, StepStory, chain, said_whole, stories
    from exremote.recover.instructions import CONNECTORS, LEGEND, steps_text
    from exremote.recover.planning import newest, passed_over, plan_recovery, taken_instead
    from exremote.recover.reaching import temporary_host
    from exremote.recover.record import (
        ANSWERED,
        ASKED,
        CONFIRM,
        CONFIRMED,
        GIVEN_UP,
        NOTED,
        VERB,
        Answer,
        HostRecord,
        RecoveryRecord,
        answer_fields,
        answers_for,
        plans_in,
        read_recovery,
        recoveries,
        recovery_of,
        runs_of,
    )
    from exremote.recover.rehearsing import Rehearsal, rehearsed
    from exremote.recover.steps import Evidence, Question, RecoveryPlan, Step
else:
    __getattr__ = ondemand(
        __name__,
        {
            "exremote.recover.doubts": (
                "IN_SERVICE Doubt doubt_about doubt_text doubts_of machine_seen names_in"
            ),
            "exremote.recover.editions": "build_text",
            "exremote.recover.errand": "RecoveryErrand",
            "exremote.recover.ground": "Person",
            "exremote.recover.history": "Link StepStory chain said_whole stories",
            "exremote.recover.instructions": "CONNECTORS LEGEND steps_text",
            "exremote.recover.planning": "newest passed_over plan_recovery taken_instead",
            "exremote.recover.reaching": "temporary_host",
            "exremote.recover.record": (
                "ANSWERED ASKED CONFIRM CONFIRMED GIVEN_UP NOTED VERB Answer HostRecord "
                "RecoveryRecord answer_fields answers_for plans_in read_recovery recoveries recovery_of "
                "runs_of"
            ),
            "exremote.recover.rehearsing": "Rehearsal rehearsed",
            "exremote.recover.steps": "Evidence Question RecoveryPlan Step",
        },
    )

__all__ = [
    "ANSWERED",
    "ASKED",
    "CONFIRM",
    "CONFIRMED",
    "CONNECTORS",
    "GIVEN_UP",
    "IN_SERVICE",
    "LEGEND",
    "NOTED",
    "VERB",
    "Answer",
    "Doubt",
    "Evidence",
    "HostRecord",
    "Link",
    "Person",
    "Question",
    "RecoveryErrand",
    "RecoveryPlan",
    "RecoveryRecord",
    "Rehearsal",
    "Step",
    "StepStory",
    "answer_fields",
    "answers_for",
    "build_text",
    "chain",
    "doubt_about",
    "doubt_text",
    "doubts_of",
    "machine_seen",
    "names_in",
    "newest",
    "passed_over",
    "plan_recovery",
    "plans_in",
    "read_recovery",
    "recoveries",
    "recovery_of",
    "rehearsed",
    "runs_of",
    "said_whole",
    "steps_text",
    "stories",
    "taken_instead",
    "temporary_host",
]
