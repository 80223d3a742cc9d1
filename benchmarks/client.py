"""The client's process: one measurement, asked for on standard input, answered on standard output, in JSON.

exremote is used as `backup` uses it: Session, transfer, Repository; the snapshot is read back. pypsrp
is used as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pypsrp.client import Client

from benchmarks.content import HOST
from benchmarks.meter import Meter, Used
from exremote.backup import listing_text
from exremote.credential import Secret
from exremote.inventory import Inventory
from exremote.lab.client import LabClient
from exremote.pack import parse_listing
from exremote.repository import Repository, SnapshotDraft, TreeRecord
from exremote.session import Session
from exremote.transfer import Carrier, pull_tree
from exremote.transport import Address, Login, ShellEvent, Transport, WireSettings, connect

ITEM = CONNECTOR = "bench"


def session_of(request: Mapping[str, Any]) -> Session:
    """Given what was asked for, return a session that is not open yet."""
    lab = request["lab"]
    host = replace(Inventory.load(Path(lab["inventory"])).hosts[HOST], wire=request.get("wire", "psrp"))

    def tell(kind: str, fields: Mapping[str, object]) -> None:
        if kind == "retry":
            raise RuntimeError(f"a measurement with a retry is none: {fields}")

    def factory(address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent) -> Transport:
        envelope_kb = request.get("envelope_kb", settings.envelope_kb)
        return connect(address, login, replace(settings, envelope_kb=envelope_kb), on_shell)

    account = Secret(lab["user"], lab["password"])
    return Session(host, account, transport_factory=factory, on_event=tell)


def told(kind: str, fields: Mapping[str, object]) -> None:
    """Hear of the streams: a measurement of what did not work is none."""
    if kind != "stream-opened":
        raise RuntimeError(f"{kind}: {fields}")


def tree(request: Mapping[str, Any], meter: Meter) -> tuple[Used, dict[str, Any]]:
    """Back one file tree up, from connect to close. Return what was used and what came."""
    place = Path(request["repository"])
    repository = Repository.open(place) if place.exists() else Repository.create(place)
    session = session_of(request)
    meter.start()
    with session:
        session.open()
        meter.transfer_begins()
        previous = repository.latest(HOST, CONNECTOR)
        known = None
        if previous is not None:
            known = parse_listing((previous.path / "trees" / f"{ITEM}.tsv").read_bytes())
        fact = session.file_tree(request["root"], known=known)
        with repository.staging("run", HOST) as staging:
            with Carrier(session, request.get("modern", True), told) as carrier:
                copied = pull_tree(
                    carrier, repository, staging, item=ITEM, root=request["root"], listing=fact.entries
                )
        draft = SnapshotDraft(
            HOST,
            CONNECTOR,
            datetime.now(UTC),
            "run",
            entries=copied.entries,
            trees={ITEM: TreeRecord(request["root"], fact.digest, fact.files, fact.bytes)},
            documents={f"trees/{ITEM}.tsv": listing_text(fact)},
        )
        if previous is not None and repository.same_content(draft, previous):
            repository.record_check(previous, "run", draft.created)
        elif problems := list(repository.verify(repository.commit(draft))):
            raise RuntimeError(f"damaged: {problems}")
    used = meter.stop()
    if copied.missing:
        raise RuntimeError(f"missing: {copied.missing}")
    same = known is not None and fact.digest == known.digest
    return used, {"files": copied.sent_files, "bytes": copied.sent_bytes, "same": same}


def registry(request: Mapping[str, Any], meter: Meter) -> tuple[Used, dict[str, Any]]:
    """Export one registry key over a session that is open already."""
    with session_of(request) as session:
        session.open()
        meter.start()
        export = session.export_registry_key(request["key"])
        used = meter.stop()
    return used, {"bytes": len(export.data), "sha256": hashlib.sha256(export.data).hexdigest()}


def fetch(request: Mapping[str, Any], meter: Meter) -> tuple[Used, dict[str, Any]]:
    """Fetch files with pypsrp's `Client.fetch`, one after another, over one client, from connect to close.

    With `warm`, that file is fetched before the count begins: the client is connected then.
    """
    lab = request["lab"]
    target = Path(request["folder"])
    size = 0
    if not request.get("warm"):
        meter.start()
    client = Client(
        "127.0.0.1",
        port=lab["port"],
        ssl=False,
        auth="ntlm",
        username=lab["user"],
        password=lab["password"],
        no_proxy=True,
    )
    with client:
        if request.get("warm"):
            client.fetch(request["warm"], str(target / "warm"))
            meter.start()
        for number, path in enumerate(request["paths"]):
            client.fetch(path, str(target / str(number)))
            size += (target / str(number)).stat().st_size
    used = meter.stop()
    return used, {"files": len(request["paths"]), "bytes": size}


TASKS: Mapping[str, Callable[[Mapping[str, Any], Meter], tuple[Used, dict[str, Any]]]] = {
    "tree": tree,
    "registry": registry,
    "fetch": fetch,
}


def main() -> None:
    """Do the one measurement that standard input asks for."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    request = json.load(sys.stdin)
    meter = Meter(LabClient(request["lab"]["control"], request["lab"]["token"]))
    used, came = TASKS[request["task"]](request, meter)
    sys.stdout.write(json.dumps({"used": asdict(used), "came": came}))


if __name__ == "__main__":
    main()
