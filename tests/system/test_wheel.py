"""The wheel: it has what it needs, and installed without the lab it does on a real network what it says."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import install_support
import pytest

from exremote import __version__
from exremote.connector import Connector
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec
from exremote.script import ScriptLibrary

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOSTS = (HostSpec("EXNOTES01", ("notes", "calendar")), HostSpec("EXGW01", ("groupwise",)))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from that alone the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    done = install_support.run([sys.executable, "-m", "build", "--outdir", str(folder), "."], cwd=ROOT)
    if done.returncode != 0:
        install_support.skip_if_unreached(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> install_support.Installed:
    """Install the wheel and what it depends on; no extra."""
    return install_support.new_environment(tmp_path_factory.mktemp("installed") / "venv", str(built))


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    """Run the lab of the checkout: to the installed wheel it is a network with servers on it."""
    with running_lab(HOSTS) as running:
        yield running


def files_below(folder: Path) -> set[str]:
    """Return what a person wrote below a folder."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_everything_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        meta = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = wheel.read(meta).decode()
        licences = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    package = {f"exremote/{name}" for name in files_below(ROOT / "exremote")}
    scripts = {f"exremote/_ps_scripts/{name}" for name in files_below(ROOT / "ps_scripts")}
    assert names == package | scripts | {"exremote/_example.toml"}
    assert "exremote/py.typed" in names
    assert "exremote/_ps_scripts/wire/Receive-Call.ps1" in names
    assert {"notes.toml", "groupwise.toml", "calendar.toml"} <= {name.split("/")[-1] for name in names}
    assert licences
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata


def test_the_scripts_are_byte_for_byte_those_of_the_checkout(built: Path) -> None:
    with zipfile.ZipFile(built) as wheel:
        for path in (ROOT / "ps_scripts").rglob("*.ps1"):
            name = f"exremote/_ps_scripts/{path.relative_to(ROOT / 'ps_scripts').as_posix()}"
            assert wheel.read(name) == path.read_bytes()


def test_the_installed_one_is_not_the_checkout(installed: install_support.Installed, tmp_path: Path) -> None:
    done = installed.run("python", "-c", "import exremote; print(exremote.__file__)", cwd=tmp_path)
    assert Path(done.stdout.strip()).is_relative_to(installed.folder)


def test_it_says_its_version(installed: install_support.Installed, tmp_path: Path) -> None:
    done = installed.run("exremote", "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"exremote {__version__}\n"), done.stderr


def test_it_has_the_scripts(installed: install_support.Installed, tmp_path: Path) -> None:
    done = installed.run("exremote", "scripts", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    listed = found if isinstance(found, list) else next(v for v in found.values() if isinstance(v, list))
    assert {s["name"]: s["sha256"] for s in listed} == {s.name: s.digest for s in ScriptLibrary.load()}


def test_it_has_the_connectors(installed: install_support.Installed, tmp_path: Path) -> None:
    done = installed.run("exremote", "connectors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in Connector.load_all():
        assert name in done.stdout


def test_no_lab_is_installed_and_its_command_names_the_extra(
    installed: install_support.Installed, tmp_path: Path
) -> None:
    """A sentence with the command that mends it, never a traceback."""
    done = installed.run("python", "-c", "import psrpcore", cwd=tmp_path)
    assert "ModuleNotFoundError" in done.stderr
    for arguments in (["up"], ["demo", "here"]):
        done = installed.run("exremote-lab", *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "psrpcore" in done.stderr
        assert "pip install 'exremote[lab]'" in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    done = installed.run("exremote-lab", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "demo" in done.stdout


def test_it_needs_nothing_but_an_inventory_and_a_credential(
    installed: install_support.Installed, lab: RunningLab, tmp_path: Path
) -> None:
    """The site's folder, the wheel, a network: check, first look, repository, backup, verify."""
    folder = tmp_path / "a site"
    folder.mkdir()
    inventory = f"""
repository = "kept"

[defaults]
credential = {{ environment = "SITE_PASSWORD", username = '{lab.user}' }}
"""
    for spec in HOSTS:
        inventory += f"\n[hosts.{spec.name}]\naddress = '127.0.0.1'\nport = {lab.hosts[spec.name]}\n"
    inventory += f"variables = {{ groupwise_api = '{HOSTS[-1].api}' }}\n"
    (folder / "inventory.toml").write_text(inventory, encoding="utf-8")

    def exremote(*args: str) -> Any:
        done = installed.run(
            "exremote",
            *args,
            "--json",
            cwd=folder,
            SITE_PASSWORD=lab.password,
            XDG_STATE_HOME=str(tmp_path / "state"),
            NO_PROXY="127.0.0.1",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert lab.password not in done.stdout + done.stderr
        return json.loads(done.stdout)

    assert exremote("inventory", "check")["hosts"] == [spec.name for spec in HOSTS]
    assert {f["host"] for f in exremote("health", "--all")["findings"]} == {spec.name for spec in HOSTS}
    exremote("init")
    first = exremote("backup")
    states = {(h["host"], s["connector"]): s["state"] for h in first["hosts"] for s in h["snapshots"]}
    assert states == {
        ("EXNOTES01", "notes"): "new",
        ("EXNOTES01", "calendar"): "new",
        ("EXGW01", "groupwise"): "new",
    }
    assert all(h["sent_bytes"] == 0 for h in exremote("backup")["hosts"])
    assert exremote("report", "latest", "--html", "run.html")["verb"] == "backup"
    assert "<h1>Backup, " in (folder / "run.html").read_text(encoding="utf-8")
    seen = exremote("verify")
    assert (seen["snapshots"], seen["problems"]) == (3, [])
    assert Path(seen["repository"]).resolve() == (folder / "kept").resolve()
