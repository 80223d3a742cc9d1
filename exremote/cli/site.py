"""The commands about the inventory that ask no host."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from exremote import health
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    from_environment,
    load_inventory,
    now,
    path_from,
    speaking,
)
from exremote.connector import Connector
from exremote.errors import UsageError
from exremote.inventory import advice
from exremote.wording import count_text


def check(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", parser=path_from, help="The inventory; the same as --inventory."),
    ] = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the inventory and say what is wrong with it; no host is asked."""
    with speaking(as_json, looks=True) as report:
        if file is not None and inventory is not None and not from_environment(context, "inventory"):
            raise UsageError("Two inventories are named.", "Name one, as FILE or with --inventory.")
        connectors = Connector.load_all()
        site = load_inventory(file or inventory, list(connectors))
        warnings = [*site.warnings, *advice(site, operator_variables(connectors.values()))]
        warnings += health.unknown(site.accepted, connectors)
        warnings += health.expired(site.accepted, now().date())
        if as_json:
            report.json({"inventory": site.path, "hosts": list(site.hosts), "warnings": warnings})
            return
        for warning in warnings:
            report.line(f"warning: {warning}")
        hosts, groups = count_text(len(site.hosts), "host"), count_text(len(site.groups), "group")
        report.line(f"{site.path}: {hosts}, {groups}; no errors")


def operator_variables(connectors: Iterable[Connector]) -> set[str]:
    """Given connectors, return the variables that only the operator can give: the host says the others."""
    rules = [rule for connector in connectors for rule in connector.roots.values()]
    rules += [part for rule in rules for part in rule.first]
    return {rule.variable for rule in rules if rule.variable} - {"systemroot", "computername"}


def example() -> None:
    """Print a commented inventory, to be changed and kept: exremote inventory example > site.toml."""
    with speaking(False, looks=True) as report:
        package = Path(__file__).resolve().parents[1]
        places = (package / "_example.toml", package.parent / "inventory" / "example.toml")
        report.line(next(p for p in places if p.is_file()).read_text(encoding="utf-8").rstrip("\n"))


def show(
    host: Annotated[
        str | None,
        typer.Argument(metavar="HOST", help="One host: every setting and where it came from."),
    ] = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the hosts, or show what is in force for one and where each value came from. Never a secret."""
    with speaking(as_json, looks=True) as report:
        site = load_inventory(inventory, list(Connector.load_all()))
        if host is None:
            rows: list[dict[str, object]] = [
                {
                    "host": h.name,
                    "address": h.address,
                    "port": h.port,
                    "auth": h.auth,
                    "wire": h.wire,
                    "connectors": list(h.connectors) if h.connectors is not None else "found out",
                    "groups": list(h.groups),
                    "tags": list(h.tags),
                }
                for h in site.hosts.values()
            ]
            report.rows(f"Hosts of {site.path}", list(rows[0]) if rows else [], rows, nothing="no hosts")
            return
        for chosen in site.select([host]):
            rows = [
                {"key": key, "value": value, "from": origin} for key, value, origin in site.describe(chosen)
            ]
            report.rows(chosen.name, ["key", "value", "from"], rows)
