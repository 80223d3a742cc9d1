"""Judges what is special to the connector for Lotus cc:Mail, above all its programs. It never asks a host."""

from __future__ import annotations

import ntpath
from collections.abc import Mapping

from exremote.checks.finding import Finding, Verdict, finding, listed, names, why
from exremote.connector import Check, below, expand, tidy
from exremote.facts import HostFacts, NamedFile

TOOLS: Mapping[str, str] = {"Import": "ccmail-import-program", "Export": "ccmail-export-program"}
LIBRARIES = ("cdmw800.dll", "cfw803.dll", "ciw803.dll")
SAY = "Note which one it is in the inventory: variables = { ccmail_database = 'DB6' }, 'DB8' or '8.5'."


def _tools(facts: HostFacts) -> dict[str, NamedFile]:
    """Return the programs that the connector runs, as far as they were found: the first of each."""
    found = {}
    for name, item in TOOLS.items():
        for file in facts.files.get(item, ()):
            if file.exists:
                found[name] = file
                break
    return found


def _unknown(facts: HostFacts, tools: Mapping[str, NamedFile]) -> str:
    """Return why nothing can be said of the programs; '' if something can."""
    for name, item in TOOLS.items():
        if item not in facts.files:
            return why(facts, f"file {item}")
        if name not in tools:
            return f"the program {name} was not found, or could not be read"
        if not tools[name].bits:
            return f"{tools[name].path} is {tools[name].words}"
    return ""


def _impexp(facts: HostFacts) -> bool | None:
    """Return whether Impexp.ri is in Ccmcdata; None if that is not known."""
    tree = listed(facts, "ccmcdata")
    if isinstance(tree, str):
        known = facts.trees.get("ccmcdata")
        return False if known is not None and not known.exists else None
    return any(entry.path.lower() == "impexp.ri" for entry in tree.entries)


def _libraries(facts: HostFacts) -> list[str]:
    """Return the libraries of release 8.5 that were found."""
    files = facts.files.get("ccmail-libraries", ())
    return [file.path for file in files if file.exists]


