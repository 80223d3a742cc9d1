"""What the benchmark's host holds. The same bytes in every run; it never reads a file of this system."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from exremote.lab.files import Fixed, Generated
from exremote.lab.machine import Machine
from exremote.lab.registry import Registry

HOST = "BENCH"
TWINS = ("TWIN1", "TWIN2")
"""They hold the same tree as HOST."""
CROWD = "CROWD"
"""It holds many files."""
ROOT = r"C:\Bench"
TREE = rf"{ROOT}\tree"
TREE_FILES = 1000
TREE_FILE_BYTES = 4096
MANY = rf"{ROOT}\many"
MANY_FILE_BYTES = 64
UPLOAD = rf"{ROOT}\upload"
REGISTRY_KEY = r"HKLM\SOFTWARE\Bench"
REGISTRY_BYTES = 5_000_000
REGISTRY_FILE = rf"{ROOT}\export.reg"
MIB = 1 << 20

_MODIFIED = 631_139_040_000_000_000  # 1 January 2001
_KEPT_MIB = 512
"""Files from this size on are made when they are read."""
_TICKS_AN_HOUR = 36_000_000_000
_WORDS = (
    "Mail",
    "Message",
    "Store",
    "Transfer",
    "Agent",
    "Gateway",
    "Address",
    "Proxy",
    "Directory",
    "Queue",
    "Router",
    "Calendar",
    "Schedule",
    "Folder",
    "Property",
    "Table",
    "Column",
    "Session",
    "Stream",
    "Cursor",
    "Filter",
    "Rule",
    "Monitor",
    "Service",
    "Factory",
    "Manager",
    "Handler",
    "Control",
    "Document",
    "Window",
    "Picture",
    "Font",
    "Color",
    "Format",
    "Parser",
    "Encoder",
    "Provider",
    "Catalog",
    "Index",
    "Notify",
    "Event",
    "Sink",
    "Source",
)


def tree_file(number: int) -> str:
    """Return the path of one file of the tree, relative to it."""
    return rf"part{number // 100:02d}\file{number:04d}.dat"


def random_folder(mebibytes: int) -> str:
    """Return the folder that has one random file of that size."""
    return rf"{ROOT}\random{mebibytes}"


def furnish_tree(machine: Machine) -> None:
    """Given a machine, put the tree on it, the same on each."""
    source = random.Random(2003)
    for number in range(TREE_FILES):
        content = Fixed(source.randbytes(TREE_FILE_BYTES))
        modified = _MODIFIED + number * _TICKS_AN_HOUR
        machine.files.write(rf"{TREE}\{tree_file(number)}", content, modified=modified)


def furnish_many(machine: Machine, files: int) -> None:
    """Given a machine and a number, put so many small files on it, a hundred in a folder."""
    for number in range(files):
        path = rf"{MANY}\folder{number // 100:05d}\file{number:07d}.dat"
        machine.files.write(path, Fixed(b"%064d" % number), modified=_MODIFIED)


def furnish(machine: Machine, sizes: tuple[int, ...]) -> None:
    """Given a machine and sizes in MiB, put all that is measured on it. No byte is made twice."""
    furnish_tree(machine)
    source = random.Random(2004)
    for mebibytes in sizes:
        content: Fixed | Generated = Generated(mebibytes * MIB, mebibytes)
        if mebibytes < _KEPT_MIB:
            content = Fixed(b"".join(source.randbytes(MIB) for _ in range(mebibytes)))
        machine.files.write(rf"{random_folder(mebibytes)}\random.bin", content, modified=_MODIFIED)
    classes = _Classes(machine.registry, source, [source.randbytes(12) for _ in range(60)])
    export = b""
    while len(export) < REGISTRY_BYTES:
        classes.fill(REGISTRY_BYTES - len(export))
        export = machine.registry.export(REGISTRY_KEY) or b""
    machine.files.write(REGISTRY_FILE, Fixed(export), modified=_MODIFIED)


@dataclass(slots=True)
class _Classes:
    """Registers classes, interfaces and settings, as they fill most of a real server's registry.

    Names, paths and the proxies that many interfaces share recur; most identifiers come in families, as
    those of one product do. In blocks of 256 KiB the export deflates to a 16th; a Wine prefix's registry
    does to a 17th.
    """

    registry: Registry
    source: random.Random
    families: list[bytes]
    written: int = 0

    def fill(self, size: int) -> None:
        """Add about so many bytes of export."""
        end = self.written + size
        proxies = [self._identifier() for _ in range(6)]
        libraries = [self._identifier() for _ in range(40)]
        kinds: list[Callable[[list[str], list[str]], None]] = [self._interface] * 5
        kinds += [self._class] * 3 + [self._settings]
        while self.written < end:
            self.source.choice(kinds)(proxies, libraries)

    def _interface(self, proxies: list[str], libraries: list[str]) -> None:
        key = rf"Classes\Interface\{self._identifier()}"
        self._put(key, "", "I" + self._name(3))
        self._put(rf"{key}\NumMethods", "", str(self.source.randrange(3, 40)))
        self._put(rf"{key}\ProxyStubClsid32", "", self.source.choice(proxies))
        self._put(rf"{key}\TypeLib", "", self.source.choice(libraries))
        self._put(rf"{key}\TypeLib", "Version", f"{self.source.randrange(1, 7)}.0")

    def _class(self, proxies: list[str], libraries: list[str]) -> None:
        key = rf"Classes\CLSID\{self._identifier()}"
        name = self._name(2)
        self._put(key, "", f"{name} Class")
        self._put(key, "AppID", self.source.choice(libraries))
        library = f"{self.source.choice(_WORDS)}{self.source.choice(_WORDS)}.dll".lower()
        self._put(rf"{key}\InprocServer32", "", rf"C:\WINDOWS\system32\{library}")
        self._put(
            rf"{key}\InprocServer32", "ThreadingModel", self.source.choice(("Both", "Apartment", "Free"))
        )
        self._put(rf"{key}\ProgID", "", f"Bench.{name}.1")
        self._put(rf"{key}\VersionIndependentProgID", "", f"Bench.{name}")

    def _settings(self, proxies: list[str], libraries: list[str]) -> None:
        key = rf"Settings\{self._name(2)}\{self._name(1)}"
        for word in self.source.sample(_WORDS, 4):
            self._put(key, f"{word}Limit", self.source.randrange(0, 5000))
        self._put(key, "Signature", self.source.randbytes(self.source.randrange(8, 48)))
        self._put(key, "Path", rf"C:\Program Files\Exchsrvr\{self._name(1)}\{self._name(2)}.cfg")

    def _identifier(self) -> str:
        data = self.source.randbytes(16)
        if self.source.random() < 0.85:
            data = data[:4] + self.source.choice(self.families)
        return f"{{{uuid.UUID(bytes=data)}}}".upper()

    def _name(self, words: int) -> str:
        return "".join(self.source.choices(_WORDS, k=words))

    def _put(self, key: str, name: str, data: str | int | bytes) -> None:
        path = rf"{REGISTRY_KEY}\{key}"
        if self.registry.find(path) is None:
            self.written += 2 * (len(path) + len("[EY_LOCAL_MACHINE]") + 4)
        self.registry.set(path, name, data)
        length = {str: len(str(data)) + 2, int: 14}.get(
            type(data), len(data) * 3 + 4 if isinstance(data, bytes) else 0
        )
        self.written += 2 * (len(name) + length + 5)
