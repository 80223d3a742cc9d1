"""The stages on the way to a host: from the inventory to WinRM's settings.

Everything before the log-on is asked without a credential. It never opens a shell.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING

from exremote.doctor.quotas import judge_quotas
from exremote.doctor.stage import Stage, failed, ok, skipped, unknown, warning
from exremote.errors import AccessDenied, ExremoteError, HostError, RemoteTimeout, TrustError, Unreachable
from exremote.transport import probe

if TYPE_CHECKING:
    from exremote.doctor.case import Case

SOON = timedelta(days=14)
"""A certificate that ends within this time is worth a word."""
_TAKES = {
    "negotiate": ("Negotiate",),
    "ntlm": ("Negotiate", "NTLM"),
    "kerberos": ("Kerberos", "Negotiate"),
    "credssp": ("CredSSP",),
    "basic": ("Basic",),
}
_UPDATE = "Install KB968930 on Windows Server 2003 or XP: it brings WinRM 2.0 and PowerShell 2.0"


def inventory(case: Case) -> Stage:
    """Look at the entry: whether the host can be asked, how, and what the inventory itself warns of."""
    host = case.host
    if host.unusable is not None:
        return failed(host.unusable.said, host.unusable.remedy, host.unusable.exit_code)
    door = host.door
    what = f"{door.scheme}://{door.address}:{door.port}/{door.path}, auth {door.auth}, wire {door.wire}"
    if host.gateway is not None:
        what = f"{host.address} through {door.name}, {what}"
    if case.warnings:
        return warning(f"{what}; {' '.join(case.warnings)}", "Change the inventory if that is not meant.")
    return ok(what)


def credential(case: Case) -> Stage:
    """Look whether the secrets that the inventory refers to are to be had; the second hop's is no need."""
    if isinstance(case.account, ExremoteError):
        error = case.account
        return failed(error.message, error.remedy, error.exit_code)
    if case.host.door.credential.kind == "none":
        said = "the client's certificate is the credential"
    else:
        said = f"{case.host.door.credential.text}: a password for {case.account.username} is there"
    if isinstance(case.api_account, ExremoteError):
        error = case.api_account
        return warning(f"{said}; api_credential is not to be had: {error.message}", error.remedy)
    if case.host.api_credential is not None:
        said += f"; api_credential: {case.host.api_credential.text}"
    return ok(said)


def name(case: Case) -> Stage:
    """Resolve the address."""
    host = case.host.door
    try:
        ipaddress.ip_address(host.address)
    except ValueError:
        found = probe.resolve(case.address)
        shown = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        return ok(f"{host.address} is {shown}")
    note = " (Negotiate will come down to NTLM)" if host.auth == "negotiate" else ""
    return ok(f"{host.address} is an IP address, nothing to resolve{note}")


def port(case: Case) -> Stage:
    """Knock at the port; if nobody opens, at the others where WinRM may be."""
    address = case.address
    try:
        probe.knock(address, case.host.deadlines.connect_s)
    except HostError as error:
        found = probe.open_ports(address, [one for one in probe.PORTS if one != address.port])
        if not found:
            others = "; none of the other ports of WinRM (5985, 5986, 80, 443) is open either."
            fix = error.remedy.partition(", or set port")[0].rstrip(".") + "."
            return failed(error.message.rstrip(".") + others, fix, error.exit_code)
        is_are = "is" if len(found) == 1 else "are"
        message = f"{error.message.rstrip('.')}; {', '.join(map(str, found))} {is_are} open."
        scheme = "https" if found[0] in (5986, 443) else "http"
        fix = f'If WinRM is there, set port = {found[0]} and scheme = "{scheme}"; else {_small(error.remedy)}'
        return failed(message, fix, error.exit_code)
    return ok(f"port {address.port} takes connections")


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def tls(case: Case) -> Stage:
    """Shake hands as the wire would; say what the certificate is."""
    host = case.host.door
    if host.scheme == "http":
        return skipped('scheme = "http": messages are sealed by the authentication instead')
    try:
        hands = probe.shake_hands(case.address, host.verify, host.deadlines.connect_s)
    except (RemoteTimeout, Unreachable):
        if not probe.speaks_http(case.address, probe.KNOCK_S):
            raise
        raise TrustError(
            case.host.name,
            f"port {host.port} does not speak TLS, but plain HTTP.",
            'Set scheme = "http" (messages are sealed all the same), or use the https port, 5986.',
        ) from None
    if hands.problem is not None:
        return failed(hands.problem.message, hands.problem.remedy, hands.problem.exit_code)
    names = f"for {', '.join(hands.names)}" if hands.names else "of unknown names"
    until = f", valid until {hands.expires:%Y-%m-%d}" if hands.expires else ""
    sentence = f"{hands.version}, a certificate {names}{until}"
    if host.verify is False:
        return warning(
            f"{sentence}; verify = false: nobody checks it, so this may be any host.",
            'Save the certificate of its issuer as PEM and set verify = "FILE.pem".',
        )
    if hands.expires and hands.expires - case.now() < SOON:
        return warning(
            f"{sentence}: that is soon.", "Renew it on the host, and give its listener the new one."
        )
    return ok(sentence)


