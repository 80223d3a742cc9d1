"""What the README tells its reader is what the code does: commands, exit codes, floors, an inventory."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from exremote import errors
from exremote.cli import app
from exremote.cli.commands import Announced
from exremote.connector import Connector
from exremote.inventory import Inventory
from exremote.lab.__main__ import app as lab_app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MARKED = ("demo", "tests")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no section {title}"
    return found.group(1)


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def marked(name: str) -> str:
    """Return the command between its marks."""
    found = re.search(rf"<!-- command: {name} -->\n```\n(.+?)\n```\n<!-- end -->", README, re.DOTALL)
    assert found, f"the README has no command between the marks of {name}"
    return found.group(1)


def classes(base: type[errors.ExremoteError] = errors.ExremoteError) -> Iterator[type[errors.ExremoteError]]:
    """Yield the error tree, each class behind its parent."""
    if base.__module__ == errors.__name__:
        yield base
        for kind in base.__subclasses__():
            yield from classes(kind)


def commands(group: Any, name: str) -> dict[str, Any]:
    """Return every command below a group by its full name."""
    found: dict[str, Any] = {}
    for word, command in group.commands.items():
        full = f"{name} {word}"
        if hasattr(command, "commands"):
            found |= commands(command, full)
        else:
            found[full] = command.load() if isinstance(command, Announced) else command
    return found


COMMANDS = commands(typer.main.get_command(app), "exremote") | commands(
    typer.main.get_command(lab_app), "exremote-lab"
)


# Exit codes


def test_the_exit_codes_are_those_of_the_classes() -> None:
    table = rows(section("Exit codes"))
    said = [int(code) for code, meaning in table if meaning]
    assert len(said) == len(table)
    constants = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert sorted(said) == sorted(constants | {kind.exit_code for kind in classes()})


def test_the_picture_in_errors_is_the_tree() -> None:
    """Each class with its parent, its code, whether it is transient, and the facts that it takes."""
    drawn: dict[str, tuple[str, int, bool, tuple[str, ...]]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.fullmatch(
            r"    ((?:[│ ]   )*(?:[├└]── )?)(\w+)(?:\(([\w, ]+)\))?( +transient)?(?: +(\d+))?", line
        )
        if found is None:
            continue
        indent, name, fields, transient, code = found.groups()
        path = [*path[: len(indent) // 4], name]
        parent = path[-2] if len(path) > 1 else ""
        number = int(code) if code else drawn[parent][1]
        drawn[name] = parent, number, bool(transient), tuple(re.findall(r"\w+", fields or ""))
    real: dict[str, tuple[str, int, bool, tuple[str, ...]]] = {}
    for kind in classes():
        base = kind.__bases__[0]
        own = inspect.signature(kind.__init__).parameters
        inherited = inspect.signature(base.__init__).parameters
        facts = tuple(name for name in own if name not in inherited and name not in ("message", "remedy"))
        top = kind is errors.ExremoteError
        real[kind.__name__] = "" if top else base.__name__, kind.exit_code, kind.transient, facts
    assert drawn == real


# Commands


def told_commands() -> dict[str, str]:
    """Return what the table says of each command; `a x|y` is two commands."""
    told: dict[str, str] = {}
    for cell, text in rows(section("Commands")):
        words = [word for word in cell.strip("`").split(" ") if re.fullmatch(r"[a-z|\\-]+", word)]
        for last in words[-1].split(r"\|"):
            told[" ".join([*words[:-1], last])] = f"{cell} {text}"
    return told


def test_the_commands_are_those_that_there_are() -> None:
    assert sorted(told_commands()) == sorted(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_a_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, f"{name} has no help"
    for parameter in command.params:
        hidden = getattr(parameter, "hidden", False)
        assert hidden or getattr(parameter, "help", None), f"{name} {parameter.name} has no help"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_that_the_readme_names_is_there(name: str) -> None:
    told = told_commands()
    text = told.get(name, "")
    of_the_row = [other for other, row in told.items() if row == text] or [name]
    options = {o for other in of_the_row for parameter in COMMANDS[other].params for o in parameter.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= options


def test_the_command_lines_of_the_first_server_can_be_parsed() -> None:
    """Every `exremote ...` line of the block names a command and only options that it has."""
    lines = re.findall(r"^(exremote .+?)(?:\s+#.*)?$", section("The first real server"), re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        name = max((n for n in COMMANDS if f"{line} ".startswith(f"{n} ")), key=len, default="")
        assert name, line
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<= )-[\w-]+", line)) <= options, line


# The commands between marks


@pytest.mark.parametrize("name", MARKED)
def test_a_marked_command_is_there_and_is_shell(name: str) -> None:
    command = marked(name)
    assert "\n" not in command
    assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0


def test_there_are_no_other_marks() -> None:
    assert tuple(re.findall(r"<!-- command: (\w+) -->", README)) == MARKED


def test_the_extras_of_the_marked_commands_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in MARKED:
        extras = re.findall(r"\.\[(\w+)\]", marked(name))
        assert extras
        assert set(extras) <= set(project["optional-dependencies"])


def test_the_clean_run_takes_its_test_command_from_here(tmp_path: Path) -> None:
    """.ci/run reads the README: its own lines for that, run here, give the command between the marks."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    taking = [line for line in lines if line.startswith("command=")]
    assert len(taking) == 1
    done = subprocess.run(
        ["bash", "-c", f'{taking[0]}\nprintf %s "$command"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == marked("tests")
    assert any(line.startswith("bash ") and '-c "$command"' in line for line in lines)


def test_the_one_check_command_runs_the_tests_as_the_readme_does() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tools.check import CHECKS; print(' '.join(dict(CHECKS)['tests']))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert marked("tests").endswith(f"python -m {done.stdout.strip()}")


# The rest


def test_the_smallest_inventory_loads(tmp_path: Path) -> None:
    found = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1
    path = tmp_path / "site.toml"
    path.write_text(found[0], encoding="utf-8")
    site = Inventory.load(path, list(Connector.load_all()))
    assert list(site.hosts) == ["EXNOTES01"]
    assert site.warnings == ()


def test_the_floors_are_those_of_the_import_contract() -> None:
    """The picture has every module, and the order of its lines is that of the contract's layers."""
    picture = re.search(r"```\n(cli .*?)```", section("How it is made"), re.DOTALL)
    assert picture
    house = picture.group(1).split("\n\n")[0]
    drawn = [re.findall(r"\w+", re.split(r"\s{2,}", line)[0]) for line in house.splitlines()]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    floors = [re.findall(r"\w+", layer) for layer in settings["contracts"][0]["layers"]]
    place = {name: number for number, layer in enumerate(floors) for name in layer}
    assert sorted(name for line in drawn for name in line) == sorted(place)
    highest = [min(place[name] for name in line) for line in drawn]
    lowest = [max(place[name] for name in line) for line in drawn]
    for above, below in zip(lowest[:-1], highest[1:], strict=True):
        assert above < below, "a line of the picture stands above a layer that it is below of"


def test_the_variables_that_the_readme_names_are_read_somewhere() -> None:
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = "".join(
        path.read_text(encoding="utf-8")
        for top in ("exremote", "tests")
        for path in (ROOT / top).rglob("*.py")
    )
    own = {"EXREMOTE_PASSWORD"}  # the inventory's own choice
    for name in set(re.findall(r"EXREMOTE_\w+", text)) - own:
        assert f'"{name}"' in code, f"nothing reads {name}"


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 250
