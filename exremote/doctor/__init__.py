"""Doctor: the first hour with a host, stage by stage, one sentence and one fix each.

It changes nothing on the host, leaves no shell there, and never tries a refused credential again. A stage
that fails skips those that need it, and says so. docs/doctor.md has every stage.

stage        what a stage is, and what it makes of the exit code
case         one examination: what is known so far, and the order of the stages
approach     the stages on the way to the host, up to WinRM's own settings
inside       the stages that ask the host itself, in a shell
jobs         the stage that asks whether ntbackup could save it
"""

from exremote.doctor.case import STAGES, examine, stages_of
from exremote.doctor.stage import Stage, Verdict, exit_code

__all__ = ["STAGES", "Stage", "Verdict", "examine", "exit_code", "stages_of"]
