"""The misfortunes of the matrix as data: what each does to the lab, and how a command has to take it."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from conftest import BULK, CONNDATA, NOT_UNDER_WINE, RETRY, Cli, Ran, World
from matrix_verbs import Verb

PATIENT = "attempts = 12\ntotal_s = 90\nfirst_wait_s = 0.2"
SHORT = "deadlines = { connect_s = 3, operation_s = 1, read_s = 3 }"
FILE = rf"{CONNDATA}\Tables\matrix.tbl"
TARGET = rf"{BULK.folder}\bulk000003.dat"
"""One of the files that a restore puts there."""
MIB = 1 << 20


@dataclass
class Scene:
    """One command that is about to run."""

    cli: Cli
    world: World
    verb: Verb
    requests: int
    """How many requests carry its bulk on a good day."""
    undo: list[Callable[[], object]] = field(default_factory=list)

    @property
    def middle(self) -> int:
        """A request in the middle of the bulk."""
        return max(2, int(self.requests * 0.6))

    def fault(self, text: str) -> None:
        """Add a fault of this host; {request}, {middle} and {bulk} are the verb's."""
        verb = self.verb
        filled = text.format(request=verb.request, middle=self.middle, bulk=verb.bulk)
        self.world.fault(f"{verb.host}:{filled}")

    def over(self) -> None:
        """Undo what the world does not undo."""
        for one in reversed(self.undo):
            one()
        self.undo.clear()


@dataclass(frozen=True)
class Healed:
    """What passes, or is mended, without a person."""

    name: str
    befall: Callable[[Scene], None]
    reason: str = NOT_UNDER_WINE["wire"]
    """Why it is on the simulated engine only, if it is."""
    simulated: bool = True
    verbs: tuple[str, ...] = ()
    """Which commands it can befall; empty: all."""
    retry: str = RETRY
    defaults: str = ""
    counted: bool = True
    """Whether it is the schedule of faults that makes it."""
    stays: tuple[str, ...] = ()
    """Over which wires a shell stays until its idle time is over: nobody could end it."""
    silent: bool = False
    """The wire's own library mends it, or nothing broke: the journal has nothing to tell."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Said:
    """What a person has to know of."""

    name: str
    befall: Callable[[Scene], Callable[..., Ran] | None]
    """Do it; return what runs the command, if it is not the command line as it is."""
    code: int | tuple[int, ...]
    """The exit code; several where commands differ: a backup keeps what it has, a restore ends."""
    sentence: str
    """A pattern."""
    reason: str = NOT_UNDER_WINE["wire"]
    simulated: bool = True
    verbs: tuple[str, ...] = ()
    """Which commands it can befall; empty: all."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def _fault(*texts: str) -> Callable[[Scene], None]:
    def befall(scene: Scene) -> None:
        for text in texts:
            scene.fault(text)

    return befall


def _small_envelope(scene: Scene) -> None:
    scene.world.limits(scene.verb.host, max_envelope_kb=60)


def _clock(scene: Scene) -> None:
    edit = partial(scene.world.client.edit, scene.verb.host, "set_clock")
    scene.world._undo.append(lambda: edit(offset_s=0.0))
    edit(offset_s=86_400.0)


def _spoilt(files: int) -> Callable[[Scene], None]:
    def befall(scene: Scene) -> None:
        edit = partial(scene.world.client.edit, scene.verb.host, "spoil_writes")
        scene.world._undo.append(lambda: edit(files=0))
        edit(files=files)

    return befall


