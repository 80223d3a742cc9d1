"""Whoever does what a machine cannot in a recovery: asked at the terminal, or answering from another one.

It takes no answer for yes that is none. An answer from elsewhere (`exremote confirm`) stands in a journal of
its own, and is taken up once.
"""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

from exremote import recover
from exremote.changes import ChangePlan, Confirm
from exremote.cli.asking import POLL_S, Lines
from exremote.cli.common import now
from exremote.cli.planned import show_plans
from exremote.errors import PlanRefused, Waiting
from exremote.journal import Journal, RunRecord, is_of, read_run
from exremote.recover import Answer, Evidence, RecoveryRecord, Step
from exremote.report import Report, has_terminal
from exremote.repository import Repository

ANSWER, TEXT = "ANSWER", "TEXT"
"""What stands in a command for a yes or no, and for words of whoever types it."""

_LONGEST = 500
"""Letters of a name or of words that are kept."""


def account_name() -> str:
    """Return who runs this, as the system says."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def step_text(host: str, step: Step, place: str) -> list[str]:
    """Given a step and where it stands, return the lines by which a person does it."""
    lines = [f"{host}: {place}: {step.title} [{step.name}]"]
    lines += [f"  {number}. {text}" for number, text in enumerate(step.text, start=1)]
    lines += [f"     {name}: {value}" for name, value in step.facts]
    return lines


def wrong_text(wrong: Sequence[Evidence]) -> list[str]:
    """Given what was wrong when a step was said to be done, return a line for each."""
    return [f"  NOT YET: {e.what}: {e.said}{f' -> {e.remedy}' if e.remedy else ''}" for e in wrong]


def _words(answer: Answer) -> str:
    return f"{answer.by}: {answer.words}".rstrip(": ")


class Attendant:
    """One person, or several at several terminals, for all hosts of a recovery."""

    def __init__(
        self,
        report: Report,
        place: Repository,
        record: RecoveryRecord,
        journal: Journal,
        paused: Callable[[], AbstractContextManager[None]],
        going_on: Callable[[], None],
    ) -> None:
        """Given the recovery, what clears the screen, and what raises after an interrupt."""
        self._report = report
        self._place = place
        self._record = record
        self._journal = journal
        self._paused = paused
        self._turn = threading.Lock()
        self._reading = threading.Lock()
        self._going_on = going_on
        self._lines = Lines(going_on)
        self._taken = record.taken
        self._seen: dict[str, tuple[int, int]] = {}
        self._read: dict[str, RunRecord] = {}

    def __call__(self, host: str, step: Step, wrong: Sequence[Evidence]) -> Answer:
        """Given a step and what was wrong with it before, return the answer. Raise as `Person` says."""
        if (answer := self._elsewhere(host, step.name)) is not None:
            return answer
        if not has_terminal():
            raise self._waiting(host, step, wrong)
        if (answer := self._turn_or_answer(host, step.name)) is not None:
            return answer
        with self._in_turn():
            for line in [*self._text(host, step), *wrong_text(wrong)]:
                self._report.note(line)
            return self._asked(host, step)

    def confirm(self, host: str, step: Confirm) -> str:
        """Given what a person has to do once his files are there, ask until it is done. Return the answer.

        Who has answered it once is not asked again. Raise Waiting if nobody is there.
        """
        record = self._record.hosts[host]
        if (known := next((a for a in record.answers if a.step == step.name), None)) is not None:
            return _words(known)
        names = record.asked
        if step.name not in names:  # from now on it can be confirmed
            record.noted[recover.ASKED] = [*names, step.name]
            self._journal.event(recover.NOTED, host=host, asked=[*names, step.name])
        if (answer := self._elsewhere(host, step.name)) is not None:
            self._note(answer)
            return _words(answer)
        if not has_terminal():
            raise Waiting(
                f"{host}: its files are in place, and services are as they were found; {step.name} is to be "
                f"done by a person: {step.text}",
                f"Then `{self._command(host, step.name)} --words {TEXT}` and `exremote resume "
                f"{self._record.id}`, which starts the services.",
            )
        answer = self._turn_or_answer(host, step.name)
        if answer is None:
            with self._in_turn():
                self._report.note(f"{host}: {step.text}")
                asked_step = Step(step.name, 8, "person", step.text)
                answer = self._asked(host, asked_step)
        self._note(answer)
        return _words(answer)

    def approve(self, host: str, plan: ChangePlan, yes: bool) -> None:
        """Given the plan of step 8, show it, and have it approved.

        Raise PlanRefused if the answer is no, Waiting if nobody is there.
        """
        step = recover.CONNECTORS
        approved = f"plan {plan.digest[:12]}"
        if (answer := self._turn_or_answer(host, step, plan.digest)) is not None:
            self._note(answer)
            return
        with self._in_turn():
            if not self._report.as_json:
                show_plans(self._report, [plan], self._place)
            if yes:
                self._note(self._own(host, step, f"--yes, {approved}"))
                return
            if has_terminal():
                self._report.note(f"{host}: restore the connectors by this plan? Type yes or no:")
                if not self._yes():
                    raise PlanRefused(
                        f"{host}: the plan was not approved. Nothing of it was done.",
                        f"`exremote resume {self._record.id}` shows it again.",
                    )
                self._note(self._own(host, step, f"approved {approved}"))
                return
        if (answer := self._elsewhere(host, step, plan.digest)) is not None:
            self._note(answer)
            return
        self._journal.event(recover.NOTED, host=host, plan=plan.digest)
        raise Waiting(
            f"{host}: the plan of {step} is to be approved.",
            f"`{self._command(host, step)}`, then `exremote resume {self._record.id}`.",
        )

    # ------------------------------------------------------------ at this terminal

    def _turn_or_answer(self, host: str, step: str, plan: str = "") -> Answer | None:
        """Wait until this host may ask, while another one does. Return an answer that comes from elsewhere
        before that; None: it is this host's turn, and `_in_turn` has to end it.
        """
        while not self._turn.acquire(timeout=POLL_S):
            self._going_on()
            if (answer := self._elsewhere(host, step, plan)) is not None:
                self._report.note(f"{host}: {step}: confirmed by {answer.by}, elsewhere")
                return answer
        return None

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Have the terminal to itself, and then let the next host ask."""
        try:
            with self._paused():
                yield
        finally:
            self._turn.release()

    def _asked(self, host: str, step: Step) -> Answer:
        """Ask whether a step is done until it is. An answer from elsewhere counts as well."""
        elsewhere: list[Answer] = []

        def meanwhile() -> bool:
            if (found := self._elsewhere(host, step.name)) is not None:
                elsewhere.append(found)
            return bool(elsewhere)

        while True:
            self._report.note("Is it done? Type yes, or later:")
            line = self._lines.next(meanwhile)
            if line is None:
                self._report.note(f"{step.name}: confirmed by {elsewhere[0].by}, elsewhere")
                return elsewhere[0]
            match line.strip().lower():
                case "yes" | "y":
                    break
                case "later" | "no" | "n" | "":
                    raise Waiting(
                        f"{host}: {step.name} is to be done: {step.title.rstrip('.')}.",
                        f"When it is, go on with `exremote resume {self._record.id}`.",
                    )
        asked: dict[str, bool] = {}
        for question in step.asks:
            self._report.note(f"{question.text} Type yes or no:")
            asked[question.name] = self._yes()
        own = account_name()
        self._report.note(f"Your name ({own}):")
        by = (self._lines.next() or "").strip() or own
        words = ""
        if not step.checked:
            while not words:
                self._report.note("No machine can see that. In a few words, what did you see?")
                line = self._lines.next()
                if not line:
                    raise Waiting(
                        f"{host}: {step.name} was not confirmed.",
                        f"Go on with `exremote resume {self._record.id}`.",
                    )
                words = line.strip()
        return Answer(host, step.name, by[:_LONGEST], words[:_LONGEST], asked, now(), self._journal.run_id)

    def _yes(self) -> bool:
        while True:
            match (self._lines.next() or "no").strip().lower():
                case "yes" | "y":
                    return True
                case "no" | "n":
                    return False
            self._report.note("Type yes or no:")

    # ------------------------------------------------------------ from elsewhere

    def _answers(self) -> list[Answer]:
        """Return what `confirm` has noted for this recovery. A journal that does not change is read once."""
        with self._reading:  # hosts that wait for their turn look, too
            for path in self._place.runs_folder.glob("*.jsonl"):
                with suppress(OSError):
                    mark = (path.stat().st_size, path.stat().st_mtime_ns)
                    if self._seen.get(path.name) != mark:
                        self._seen[path.name] = mark
                        self._read.pop(path.name, None)
                        if is_of(path, recover.CONFIRM):
                            self._read[path.name] = read_run(path)
            return list(recover.answers_for(self._record.id, self._read.values()))

    def _elsewhere(self, host: str, step: str, plan: str = "") -> Answer | None:
        """Return an answer that was given by `confirm` and not taken up yet; with `plan`, about that plan."""
        for answer in self._answers():
            fits = (answer.host, answer.step, answer.plan) == (host, step, plan)
            if fits and answer.via not in self._taken:
                self._taken.add(answer.via)
                return answer
        return None

    def _waiting(self, host: str, step: Step, wrong: Sequence[Evidence]) -> Waiting:
        not_yet = f" {wrong[0].what}: {wrong[0].said}. {wrong[0].remedy}" if wrong else ""
        for line in self._text(host, step):
            self._report.note(line)
        for line in wrong_text(wrong):
            self._report.note(line)
        # Where there is no terminal nobody asks him: whoever reads this alone is to know what is asked. A `|`
        # would be a pipe, and a yes that stands there already an answer that nobody gave.
        asked = "".join(f" --answer {question.name}={ANSWER}" for question in step.asks)
        either = f" ({ANSWER}: yes or no)" if asked else ""
        confirm = f"{self._command(host, step.name)}{asked}"
        return Waiting(
            f"{host}: {step.name} is to be done by a person: {step.title}.{not_yet}",
            f"Then `{confirm}`{either} and `exremote resume {self._record.id}`.",
        )

    def _command(self, host: str, step: str) -> str:
        """Return what is typed to confirm a step: which host, too, where several may be at it."""
        which = f" --host {host}" if len(self._record.hosts) > 1 else ""
        return f"exremote confirm {self._record.id} {step}{which}"

    def _text(self, host: str, step: Step) -> list[str]:
        return step_text(host, step, self._record.hosts[host].plan.place(step.name))

    def _own(self, host: str, step: str, words: str) -> Answer:
        return Answer(host, step, account_name(), words, {}, now(), self._journal.run_id)

    def _note(self, answer: Answer) -> None:
        self._record.hosts[answer.host].take(answer)
        self._journal.event(recover.CONFIRMED, **recover.answer_fields(answer))
