"""The fault codes of WS-Management that a person can do something about. It knows no library."""

from __future__ import annotations

from exremote.errors import (
    AccessDenied,
    HostError,
    LogonRefused,
    QuotaExceeded,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    Unreachable,
)
from exremote.transport.scene import Scene

OPERATION_TIMEOUT = 2150858793
UNKNOWN_SHELL = 2150858843
TOO_LARGE = 2150858824
UNKNOWN_RESOURCE = 2150858811
NOT_FOUND = 2147942402

_SHELLS = "too many shells are open for this user"
_OPERATIONS = "too many operations are under way for this user"
_USERS = "too many users have shells open"
_COMMANDS = "too many commands are open in one shell"
_LOAD = "this user has used up the load that the host allows"
QUOTAS = {
    2150859172: _LOAD,
    2150859173: _SHELLS,
    2150859174: _OPERATIONS,
    2150859175: _LOAD,
    2150859176: _LOAD,
    2150859179: _USERS,
    2150859236: _SHELLS,
    2150859237: _USERS,
    2150859238: _OPERATIONS,
    2150859239: _OPERATIONS,
    2150859240: _COMMANDS,
    2150859241: _COMMANDS,
}
_DENIED = frozenset({5, 2147942405, 2150858881})
_LOGON = frozenset({1326, 2147943726, 2150858909})


def fault(code: object, reason: str, scene: Scene) -> HostError:
    """Given the code and the host's own words of a fault, return the error that it is."""
    said = scene.quote(reason)
    if not isinstance(code, int):
        code = 5 if "AccessDenied" in str(code) else 0
    if code in QUOTAS:
        return QuotaExceeded(
            scene.host,
            f"{QUOTAS[code]} (fault {code}).",
            "Left-over shells go after their idle time (at most 3 minutes for ours); "
            "see winrm get winrm/config/winrs on the host.",
        )
    if code in _DENIED:
        return AccessDenied(
            scene.host,
            f"access denied: {scene.user or 'this user'} may not use WinRM ({said or f'fault {code}'}).",
            "The account must be a local administrator of the host, or a member of Remote Management Users.",
        )
    if code in _LOGON:
        return LogonRefused(
            scene.host, f"wrong user name or password: {scene.user} was refused.", "Check the credential."
        )
    if code == OPERATION_TIMEOUT:
        return RemoteTimeout(
            scene.host,
            f"no answer within the operation time-out{scene.during}.",
            "Look what loads the host; raise deadlines.operation_s (at most 60) if it is always so.",
        )
    if code == UNKNOWN_SHELL:
        return SessionLost(
            scene.host,
            f"the shell is gone{scene.during}; the host or its WinRM service was restarted, or it idled out.",
        )
    if code == TOO_LARGE:
        return ScriptFailed(
            scene.host,
            f"it refused a message larger than it allows{scene.during} ({said or f'fault {code}'}).",
            script=scene.script,
            error_id="Transport.EnvelopeTooLarge",
            remedy='Raise the limit on the host: winrm set winrm/config @{MaxEnvelopeSizekb="500"}, '
            "or lower envelope_kb for it in the inventory.",
        )
    if code == UNKNOWN_RESOURCE:
        return Unreachable(
            scene.host,
            "PowerShell remoting is not enabled there (unknown resource).",
            'Run Enable-PSRemoting -Force on the host, or set wire = "winrs" for it.',
        )
    if code == NOT_FOUND:
        return ScriptFailed(
            scene.host,
            "powershell.exe was not found there.",
            script=scene.script,
            error_id="Transport.NoPowerShell",
            remedy="Install PowerShell 2.0 (KB968930 on Windows Server 2003).",
        )
    words = f"{said} (fault {code})" if code else said or "a fault without a reason"
    if scene.opened:
        return SessionLost(scene.host, f"the host refused to go on{scene.during}: {words}.")
    return Unreachable(
        scene.host, f"the host refused to open a session: {words}.", "Check winrm on the host."
    )