RECORDS: dict[str, Any] = {"reason": NOT_UNDER_WINE["records"]}
FETCH = ("backup",)
SEND = ("restore",)
RECEIVE = "{request}:{middle}"
HEALED: tuple[Healed, ...] = (
    Healed("listener down for 20 s", _fault("host:*:refused,for=20"), retry=PATIENT),
    Healed("connection refused twice and more", _fault("host:*:refused,for=8"), retry=PATIENT),
    Healed("reset in a request", _fault("{request}:{middle}:reset"), simulated=False),
    Healed("reset at log-on", _fault("Create:1:reset")),
    Healed("reset in a response", _fault("{request}:{middle}:reset-after=20000"), simulated=False),
    *(
        Healed(f"response cut at byte {place}", _fault(f"{RECEIVE}:cut={place}"))
        for place in (0, 1, 300, 4096, 65536, 120000)
    ),
    Healed("response lost", _fault("{request}:{middle}:lost")),
    # The host names the shells of winrs: of one whose name was lost nobody knows.
    Healed("answer to Create lost", _fault("Create:1:lost"), stays=("winrs",)),
    Healed("answer to Command lost", _fault("Command:2:lost")),
    Healed(
        "no answer past the deadline",
        _fault("{request}:{middle}:delay=14"),  # a request has ten seconds more than its operation
        defaults=SHORT,
        retry="attempts = 4\ntotal_s = 60\nfirst_wait_s = 0.05",
    ),
    Healed("dropped idle connection", _fault("Command:2:hang-up"), silent=True),
    Healed("connection dropped in the bulk", _fault("{request}:{middle}:hang-up"), silent=True),
    Healed("authentication context lost", _fault("{request}:{middle}:forget"), silent=True),
    Healed("signature of an answer wrong", _fault("{request}:{middle}:bad-mic")),
    Healed("HTTP 503", _fault("{request}:{middle}:status=503")),
    Healed("HTTP 503 at first", _fault("Create:1-2:status=503")),
    Healed("operation time-out", _fault("{request}:{middle}:fault=2150858793"), silent=True),
    Healed("shell quota full for a while", _fault("Create:1-2:quota")),
    Healed("pool gone", _fault("{request}:{middle}:gone"), simulated=False),
    Healed("WinRM service restarted", _fault("{request}:{middle}:restart"), retry=PATIENT, simulated=False),
    Healed(
        "server rebooted in mid-pack", _fault("{request}:{middle}:reboot=2"), retry=PATIENT, simulated=False
    ),
    Healed("envelope smaller than asked for", _small_envelope, counted=False, silent=True),
    Healed("one chunk corrupted on the way", _fault("{request}:{middle}:corrupt"), silent=True),
    Healed(
        "one block corrupted by the host",
        _fault("{bulk}:5:corrupt"),
        reason=NOT_UNDER_WINE["records"],
        silent=True,
        verbs=FETCH,
    ),
    Healed("one block missing", _fault("{bulk}:5:skip"), reason=NOT_UNDER_WINE["records"], verbs=FETCH),
    Healed(
        "one file spoilt on the disk there",
        _spoilt(1),
        reason=NOT_UNDER_WINE["records"],
        counted=False,
        silent=True,
        verbs=SEND,
    ),
    *(
        Healed(
            f"{what} of the write",
            _fault(f"Write-FilePack:1:{effect}"),
            **RECORDS,
            verbs=SEND,
            silent=effect == "skip",  # the next number says as much
        )
        for what, effect in (("progress missing", "skip"), ("shell gone in the middle", "gone"))
    ),
    *(
        Healed(f"answer of the swap {what}", _fault(f"Move-StagedFile:1:{effect}"), **RECORDS, verbs=SEND)
        for what, effect in (("missing", "skip"), ("corrupted", "corrupt"), ("cut short", "end"))
    ),
    Healed("clock of the host jumps", _clock, reason=NOT_UNDER_WINE["clock"], counted=False, silent=True),
)


def _wrong_password(scene: Scene) -> None:
    cli = scene.cli
    cli.more["EXREMOTE_LAB_PASSWORD"] = "wrong-canary-91"
    cli.secrets.append("wrong-canary-91")
    scene.undo.append(lambda: cli.more.pop("EXREMOTE_LAB_PASSWORD"))


def _denied(scene: Scene) -> None:
    scene.world.write(scene.verb.host, FILE, b"not for you")
    scene.world.deny(scene.verb.host, FILE)


