"""The documents speak of what is there: links, files, names of the code, and no unfinished business."""

from __future__ import annotations

import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from exremote.connector import Connector
from exremote.inventory import Inventory

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "ps_scripts" / "README.md"])
SOURCES = ("exremote", "ps_scripts", "inventory", "docs", "tests", "benchmarks", "tools")
LAYERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
][0]["layers"]
MODULES = {name for layer in LAYERS for name in re.findall(r"\w+", layer)}


def anchor(title: str) -> str:
    """Return what a heading is called in a link."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def text_files() -> list[Path]:
    """Return every file that a person writes."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in (".md", ".toml")]
    found += [ROOT / ".ci" / "run"]
    for top in SOURCES:
        found += [
            path
            for path in (ROOT / top).rglob("*")
            if path.is_file() and path.suffix in (".py", ".ps1", ".md", ".toml", ".json", ".txt")
        ]
    return sorted(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, place = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{page.name} links to {target}"
        if place:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in {anchor(heading) for heading in headings}, f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    """A word in code marks that begins with a folder of the repository is a file or a folder there."""
    tops = "|".join(SOURCES)
    for name in re.findall(rf"`((?:{tops})/[\w./*-]+)`", page.read_text(encoding="utf-8")):
        assert list(ROOT.glob(name.rstrip("/"))), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_the_code_that_a_page_uses_exist(page: Path) -> None:
    """`runner.each_host` is a function of the runner."""
    text = page.read_text(encoding="utf-8")
    for module, name in re.findall(r"`(\w+)\.(\w+)(?:\(\))?`", text):
        is_check = f"### `{module}.{name}`" in text
        if module in MODULES and not is_check and name not in ("py", "toml", "json"):
            assert has(module, name), f"{page.name} names {module}.{name}"


def has(module: str, name: str) -> bool:
    """Return whether a module of exremote has this name, or a module of this name in it."""
    if hasattr(importlib.import_module(f"exremote.{module}"), name):
        return True
    return importlib.util.find_spec(f"exremote.{module}.{name}") is not None


def test_the_terms_have_their_homes() -> None:
    """The table of terms: each home is a module, and each noun names a class there (`Facts`: HostFacts)."""
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([A-Z][\w, ]+) \| (`[\w`, ]+) \| .+ \|$", page, re.MULTILINE)
    assert len(table) >= 10
    for nouns, homes in table:
        modules = [importlib.import_module(f"exremote.{home}") for home in re.findall(r"\w+", homes)]
        for noun in re.findall(r"\w+", nouns):
            names = {name for module in modules for name in (*dir(module), *getattr(module, "__all__", ()))}
            assert any(noun in name for name in names), f"no {noun} in {homes}"
    homes = {home for _, cell in table for home in re.findall(r"\w+", cell)}
    assert homes <= MODULES


def test_every_environment_variable_is_one_that_exists() -> None:
    """What the pages call EXREMOTE_... is what the code reads."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for top in ("exremote", "tests", "benchmarks")
        for path in (ROOT / top).rglob("*.py")
    )
    for page in PAGES:
        for name in re.findall(r"EXREMOTE_[A-Z_]+", page.read_text(encoding="utf-8")):
            assert name == "EXREMOTE_PASSWORD" or name in code, f"{page.name} names {name}"


@pytest.mark.parametrize("name", ["example.toml", "lab.toml"])
def test_the_example_inventories_load(name: str) -> None:
    site = Inventory.load(ROOT / "inventory" / name, list(Connector.load_all()))
    assert site.hosts


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|@" + r"@\w+@" + "@")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in text_files()
        for line in path.read_text(encoding="utf-8").splitlines()
        if words.search(line)
    ]
    assert found == []
