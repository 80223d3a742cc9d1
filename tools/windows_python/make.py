"""Make a Python for Windows that runs under Wine, with what exremote needs, from PyPI and a C compiler.

    python3.11 tools/windows_python/make.py FOLDER

It prints the command that starts it, for EXREMOTE_WINDOWS_PYTHON. PyPI has no interpreter for Windows, but
the wheel of panda3d carries CPython's own DLLs for programs that are built with it; the library is that of
the Python that runs this. The compiler is Debian's gcc-mingw-w64-x86-64.

Wine is no Windows: it has no NTLM package (pyspnego's own is used in the place of SSPI) and no access lists
(icacls.c); those only a real one shows.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DLLS = "panda3d==1.10.16"
"""Carries CPython 3.11.9."""
MORE = ["colorama", "pywin32-ctypes", "sspilib", "tzdata"]
"""What its packages need on Windows alone: pip judges their conditions by the system that it runs on."""
COMPILER = "x86_64-w64-mingw32-gcc"
BESIDE = ("python311.dll", "VCRUNTIME140.dll")
"""Libraries that lie beside the program; the others lie in DLLs, as where Python was installed."""
NOT_WANTED = ("site-packages", "lib-dynload", "test", "idlelib", "ensurepip", "__pycache__")


def pip(*arguments: str) -> None:
    """Run pip for Windows. Raise CalledProcessError."""
    windows = ["--platform", "win_amd64", "--python-version", "3.11", "--only-binary", ":all:"]
    subprocess.run([sys.executable, "-m", "pip", "-q", *arguments, *windows], check=True, stdout=sys.stderr)


def dependencies() -> list[str]:
    """Return what exremote needs, by pyproject.toml, without conditions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [line.partition(";")[0].strip() for line in project["dependencies"]]


def unpack(python: Path) -> None:
    """Given the folder of the interpreter, put its libraries there."""
    with tempfile.TemporaryDirectory() as folder:
        pip("download", "--no-deps", "-d", folder, DLLS)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                place, _, file = name.rpartition("/")
                if place == "deploy_libs" and not file.startswith("api-ms-win"):  # Wine has its own
                    target = python / file if file in BESIDE else python / "DLLs" / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.read(name))


def compile_all(python: Path, build: Path) -> None:
    """Given the folder of the interpreter, and one for what lies about, make what is missing."""

    def compiled(*arguments: str | Path) -> None:
        subprocess.run([COMPILER, "-O2", *map(str, arguments)], check=True, stdout=sys.stderr)

    compiled("-municode", "-o", python / "python.exe", HERE / "launch.c")
    compiled("-municode", "-o", build / "icacls.exe", HERE / "icacls.c")
    compiled("-shared", "-o", python / "bcryptprimitives.dll", HERE / "prng.c", "-ladvapi32")
    dump = [COMPILER.replace("gcc", "objdump"), "-p", str(python / "python311.dll")]
    listed = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    names = re.findall(
        r"^\s+\[ *\d+\].* (_?Py\w+)$", listed.partition("Name Pointer] Table")[2], re.MULTILINE
    )
    lines = ["LIBRARY python3.dll", "EXPORTS", *(f"{name} = python311.{name}" for name in names)]
    (build / "stable.def").write_text("\n".join(lines) + "\n", encoding="ascii")
    compiled("-shared", "-o", python / "python3.dll", HERE / "stable.c", build / "stable.def")


def without_sspi(packages: Path) -> None:
    """Given the folder of packages, have pyspnego use its own NTLM: Wine has none for programs of 64 bit."""
    path = packages / "spnego" / "_sspi.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("HAS_SSPI = True", "HAS_SSPI = False"), encoding="utf-8")


def make(folder: Path) -> Path:
    """Given a folder, make the interpreter in it, whole or not at all. Return what starts it."""
    start = folder / "python"
    if folder.is_relative_to(
        ROOT
    ):  # its drive Z: is all of this machine: who packs the checkout would walk it
        sys.exit("make.py: name a folder outside of this checkout.")
    if start.exists():
        return start
    if sys.version_info[:2] != (3, 11):
        sys.exit("make.py: Python 3.11 is needed: the library has to be that of the DLLs.")
    if shutil.which(COMPILER) is None or shutil.which("wine") is None:
        sys.exit(f"make.py: {COMPILER} and wine are needed (Debian: gcc-mingw-w64-x86-64, wine, wine64).")
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "py"
    unpack(python)
    ignore = shutil.ignore_patterns(*NOT_WANTED)
    shutil.copytree(sysconfig.get_paths()["stdlib"], python / "Lib", ignore=ignore)
    packages = python / "Lib" / "site-packages"
    pip("install", "--target", str(packages), *dependencies(), *MORE)
    without_sspi(packages)
    compile_all(python, folder)
    environment = {
        "WINEPREFIX": str(folder / "prefix"),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=;mshtml=;icacls.exe=n",
    }
    subprocess.run(["wine", "wineboot", "-u"], env=os.environ | environment, check=True, capture_output=True)
    shutil.copy(folder / "icacls.exe", folder / "prefix/drive_c/windows/system32/icacls.exe")
    exports = " ".join(f"{name}='{value}'" for name, value in environment.items())
    text = f"#!/bin/sh\n{exports} exec wine '{python / 'python.exe'}' \"$@\"\n"
    part = folder / "python.part"
    part.write_text(text, encoding="utf-8")
    part.chmod(0o755)
    part.rename(start)
    return start


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(make(Path(sys.argv[1]).resolve()))
