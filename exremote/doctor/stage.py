"""What a stage of an examination is: a value. It asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from exremote.errors import EXIT_BAD_NEWS, EXIT_OK


class Verdict(StrEnum):
    """How a stage went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of an examination."""

    stage: str
    """Its name."""
    verdict: Verdict
    """How it went. `skipped`: it needs one that failed, or has no object here; `unknown`: no way to tell."""
    sentence: str
    """What was found."""
    fix: str = ""
    """What to do about it; '' if there is nothing to do."""
    exit_code: int = EXIT_OK
    """What it makes of the exit code."""
    seconds: float = 0.0
    """How long it took."""

    def to_json(self) -> dict[str, Any]:
        """Return it as values that JSON has."""
        return {
            "stage": self.stage,
            "verdict": str(self.verdict),
            "sentence": self.sentence,
            "fix": self.fix,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
        }


def ok(sentence: str, fix: str = "") -> Stage:
    """Given what was found, return a stage that went well; a fix is then what could be better still."""
    return Stage("", Verdict.OK, sentence, fix)


def warning(sentence: str, fix: str) -> Stage:
    """Given what was found and what to do, return a stage that went well enough to go on."""
    return Stage("", Verdict.WARNING, sentence, fix)


def failed(sentence: str, fix: str, exit_code: int = EXIT_BAD_NEWS) -> Stage:
    """Given what was found, what to do and the exit code, return a stage that failed."""
    return Stage("", Verdict.FAILED, sentence, fix, exit_code)


def skipped(sentence: str) -> Stage:
    """Given why, return a stage that has no object."""
    return Stage("", Verdict.SKIPPED, sentence)


def unknown(sentence: str, fix: str = "") -> Stage:
    """Given why, return a stage that could not tell."""
    return Stage("", Verdict.UNKNOWN, sentence, fix)


def exit_code(stages: Sequence[Stage], fail_on: Verdict = Verdict.FAILED) -> int:
    """Given a host's stages and from which verdict on it is bad news, return its exit code.

    The first stage that failed decides; what it keeps from being looked at cannot.
    """
    for stage in stages:
        if stage.verdict == Verdict.FAILED:
            return stage.exit_code
    bad = fail_on == Verdict.WARNING and any(stage.verdict == Verdict.WARNING for stage in stages)
    return EXIT_BAD_NEWS if bad else EXIT_OK
