"""What a command loads before it does anything: what it uses, and no more. No clock is asked."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import exremote
from exremote.cli.commands import COMMANDS, INVENTORY_COMMANDS, Announced

ROOT = Path(__file__).parents[2]
WIRE = {"pypsrp", "winrm", "requests", "spnego", "urllib3", "cryptography"}
"""What only a command that talks to a host needs."""
ON_DEMAND = [
    name
    for _, name, folder in pkgutil.iter_modules(exremote.__path__, "exremote.")
    if folder and "ondemand(" in (ROOT / name.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
]


def loaded_by(tmp_path: Path, *arguments: str) -> set[str]:
    """Run a command in a process of its own. Return the names of all modules that it loaded."""
    code = """
import sys
from exremote.__main__ import main
try:
    main()
except SystemExit as ended:
    assert ended.code in (None, 0, 5), ended.code
print("LOADED", *sorted(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(done.stdout.split("LOADED ")[1].split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an inventory that names a repository, which is there."""
    folder = tmp_path_factory.mktemp("site")
    text = 'repository = "repository"\n[hosts.EX01]\ncredential = { prompt = true, username = "u" }\n'
    (folder / "inventory.toml").write_text(text, encoding="utf-8")
    loaded_by(folder, "init")
    return folder


@pytest.mark.parametrize("line", ["--help", "runs", "inventory check", "status", "verify"])
def test_a_command_that_asks_no_host_loads_no_wire(site: Path, line: str) -> None:
    loaded = loaded_by(site, *line.split())
    assert "exremote.cli" in loaded
    assert sorted(loaded & WIRE) == []
    assert (
        sorted(name for name in loaded if name.startswith(("exremote.session.", "exremote.transport."))) == []
    )


def test_a_word_about_exremote_itself_loads_no_command(tmp_path: Path) -> None:
    loaded = loaded_by(tmp_path, "--version")
    assert (
        sorted(loaded & {"pydantic", "rich", "tomllib", "exremote.cli.common", "exremote.repository"}) == []
    )


@pytest.mark.parametrize("one", [*COMMANDS, *INVENTORY_COMMANDS], ids=lambda one: one.place)
def test_the_one_line_of_a_command_is_its_own(one: Announced) -> None:
    loaded = one.load()
    assert (loaded.name, loaded.help.split("\n\n")[0]) == (one.name, one.help)
    assert loaded.get_short_help_str() == one.get_short_help_str()


@pytest.mark.parametrize("name", ON_DEMAND)
def test_what_a_package_has_on_demand_is_what_it_says(name: str) -> None:
    package = importlib.import_module(name)
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    for told in package.__all__:
        assert told not in modules or not isinstance(getattr(package, told), type(package)), told
        assert getattr(package, told) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = package.nothing_of_the_kind
