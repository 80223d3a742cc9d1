"""The client's process: one measurement, asked for on standard input, answered on standard output, in JSON.

exremote is used as `backup` uses it: Session, transfer, Repository; the snapshot is read back. Others are
used as `peers` says.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.content import HOST
from benchmarks.decoding import decode
from benchmarks.meter import Meter
from benchmarks.peers import Answer
from exremote.backup import listing_text
from exremote.credential import Secret
from exremote.inventory import Inventory
from exremote.lab.client import LabClient
from exremote.pack import parse_listing
from exremote.repository import Repository, SnapshotDraft, TreeRecord
from exremote.session import Session
from exremote.transfer import Carrier, Outgoing, pull_tree, push_files
from exremote.transport import Address, Login, ShellEvent, Transport, WireSettings, connect

ITEM = CONNECTOR = "bench"
_MODIFIED = 631_139_040_000_000_000


def host_of(request: Mapping[str, Any]) -> str:
    """Given what was asked for, return of which host."""
    return str(request.get("host", HOST))


def session_of(request: Mapping[str, Any]) -> Session:
    """Given what was asked for, return a session that is not open yet."""
    lab = request["lab"]
    host = replace(
        Inventory.load(Path(lab["inventory"])).hosts[host_of(request)], wire=request.get("wire", "psrp")
    )

    def tell(kind: str, fields: Mapping[str, object]) -> None:
        if kind not in ("shell", "stream-opened"):
            raise RuntimeError(f"a measurement of what did not work is none: {kind}: {fields}")

    def factory(address: Address, login: Login, settings: WireSettings, on_shell: ShellEvent) -> Transport:
        envelope_kb = request.get("envelope_kb", settings.envelope_kb)
        return connect(address, login, replace(settings, envelope_kb=envelope_kb), on_shell)

    account = Secret(lab["user"], lab["password"])
    return Session(host, account, transport_factory=factory, on_event=tell)


def tree(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Back one file tree up, from connect to close. Return what was used and what came."""
    place, name = Path(request["repository"]), host_of(request)
    repository = Repository.open(place) if place.exists() else Repository.create(place)
    session = session_of(request)
    meter.start()
    with session:
        session.open()
        meter.transfer_begins()
        previous = repository.latest(name, CONNECTOR)
        known = None
        if previous is not None:
            with (previous.path / "trees" / f"{ITEM}.tsv").open("rb") as text:
                known = parse_listing(iter(partial(text.read, 1 << 20), b""))
        fact = session.file_tree(request["root"], known=known)
        with repository.staging("run", name) as staging:
            with Carrier(session, request.get("modern", True)) as carrier:
                copied = pull_tree(
                    carrier, repository, staging, item=ITEM, root=request["root"], listing=fact.entries
                )
        draft = SnapshotDraft(
            name,
            CONNECTOR,
            datetime.now(UTC),
            "run",
            entries=copied.entries,
            trees={ITEM: TreeRecord(request["root"], fact.digest, fact.files, fact.bytes)},
            documents={f"trees/{ITEM}.tsv": partial(listing_text, fact)},
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


def registry(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Export one registry key over a session that is open already."""
    with session_of(request) as session:
        session.open()
        meter.start()
        export = session.export_registry_key(request["key"])
        used = meter.stop()
    return used, {"bytes": len(export.data), "sha256": hashlib.sha256(export.data).hexdigest()}


def upload(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Send files into a new folder, from connect to close; the host reads them back."""
    files = []
    for source in map(Path, request["sources"]):
        with source.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        files.append(Outgoing(source.name, source, source.stat().st_size, sha256, _MODIFIED))
    session = session_of(request)
    meter.start()
    with session:
        session.open()
        meter.transfer_begins()
        pushed = push_files(session, request["root"], files, fresh=True)
    used = meter.stop()
    if pushed.failed:
        raise RuntimeError(f"failed: {pushed.failed}")
    return used, {"files": pushed.sent_files, "bytes": sum(file.size for file in files)}


TASKS: Mapping[str, Callable[[Mapping[str, Any], Meter], Answer]] = {
    "tree": tree,
    "registry": registry,
    "upload": upload,
    "decode": decode,
    "fetch": peers.fetch,
    "copy": peers.copy,
    "ansible_psrp": peers.ansible_psrp,
    "ansible_winrm": peers.ansible_winrm,
}


def main() -> None:
    """Do the one measurement that standard input asks for."""
    os.environ["NO_PROXY"] = "127.0.0.1"
    request = json.load(sys.stdin)
    meter = Meter(LabClient(request["lab"]["control"], request["lab"]["token"]), host_of(request))
    used, came = TASKS[request["task"]](request, meter)
    sys.stdout.write(json.dumps({"used": asdict(used), "came": came}))


if __name__ == "__main__":
    main()