def tools(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the programs fit the post office: of 16 bit they corrupt one of 8.5."""
    found = _tools(facts)
    if reason := _unknown(facts, found):
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    said = (facts.roots.get("ccmail_database") or "").upper()
    signs = [f"{said} (the inventory)"] if said else []
    signs += [*_libraries(facts), *(["Impexp.ri in Ccmcdata"] if _impexp(facts) else [])]
    words = "; ".join(f"{name}: {file.path}, {file.words}" for name, file in found.items())
    sizes = {file.bits for file in found.values()}
    remedy = ""
    if len(sizes) > 1:
        verdict, more = Verdict(check.severity), "one of 16 bit and one of 32: no post office fits both"
    elif sizes == {32}:
        old = said and "8.5" not in said
        verdict = Verdict.UNKNOWN if old else Verdict.OK
        more = f"whether those of 8.5 fit {said} is in no source" if old else "as for release 8.5"
    elif "8.5" in said or (not said and signs):
        verdict, more = Verdict(check.severity), f"16 bit, and of release 8.5 speak {names(signs)}"
    elif said:
        verdict, more = _version(said, found)
    else:
        verdict, remedy = Verdict.UNKNOWN, SAY
        more = "16 bit fits DB6 and DB8, not release 8.5, and nobody says what the post office is"
    return finding(facts, check, verdict, f"{words}; {more}", connector, remedy)


def _version(said: str, found: Mapping[str, NamedFile]) -> tuple[Verdict, str]:
    """Given what the post office is and programs of 16 bit, return whether a version that is known fits."""
    old = [f.path for f in found.values() if f.version.startswith("5.12.")]
    young = [f.path for f in found.values() if f.version and int(f.version.partition(".")[0]) < 6]
    if old:
        return Verdict.WARNING, f"5.12 is discouraged: {names(old)}"
    if said == "DB8" and young:
        return Verdict.WARNING, f"DB8 wants 6.0 or later: {names(young)}"
    return Verdict.OK, f"as for {said}, which the inventory names"


def companions(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the files are there that the programs need."""
    found = _tools(facts)
    if reason := _unknown(facts, found):
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    said = (facts.roots.get("ccmail_database") or "").upper()
    if all(file.bits == 16 for file in found.values()):
        folders = {ntpath.dirname(file.path).lower() for file in found.values()}
        there = [f.path for f in facts.files.get("ccmail-ie-ri", ()) if f.exists]
        beside = folders <= {ntpath.dirname(path).lower() for path in there}
        words = f"IE.RI: {names(there) or 'not found'}; the programs are in {names(sorted(folders))}"
        verdict = Verdict.OK if beside or said == "DB6" else Verdict.WARNING
        if not there and said != "DB6":
            verdict = Verdict(check.severity) if said == "DB8" else Verdict.UNKNOWN
            words += "" if said else "; DB8 needs it, DB6 does not, and nobody says what the post office is"
        remedy = SAY if verdict is Verdict.UNKNOWN else ""
        return finding(facts, check, verdict, words, connector, remedy)
    impexp, there = _impexp(facts), _libraries(facts)
    lacking = [name for name in LIBRARIES if not any(path.lower().endswith(f"\\{name}") for path in there)]
    lacking += ["Impexp.ri in Ccmcdata"] if impexp is False else []
    words = f"missing: {names(lacking)}" if lacking else f"{names(there)}, Impexp.ri in Ccmcdata"
    if not lacking and impexp is None:
        return finding(facts, check, Verdict.UNKNOWN, why(facts, "tree ccmcdata"), connector)
    return finding(facts, check, Verdict(check.severity) if lacking else Verdict.OK, words, connector)


def path(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the programs' folders are on the machine's PATH."""
    host, found = facts.host_fact, _tools(facts)
    if host is None or not found:
        reason = why(facts, "host") if host is None else "no program was found"
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    folders = [tidy(entry).lower() for entry in host.system_path.split(";")]
    off = [f.path for f in found.values() if tidy(ntpath.dirname(f.path)).lower() not in folders]
    words = f"not on the PATH: {names(off)}" if off else names(f.path for f in found.values())
    return finding(facts, check, Verdict(check.severity) if off else Verdict.OK, words, connector)


def second_tools(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether beside the programs that are taken there are others of other content."""
    found = _tools(facts)
    if not found:
        return finding(facts, check, Verdict.UNKNOWN, "no program was found", connector)
    strays = [
        file.path
        for name, first in found.items()
        for file in facts.files[TOOLS[name]]
        if file.exists and file.sha256 != first.sha256
    ]
    words = names(f.path for f in found.values())
    words = f"beside {words}: {names(strays)}" if strays else f"none beside {words}"
    return finding(facts, check, Verdict(check.severity) if strays else Verdict.OK, words, connector)


def short_names(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether Exchange's folder has a name that programs of MS-DOS can use."""
    found, root = _tools(facts), facts.roots.get("exchsrvr")
    if root is None or not found:
        reason = "no program was found" if root else "Exchange's folder is not known"
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    dos = [f.path for f in found.values() if f.bits == 16]
    stem, ending = ntpath.splitext(ntpath.basename(root))
    bad = bool(dos) and (len(stem) > 8 or len(ending) > 4)
    words = f"{root}; programs of 16 bit: {names(dos) or 'none'}"
    return finding(facts, check, Verdict(check.severity) if bad else Verdict.OK, words, connector)


def sixteen_bit(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether this Windows can run programs of 16 bit, if there are any."""
    host, found = facts.host_fact, _tools(facts)
    if host is None or not found:
        reason = why(facts, "host") if host is None else "no program was found"
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    old = [f.path for f in found.values() if f.bits == 16]
    bad = bool(old) and "64" in host.architecture
    words = f"Windows on {host.architecture or 'an unknown processor'}; of 16 bit: {names(old) or 'none'}"
    return finding(facts, check, Verdict(check.severity) if bad else Verdict.OK, words, connector)


def post_office(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check, return whether the post office's own file can be seen where the inventory says it is."""
    wanted = expand(check.files[0], facts.roots)
    if wanted is None:
        remedy = "Name its path in the inventory: variables = { ccmail_post_office = 'PATH' }."
        return finding(facts, check, Verdict.UNKNOWN, "nobody says where it is", connector, remedy)
    seen = facts.look(wanted)
    if seen is None or seen.error:
        reason = why(facts, "files") if seen is None else f"{wanted}: {seen.error}"
        return finding(facts, check, Verdict.UNKNOWN, reason, connector)
    if seen.exists:
        return finding(facts, check, Verdict.OK, f"{wanted} is there", connector)
    # From the host another computer is a second hop, where no answer says nothing.
    far = below(wanted, "").startswith("\\\\")
    verdict = Verdict.UNKNOWN if far else Verdict(check.severity)
    return finding(facts, check, verdict, f"{wanted} was not seen", connector, check.remedy)
