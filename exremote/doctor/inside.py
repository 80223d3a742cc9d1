"""The stages that ask the host itself, in a shell: from PowerShell to the speed of the line.

They read; nothing on the host is written, and no probe file either.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from exremote.credential import Secret as Account
from exremote.doctor.stage import Stage, failed, ok, skipped, unknown, warning
from exremote.errors import HostError, ScriptFailed
from exremote.facts import ApiDirectoryFact, HostFact
from exremote.wording import count_text

if TYPE_CHECKING:
    from exremote.doctor.case import Case

KERBEROS_S = 300
"""Clock difference that Kerberos takes by default (recalled)."""
GIB = 1 << 30
SAMPLE = ("System32\\shell32.dll", "System32\\kernel32.dll", "System32\\ntdll.dll", "System32\\cmd.exe")
"""What is read for a measure: below the Windows folder, on every Windows, not secret."""
SAMPLE_BYTES = 2 << 20
SAMPLE_S = 10.0
LEAST_BYTES = 1 << 18
"""Less than that measures the script's start and not the line."""
BACKUP_BYTES = 100_000_000

_NO_LANGUAGE = ("ScriptsNotAllowed", "CommandNotFoundException")
_UPDATE = "Install KB968930 (PowerShell 2.0 and WinRM 2.0) on Windows Server 2003 SP2 or XP SP3."


def shell(case: Case) -> Stage:
    """Open a shell on the wire that the inventory names."""
    started = time.monotonic()
    case.session.open(beyond=False)
    return ok(f"a shell opened over {case.host.door.wire} in {time.monotonic() - started:.1f} s")


def powershell(case: Case) -> Stage:
    """Run the first script; look how old PowerShell and .NET are."""
    before = case.now()
    try:
        fact = case.session.host_fact()
    except ScriptFailed as error:
        if error.error_id == "Transport.NoPowerShell":
            return failed(error.message, _UPDATE, error.exit_code)
        if error.error_id == "Transport.PowerShellFailed":
            return failed(error.message, f"{error.remedy} {_UPDATE}", error.exit_code)
        case.said_no = error
        return unknown("it runs scripts, and the first did not say its version")
    middle = before + (case.now() - before) / 2
    case.fact = fact
    case.skew_s = (fact.utc_now - middle).total_seconds() if fact.utc_now is not None else None
    sentence = f"PowerShell {fact.powershell_version or 'of no version'} on CLR {fact.clr_version}"
    about = f"Windows {fact.os_version} {fact.service_pack}".strip()
    if fact.powershell_major is None:
        return unknown(f"{sentence}, {about}")
    if fact.powershell_major < 2:
        return failed(f"{sentence}, {about}: the scripts need PowerShell 2.0.", _UPDATE)
    if not fact.goes_by(case.host.name, case.host.address):
        return warning(
            f"{sentence}, {about}; it calls itself {fact.computer_name}, which is neither its name in the "
            "inventory nor its address.",
            "See whether name and address in the inventory lead to the right machine.",
        )
    return ok(f"{sentence}, {about}")


def language(case: Case) -> Stage:
    """Look whether scripts may say all that they have to: not in constrained language, not in JEA."""
    error = case.said_no
    if error is None:
        return ok("full language: the first bundled script ran to its end")
    if "ConstrainedLanguage" in error.error_id or error.error_id in _NO_LANGUAGE:
        return failed(
            f"its PowerShell is restricted ({error.error_id}): constrained language, or an endpoint with few "
            "commands (JEA).",
            "Let this account use the unrestricted endpoint Microsoft.PowerShell, and take the host out of "
            "the AppLocker or WDAC script rules, or of __PSLockdownPolicy, that restrict it.",
            error.exit_code,
        )
    return failed(
        f"the first script failed ({error.error_id}): {error.message}",
        error.remedy or "Run it by hand on the host: exremote scripts Get-HostFact prints it.",
        error.exit_code,
    )


def clock(case: Case) -> Stage:
    """Compare the host's clock with ours, by its PowerShell, or else by the Date of its first answer."""
    skew, source = case.skew_s, "its PowerShell"
    if skew is None:
        skew, source = case.header_skew(), "the Date of its HTTP answer"
    if skew is None:
        return unknown("nobody can tell: no script ran there that says it, and its HTTP answer has no Date")
    words = f"its clock is {_span(abs(skew))} {'ahead of' if skew > 0 else 'behind'} ours (by {source})"
    if abs(skew) <= KERBEROS_S:
        return ok(f"{words}; Kerberos takes 5 minutes (recalled)")
    return warning(
        f"{words}; Kerberos takes 5 minutes (recalled), and times of files and events will mislead.",
        "Find out which of the two is wrong, and set it (on the host: w32tm /resync).",
    )


def _span(seconds: float) -> str:
    if seconds < 2:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rights(case: Case) -> Stage:
    """Look whose rights the session has."""
    fact = _fact(case)
    if fact.is_administrator:
        return ok(f"{fact.user_name} is an administrator of {fact.computer_name}")
    return warning(
        f"{fact.user_name} is no administrator of {fact.computer_name}: files and keys may be closed to it.",
        f"Run on the host: net localgroup Administrators {fact.user_name} /add (on a domain controller: the "
        "domain's group).",
    )


