"""Who may import whom: the contracts hold, they catch what they are for, and a base install needs no lab."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = [contract["name"] for contract in PROJECT["tool"]["importlinter"]["contracts"]]
LAB_ONLY = ("psrpcore", "exremote.lab")

PLANTED = [
    ("facts.py", "import exremote.plan", "A file imports only from the floors below its own"),
    ("session.py", "from exremote import report", "A file imports only from the floors below its own"),
    ("errors.py", "import exremote.credential", "A file imports only from the floors below its own"),
    ("newcomer.py", "", "A file imports only from the floors below its own"),
    ("session.py", "import exremote.lab.client", "Production never knows the lab"),
    ("transport/wire.py", "import psrpcore", "Production never knows the lab"),
    ("lab/behaviour.py", "import exremote.session", "The lab knows only scripts and connectors"),
    ("plan.py", "import pypsrp.wsman", "The wire libraries have one door"),
    ("runner/visit.py", "import tenacity", "Retry has one door"),
    ("session.py", "import rich.console", "The screen has two doors"),
    ("cli/runs.py", "import jinja2", "Pages have one door"),
    ("lab/wsman/server.py", "import exremote.script", "The WinRM endpoint has never heard of Exchange"),
]
"""File, the line planted in it, the contract that must break."""


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [str(LINT_IMPORTS), "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def verdicts(text: str) -> dict[str, str]:
    return {
        name: verdict for name in CONTRACTS for verdict in re.findall(rf"^{name} (\w+)", text, re.MULTILINE)
    }


def test_the_contracts_hold() -> None:
    code, text = lint(ROOT)
    assert code == 0, text
    assert verdicts(text) == dict.fromkeys(CONTRACTS, "KEPT")


@pytest.mark.parametrize(("file", "line", "contract"), PLANTED, ids=lambda value: str(value)[:40])
def test_a_contract_catches_what_it_is_for(tmp_path: Path, file: str, line: str, contract: str) -> None:
    shutil.copytree(ROOT / "exremote", tmp_path / "exremote", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    place = tmp_path / "exremote" / file
    if place.with_suffix("").is_dir():
        place = place.with_suffix("") / "__init__.py"
    with place.open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    code, text = lint(tmp_path)
    assert code != 0, text
    assert verdicts(text).get(contract) == "BROKEN", text


def test_every_contract_is_tried() -> None:
    assert {contract for _, _, contract in PLANTED} == set(CONTRACTS)


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["connectors"], ["scripts"]], ids=" ".join)
def test_a_command_loads_nothing_of_the_lab(arguments: list[str]) -> None:
    code = """
import sys
from exremote.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("LOADED", *sorted(sys.modules))
"""
    loaded = python(code, *arguments).split("LOADED ")[1].split()
    assert "exremote.cli" in loaded
    assert [name for name in loaded if name.startswith(LAB_ONLY)] == []


def test_all_of_production_can_be_imported_without_the_lab() -> None:
    """Each module of it, with what only the lab needs shut off."""
    code = """
import importlib, pkgutil, sys
class Shut:
    def find_spec(self, name, path=None, target=None):
        if name == "psrpcore" or name.startswith("exremote.lab"):
            raise ImportError(f"{name} is shut off")
sys.meta_path.insert(0, Shut())
import exremote
def walk(path, prefix):
    for found in pkgutil.iter_modules(path, prefix):
        if found.name not in ("exremote.lab", "exremote.__main__"):
            module = importlib.import_module(found.name)
            print(found.name)
            if found.ispkg:
                walk(module.__path__, found.name + ".")
walk(exremote.__path__, "exremote.")
"""
    assert len(python(code).split()) > 40


def imported(folder: Path, *leave_out: str) -> set[str]:
    """Return the distributions' modules that the files of a folder import."""
    own = {"exremote", "__future__", *sys.stdlib_module_names}
    found = set()
    for path in folder.rglob("*.py"):
        if not any(part in leave_out for part in path.relative_to(folder).parts):
            text = path.read_text(encoding="utf-8")
            found |= set(
                re.findall(r"^\s*(?:import|from) (\w+)(?:[\w.]*)(?: import .+| as .+)?$", text, re.MULTILINE)
            )
    return found - own


def test_what_is_imported_is_declared() -> None:
    """A library that came along with another one may stay away with that one's next version."""
    modules = {"pyspnego": "spnego", "pywinrm": "winrm"}

    def declared(requirements: list[str]) -> set[str]:
        names = {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}
        return {modules.get(name, name) for name in names}

    project = PROJECT["project"]
    base = declared(project["dependencies"])
    production = imported(ROOT / "exremote", "lab")
    assert production - base == set()
    assert base - production - {"tzdata"} == set(), "declared and not used"
    extra = declared(project["optional-dependencies"]["lab"])
    assert imported(ROOT / "exremote" / "lab") - base == extra