def _name_attack(scene: Scene) -> None:
    scene.world.write(scene.verb.host, rf"{CONNDATA}\Tables\..\..\..\evil.txt", b"escape-canary")


def _lies(scene: Scene) -> None:
    host = scene.verb.host
    scene.world.write(host, FILE, b"what it is" * 1000)
    scene.world.client.edit(host, "lie", path=FILE)


def _little_room(scene: Scene) -> Callable[..., Ran]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))

    def run(*args: str, **more: Any) -> Ran:
        return scene.cli(*args, **more, before=limit)

    return run


def _target_denied(scene: Scene) -> None:
    scene.world.deny(scene.verb.host, TARGET)


def _target_held(scene: Scene) -> None:
    edit = partial(scene.world.client.edit, scene.verb.host, "lock_file", path=TARGET)
    scene.world._undo.append(lambda: edit(locked=False))
    edit(locked=True)


SAID: tuple[Said, ...] = (
    Said("wrong password", _wrong_password, 21, "wrong user name or password"),
    Said("account locked out", _fault("Logon:*:status=401"), 21, "locked"),
    Said("log-on right and no right to WinRM", _fault("Create:*:fault=5"), 21, "denied|rights"),
    Said("permission lost in mid-run", _fault("{request}:{middle}-:fault=5"), (3, 21), "access denied"),
    Said(
        "access denied on one file",
        _denied,
        3,
        "matrix.tbl.*may not be read",
        reason=NOT_UNDER_WINE["denied"],
        verbs=FETCH,
    ),
    Said(
        "disk full here",
        _little_room,
        10,
        "the disk is full.*earlier snapshots are intact",
        reason=NOT_UNDER_WINE["time"],
        verbs=FETCH,
    ),
    Said(
        "disk full there",
        _fault("host:*:disk-full"),
        4,
        "0 bytes free.*needed",
        reason=NOT_UNDER_WINE["disk"],
        verbs=SEND,
    ),
    Said("name attack from the host", _name_attack, 3, "leads out of its folder", **RECORDS, verbs=FETCH),
    Said("deflate bomb", _fault("{bulk}:*:bomb=64"), 23, "inflates|more than", **RECORDS, verbs=FETCH),
    Said("endless pack", _fault("{bulk}:5-:endless"), 3, "lacks .*bulk", **RECORDS, verbs=FETCH),
    Said("endless listing", _fault("Get-FileTree:*:endless"), 23, "second time", **RECORDS),
    Said(
        "objects without end",
        _fault("Get-HostFact:*:endless"),
        3,
        "more than any host has to say",
        **RECORDS,
        verbs=FETCH,
    ),
    Said("a hash that lies", _lies, 23, "matrix.tbl", **RECORDS, verbs=FETCH),
    Said("damage again and again", _fault("{bulk}:5-:corrupt"), 23, ".", **RECORDS, verbs=FETCH),
    Said(
        "damage on the disk there again and again",
        _spoilt(10_000),
        23,
        "came to be another file than was sent",
        **RECORDS,
        verbs=SEND,
    ),
    Said(
        "access denied on one file there",
        _target_denied,
        4,
        "bulk000003.dat.*could not be saved",
        reason=NOT_UNDER_WINE["denied"],
        verbs=SEND,
    ),
    Said("one file there held by a stranger", _target_held, 4, "bulk000003.dat", **RECORDS, verbs=SEND),
    Said(
        "endless answer to the write",
        _fault("Write-FilePack:*:endless"),
        22,
        "more than any host has to say",
        **RECORDS,
        verbs=SEND,
    ),
    Said(
        "bomb for an answer to the swap",
        _fault("Move-StagedFile:*:bomb=64"),
        23,
        "inflates|more than",
        **RECORDS,
        verbs=SEND,
    ),
    Said("lost for good in the middle", _fault("{request}:{middle}:reboot=300"), 20, "no listener"),
    Said("shell quota full for good", _fault("Create:*:quota"), 20, "shell"),
)