def room(case: Case) -> Stage:
    """Look at the host's disks: a backup writes nothing there, but PowerShell and the connectors do."""
    fact = _fact(case)
    disks = [disk for disk in fact.disks if disk.kind == "Fixed"]
    if not disks:
        return unknown("it names no fixed disk")
    words = ", ".join(
        f"{disk.root} {disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB free" for disk in disks
    )
    full = [disk.root for disk in disks if disk.free < 64 << 20]
    fix = "Make room there; queues of connectors and transaction logs stop on a full disk."
    if full:
        return failed(f"full: {', '.join(full)} ({words}).", fix)
    short = [disk.root for disk in disks if disk.free < max(GIB, disk.total // 20)]
    return warning(f"little room on {', '.join(short)} ({words}).", fix) if short else ok(words)


def fips(case: Case) -> Stage:
    """Look whether Windows forbids the digests that the scripts compute."""
    if not _fact(case).fips_policy:
        return ok("digests are not restricted (no FIPS policy)")
    return warning(
        "Windows allows only FIPS 140 algorithms; .NET then refuses the scripts' SHA-256 (recalled).",
        "See the stage speed: if it fails, switch off the security policy 'System cryptography: Use FIPS "
        "compliant algorithms' for the host.",
    )


def second_hop(case: Case) -> Stage:
    """Look from the host at the GroupWise API directory, with and without its own credential."""
    path = case.host.variables.get("groupwise_api", "")
    if not path:
        return skipped("the inventory names no GroupWise API directory (variables.groupwise_api)")
    if case.host.connectors is not None and "groupwise" not in case.host.connectors:
        return skipped("the inventory lists no GroupWise connector for this host")
    own, own_why = _look(case, path, None)
    if case.host.api_credential is None:
        if own is not None and own.exists:
            return ok(f"{path} is reachable from the host with the session's own log-on")
        return failed(
            f"{path} is not reachable from the host with the session's own log-on{own_why}: a log-on over "
            "the network goes no further than the host.",
            "Set api_credential for the host (an account of the file server); else check the path and the "
            "NetWare or SMB client there.",
        )
    if not isinstance(case.api_account, Account):
        why = case.api_account
        return unknown("api_credential is not to be had", why.text if why else "")
    given, given_why = _look(case, path, case.api_account)
    if given is None or not given.exists:
        also = " It is reachable without." if own is not None and own.exists else ""
        return failed(
            f"{path} is not reachable from the host with api_credential{given_why}.{also}",
            "Check that account and its rights on the file server, and the path.",
        )
    without = "as well as without" if own is not None and own.exists else "and not without"
    return ok(f"{path} is reachable from the host with api_credential, {without}")


def _look(case: Case, path: str, account: Account | None) -> tuple[ApiDirectoryFact | None, str]:
    """Given a path and as whom, return what the host sees there, or why it sees nothing."""
    try:
        fact = case.session.api_directory(path, account=account)
    except ScriptFailed as error:
        return None, f" ({error.message.rstrip('.')})"
    return fact, ""


def speed(case: Case) -> Stage:
    """Measure a round trip and the reading of a little; for information."""
    fact = _fact(case)
    trip = case.configuration.round_trip_s if case.configuration else 0.0
    words = f"a round trip takes {trip * 1000:.0f} ms" if trip else "a round trip was not measured"
    try:
        size, seconds = _read_sample(case, fact.system_root)
    except ScriptFailed as error:
        if not fact.fips_policy:
            raise
        return failed(
            f"reading fails under the FIPS policy: {error.message}",
            "Switch off the policy 'System cryptography: Use FIPS compliant algorithms' for the host.",
            error.exit_code,
        )
    if size < LEAST_BYTES:
        return ok(f"{words}; too little could be read for a measure ({size} bytes)")
    rate = size / max(seconds, 0.001)
    return ok(
        f"{words}; {size / 1e6:.1f} MB came at {rate / 1e6:.1f} MB/s: a backup of 100 MB would take about "
        f"{BACKUP_BYTES / rate:.0f} s"
    )


def _read_sample(case: Case, folder: str) -> tuple[int, float]:
    """Given the Windows folder, read some of it. Return how many bytes came, and in what time."""
    size, started = 0, time.monotonic()
    with closing(case.session.read_pack(folder, SAMPLE)) as blocks:
        for block in blocks:
            size += len(block)
            if size >= SAMPLE_BYTES or time.monotonic() - started > SAMPLE_S:
                break
    return size, time.monotonic() - started


def line(case: Case) -> Stage:
    """Look back: was the connection lost on the way?"""
    if not case.broken:
        return ok("no question had to be asked twice")
    return warning(
        f"{count_text(len(case.broken), 'question')} had to be asked again: {case.broken[0]}",
        "See the host's event log for a restart of WinRM, and whether a firewall cuts idle connections.",
    )


def _fact(case: Case) -> HostFact:
    assert case.fact is not None, "the stage language went well"
    return case.fact


def lost(error: HostError) -> bool:
    """Given an error, return whether the way to the host itself is gone."""
    return error.transient and not isinstance(error, ScriptFailed)