def listener(case: Case) -> Stage:
    """Ask WinRM who it is, as anybody may."""
    address, host = case.address, case.host.door
    timeout_s = host.deadlines.read_s
    try:
        seen = probe.identify(address, timeout_s)
    except HostError as error:
        if host.scheme == "http" and probe.speaks_tls(address, probe.KNOCK_S):
            return failed(
                f"port {address.port} speaks TLS, not plain HTTP.",
                'Set scheme = "https" (and verify, if the certificate is not from a known authority).',
                Unreachable.exit_code,
            )
        return failed(error.message, error.remedy, error.exit_code)
    case.listener, case.asked_at = seen, case.now()
    if seen.protocol or seen.vendor or seen.version:
        said = f"WinRM answers: {seen.vendor or 'no vendor'}, {seen.version or 'no version'}"
        if seen.stack.startswith("1.") and host.wire == "psrp":
            return warning(
                f"{said}; PowerShell remoting needs WinRM 2.0.", f'{_UPDATE}; or set wire = "winrs".'
            )
        return ok(said)
    if seen.status == 401:
        return ok(f"{seen.server or 'a server'} wants a log-on before it says who it is")
    if seen.status in (425, 429, 503):
        return failed(
            f"its WinRM service is starting or too busy (HTTP {seen.status}).",
            "Wait, or restart the service on the host: net stop winrm & net start winrm",
            Unreachable.exit_code,
        )
    return _not_winrm(case, seen)


def _not_winrm(case: Case, seen: probe.Listener) -> Stage:
    """Given an HTTP answer that is not WinRM's, return what it means."""
    address, server = case.address, seen.server or "a server without a name"
    what = f"{server} answers with HTTP {seen.status} at {address.url}, and it is not WinRM."
    if "HTTPAPI" in seen.server.upper():
        fix = (
            "Windows listens, and WinRM has no listener there: run winrm enumerate winrm/config/listener "
            "on the host, then winrm quickconfig; check path."
        )
    elif "IIS" in seen.server.upper():
        fix = "That is the web server of the host: set port = 5985, and run winrm quickconfig there."
    else:
        fix = "Another program listens there: set port (5985 for http, 5986 for https) and path."
    return failed(what, fix, Unreachable.exit_code)


def schemes(case: Case) -> Stage:
    """Compare what the host offers to a client without a credential with what we would use."""
    host = case.host.door
    if host.auth == "certificate":
        return unknown("a log-on by certificate is not in the list that a host offers")
    seen = probe.offers(case.address, host.deadlines.read_s)
    said = ", ".join(seen.offers) or "none"
    if seen.status != 401:
        return unknown(f"it asks for no log-on, but answers with HTTP {seen.status}")
    if any(one.lower() in (each.lower() for each in _TAKES[host.auth]) for one in seen.offers):
        return ok(f"it offers {said}; auth = {host.auth} is among them")
    enable = _TAKES[host.auth][0]
    return failed(
        f"it offers {said}, and auth = {host.auth} needs {' or '.join(_TAKES[host.auth])}.",
        f'Run on the host: winrm set winrm/config/service/auth @{{{enable}="true"}}, or set auth to '
        "what is offered.",
        AccessDenied.exit_code,
    )


def authentication(case: Case) -> Stage:
    """Log on, once, and ask for WinRM's settings."""
    host = case.host.door
    _, login, settings = case.session.target()
    try:
        with case.session.logging_on():
            case.configuration = probe.configuration(case.address, login, settings)
    except AccessDenied as error:
        wrong = "user name or password" in error.message
        return failed(error.message, f"{error.remedy}{_more(case) if wrong else ''}", error.exit_code)
    return ok(f"{login.username or 'the certificate'} was let in ({host.auth})")


def _more(case: Case) -> str:
    """Return what else can make a host refuse a credential that is right."""
    host, words = case.host.door, ""
    if host.scheme == "https" and host.auth in ("negotiate", "ntlm", "kerberos"):
        words = (
            " If it is right: something between us that opens TLS breaks the channel binding that the host "
            "may insist on (CbtHardeningLevel)."
        )
    if host.auth == "kerberos":
        words += (
            " Kerberos also fails if the domain has no service principal for the name in address "
            "(setspn -L lists them), or if the clocks differ."
        )
        if (skew := case.header_skew()) is not None and abs(skew) > 300:
            words += f" They do: by {abs(skew):.0f} s."
    if "\\" not in (user := _user(case)) and "@" not in user:
        words += " A domain account is written DOMAIN\\user or user@domain."
    return words


def _user(case: Case) -> str:
    return "" if isinstance(case.account, ExremoteError) else case.account.username


def sealing(case: Case) -> Stage:
    """Look whether anybody on the network could read along."""
    host, configuration = case.host, case.configuration
    assert configuration is not None, "authentication went well"
    if configuration.unsealed_refused:
        return failed(
            f"it takes no message in clear text ({configuration.unsealed_refused}).",
            'Set encryption = "auto" in the inventory: messages are then sealed by the authentication.',
            AccessDenied.exit_code,
        )
    if host.scheme == "http" and host.encryption == "never":
        return warning("all that goes over the line is readable.", 'Set encryption = "auto", or use https.')
    how = "TLS" if host.scheme == "https" else f"the authentication ({host.auth})"
    both = (
        " and once more by the authentication"
        if host.scheme == "https" and host.encryption == "always"
        else ""
    )
    if configuration.values.get("Service.AllowUnencrypted", "").lower() == "true":
        return warning(
            f"messages are sealed by {how}{both}, but the host would take them in clear text from others.",
            'Run on the host: winrm set winrm/config/service @{AllowUnencrypted="false"}',
        )
    return ok(f"messages are sealed by {how}{both}")


def quotas(case: Case) -> Stage:
    """Hold WinRM's limits against what a backup needs."""
    configuration = case.configuration
    assert configuration is not None, "authentication went well"
    if configuration.refused:
        return unknown(
            f"this account may not read WinRM's settings ({configuration.refused.rstrip('.')}).",
            "An administrator of the host sees them with: winrm get winrm/config",
        )
    return judge_quotas(configuration.values, case.host.door.wire, case.host.deadlines.operation_s)
