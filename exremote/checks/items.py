"""Judges what a connector is made of: services, trees, files, keys, API directories, directory objects.

It never asks a host. What could not be looked at is unknown, never ok.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from exremote.checks.finding import API_REMEDY, UNREADABLE, Finding, Verdict, finding, listed, names, why
from exremote.checks.rules import RULES
from exremote.connector import Connector, FileTree, Service, expand, matches, program_of
from exremote.facts import ApiDirectoryFact, HostFacts, ServiceState, in_words
from exremote.wording import count_text

HELD = (
    'Services hold it while they run: "stopped-copy" in the host\'s backup has them stopped for a copy; '
    "a snapshot lacks it otherwise."
)


def judge_services(facts: HostFacts, services: Mapping[str, tuple[Service, str]]) -> Iterator[Finding]:
    """Given the services of the connectors, return what is to be said of each."""
    for name, (service, owner) in services.items():
        state = facts.service(name)
        if state is None:
            words = f"{name}: {why(facts, 'services')}"
            yield finding(facts, RULES["service.registered"], Verdict.UNKNOWN, words, owner)
            continue
        verdict = Verdict.OK if state.exists or service.optional else Verdict.CRITICAL
        words = state.display_name if state.exists else "not registered"
        words += ", and need not" if service.optional and not state.exists else ""
        yield finding(facts, RULES["service.registered"], verdict, f"{name}: {words}", owner)
        if not state.exists:
            continue
        verdict = Verdict.OK if state.image_exists else Verdict.CRITICAL
        words = f"{name}: {program_of(state.image_path)}"
        if not state.readable:
            verdict, words = Verdict.UNKNOWN, f"{name}: {UNREADABLE}"
        yield finding(facts, RULES["service.program"], verdict, words, owner)
        verdict = Verdict.WARNING if state.start_mode == "Disabled" else Verdict.OK
        verdict = Verdict.UNKNOWN if state.start_mode in ("", "Unknown") else verdict
        yield finding(facts, RULES["service.start-mode"], verdict, f"{name}: {state.start_mode}", owner)
        yield _running(facts, state, service, owner)
        yield _dependencies(facts, state, owner)


def _running(facts: HostFacts, state: ServiceState, service: Service, owner: str) -> Finding:
    rule, remedy = RULES["service.running"], ""
    words = f"{state.name}: {state.state or 'no state'}"
    match state.state:
        case "Running":
            verdict = Verdict.OK
        case "Stopped":
            verdict = Verdict.CRITICAL
            if service.optional:
                automatic = state.start_mode == "Automatic"
                verdict = Verdict.WARNING if automatic else Verdict.INFO
                words += f", start type {state.start_mode or 'unknown'}; not every site uses it"
        case "" | "Unknown":
            verdict = Verdict.UNKNOWN
        case _:
            verdict = Verdict.WARNING
            if state.state.endswith("Pending"):
                remedy = "Check again; if it still hangs there, read its events before ending its process."
                limit = service.stop_deadline_s if state.state == "StopPending" else service.start_deadline_s
                words += f" (it may take {limit} s)"
    return finding(facts, rule, verdict, words, owner, remedy)


def _dependencies(facts: HostFacts, state: ServiceState, owner: str) -> Finding:
    rule, unclear = RULES["service.dependencies"], ("", "Unknown")
    if not state.readable:
        return finding(facts, rule, Verdict.UNKNOWN, f"{state.name}: {UNREADABLE}", owner)
    idle: list[str] = []
    dark: list[str] = []
    for name in state.depends_on:
        other = facts.service(name)
        if other is None or (other.exists and other.state in unclear):
            dark.append(name)
        elif other.state != "Running":
            idle.append(f"{other.name} ({other.state or 'not registered'})")
    words = f"{state.name} is {state.state or 'in no known state'}"
    words += f" and depends on {', '.join(state.depends_on) or 'nothing'}"
    words += f"; not running: {', '.join(idle)}" if idle else ""
    words += f"; not known: {', '.join(dark)}" if dark else ""
    verdict = Verdict.OK
    if state.state == "Running" and idle:
        verdict = Verdict.CRITICAL
    elif (state.state == "Running" and dark) or (state.state in unclear and (idle or dark)):
        verdict = Verdict.UNKNOWN
    return finding(facts, rule, verdict, words, owner)


def judge_tree(facts: HostFacts, item: FileTree, owner: str, services: Iterable[str]) -> Iterator[Finding]:
    """Given a tree and the services that work in it, return what is to be said of it."""
    tree = facts.trees.get(item.id)
    if tree is None:
        yield finding(facts, RULES["tree.present"], Verdict.UNKNOWN, why(facts, f"tree {item.id}"), owner)
        return
    absent = Verdict.OK if item.optional else Verdict.CRITICAL
    held = f"{count_text(tree.files, 'file')}, {count_text(tree.bytes, 'byte')}"
    words = f"{tree.path}: {held}" if tree.exists else f"{tree.path} is missing"
    words += ", and need not be there" if item.optional and not tree.exists else ""
    yield finding(facts, RULES["tree.present"], Verdict.OK if tree.exists else absent, words, owner)
    if not tree.exists:
        return
    listing = listed(facts, item.id)
    if isinstance(listing, str):
        yield finding(facts, RULES["tree.readable"], Verdict.UNKNOWN, listing, owner)
        return
    closed = [f"{e.path} ({in_words(e.error_id)})" for e in tree.entries if e.state == "unreadable"]
    words = f"{tree.path}: {len(closed)} cannot be read" + (f": {names(closed)}" if closed else "")
    verdict = Verdict.WARNING if closed else Verdict.OK
    if (
        closed
        and item.held
        and {e.error_id for e in tree.entries if e.state == "unreadable"} == {"ExRemote.FileLocked"}
    ):
        # So it is while they run, and no sign of anything else.
        yield finding(facts, RULES["tree.readable"], Verdict.INFO, words, owner, HELD)
    else:
        yield finding(facts, RULES["tree.readable"], verdict, words, owner)
    if not item.work_files:
        return
    work = [e.path for e in tree.entries if e.size >= 0 and any(matches(e.path, p) for p in item.work_files)]
    deeper = [path for path in work if "\\" in path]
    states = {name: state.state for name in services if (state := facts.service(name)) and state.exists}
    stopped = bool(states) and all(state == "Stopped" for state in states.values())
    words = f"{len(work)} in {tree.path}" + (f": {names(work)}" if work else "")
    if deeper:
        words += f"; {len(deeper)} of them in subfolders, of which the source says nothing"
    words += "; all services are stopped" if stopped else "; services run"
    verdict = Verdict.INFO if work and stopped else Verdict.OK
    if work and not states:
        verdict, words = Verdict.UNKNOWN, f"{words.rpartition(';')[0]}; the services' states are not known"
    yield finding(facts, RULES["tree.work-files"], verdict, words, owner)


def judge_items(facts: HostFacts, connector: Connector, owners: Mapping[str, str]) -> Iterator[Finding]:
    """Given a connector, return what is to be said of its files, keys, API directories and objects."""
    for item in connector.named_files:
        yield _named_file(facts, item.id, item.optional, owners[item.id])
    for key in connector.registry_keys:
        owner = owners[key.id]
        path = expand(key.path, facts.roots)
        value = next((v for v in facts.registry if path and v.key.lower() == path.lower()), None)
        rule = RULES["registry.present"]
        if value is None or path is None:
            words = why(facts, "registry") if path else f"where its key {key.id} is, the host did not say"
            yield finding(facts, rule, Verdict.UNKNOWN, words, owner)
            continue
        absent = Verdict.OK if key.optional else Verdict.WARNING
        words = (
            path if value.key_exists else f"{path} is not there" + (", and need not" if key.optional else "")
        )
        yield finding(facts, rule, Verdict.OK if value.key_exists else absent, words, owner)
    for api in connector.api_directories:
        yield from judge_api(facts, api.id, connector.name)
    for wanted in connector.directory_objects:
        yield _object(facts, wanted.class_name, wanted.sure, connector.name)


def _named_file(facts: HostFacts, item: str, optional: bool, owner: str) -> Finding:
    rule, files = RULES["file.present"], facts.files.get(item)
    if files is None:
        return finding(facts, rule, Verdict.UNKNOWN, why(facts, f"file {item}"), owner)
    there = [f"{file.path} ({count_text(file.size, 'byte')})" for file in files if file.exists]
    closed = [f"{file.path}: {file.error}" for file in files if file.error]
    if there:
        return finding(facts, rule, Verdict.OK, names(there), owner)
    if closed:
        return finding(facts, rule, Verdict.UNKNOWN, names(closed), owner)
    verdict = Verdict.OK if optional else Verdict.CRITICAL
    words = f"looked for {names(file.path for file in files)}" + (
        ", and need not be there" if optional else ""
    )
    return finding(facts, rule, verdict, words, owner)


def _object(facts: HostFacts, class_name: str, sure: str, owner: str) -> Finding:
    rule, question = RULES["directory.object"], f"object {class_name}"
    if question in facts.unavailable:
        return finding(facts, rule, Verdict.UNKNOWN, why(facts, question), owner)
    found = [o for o in facts.connector_objects if o.class_name.lower() == class_name.lower()]
    if found:
        withheld = sorted({name for each in found for name in each.withheld})
        words = names(each.distinguished_name for each in found)
        words += f"; withheld: {', '.join(withheld)}" if withheld else ""
        return finding(facts, rule, Verdict.OK, words, owner)
    # The name of the class may be wrong: then its absence says nothing.
    verdict = Verdict.WARNING if sure == "S" else Verdict.UNKNOWN
    words = f"no object of class {class_name}" + ("" if sure == "S" else ", a name that is inferred")
    return finding(facts, rule, verdict, words, owner)


def judge_api(facts: HostFacts, item: str, owner: str) -> Iterator[Finding]:
    """Given an API directory, return whether it was seen, by whom, and what the probe said."""
    fact, rule = facts.api_directories.get(item), RULES["api.reach"]
    if fact is None:
        yield finding(facts, rule, Verdict.UNKNOWN, why(facts, f"api {item}"), owner)
        return
    # Without a credential of its own a UNC path is a second hop, where no answer says nothing.
    blind = fact.path.startswith("\\\\") and not fact.credential_given
    rights = f"with the rights of {fact.account}, not the connector's" if fact.account else "by nobody known"
    if fact.reason_unknown:
        verdict = Verdict.WARNING if fact.credential_given else Verdict.UNKNOWN
        remedy = "" if fact.credential_given else API_REMEDY
        yield finding(facts, rule, verdict, f"{fact.path}: {fact.reason_unknown}", owner, remedy)
        return
    if not fact.exists:
        verdict, remedy = (Verdict.UNKNOWN, API_REMEDY) if blind else (Verdict.CRITICAL, "")
        yield finding(facts, rule, verdict, f"{fact.path} was not seen {rights}", owner, remedy)
        return
    yield finding(facts, rule, Verdict.OK, f"{fact.path} was seen {rights}", owner)
    gone = [queue.queue for queue in fact.queues if not queue.exists]
    words = f"missing: {', '.join(gone)}" if gone else ", ".join(f"{q.queue} {q.files}" for q in fact.queues)
    verdict = Verdict.WARNING if gone else Verdict.OK if fact.queues else Verdict.UNKNOWN
    yield finding(facts, RULES["api.queues"], verdict, words or "no queue was listed", owner)
    yield _probe(facts, item, owner, blind)
    yield _leftovers(facts, fact, owner)


def _leftovers(facts: HostFacts, fact: ApiDirectoryFact, owner: str) -> Finding:
    left = [name for name in fact.leftovers if name not in fact.cleared]
    words = [names(left)] if left else []
    words += [f"{names(fact.cleared)} (removed now)"] if fact.cleared else []
    # Without a probe nothing else can have gone wrong than the look at what is left.
    trouble = fact.leftover_error or ("" if fact.probed else fact.probe_error)
    words += [f"not all could be looked at: {trouble}"] if trouble else []
    verdict = Verdict.UNKNOWN if trouble else Verdict.OK
    verdict = Verdict.WARNING if left else verdict
    return finding(facts, RULES["api.leftovers"], verdict, "; ".join(words) or "none", owner)


def _probe(facts: HostFacts, item: str, owner: str, blind: bool) -> Finding:
    fact, rule = facts.api_directories[item], RULES["api.probe"]
    if not fact.probed:
        words = "not tried: nothing was to be written"
        return finding(facts, rule, Verdict.INFO, words, owner, "Run health with --probe to try it.")
    done = {"written": fact.written, "read back": fact.read_back, "removed": fact.removed}
    words = ", ".join(word if well else f"not {word}" for word, well in done.items())
    words += f", with the rights of {fact.account}, not the connector's"
    if all(done.values()) and not fact.probe_error:
        return finding(facts, rule, Verdict.OK, words, owner)
    words += f": {fact.probe_error}" if fact.probe_error else ""
    # What was written and not removed lies there now: that is known, whoever asked.
    if blind and not fact.written:
        return finding(facts, rule, Verdict.UNKNOWN, words, owner, API_REMEDY)
    return finding(facts, rule, Verdict.CRITICAL, words, owner)
