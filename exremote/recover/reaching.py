"""How the new machine is reached: at its temporary address until step 5, at the old one from then on.

It opens sessions and asks what answers; it judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from exremote.errors import AccessDenied, HostError, TrustError
from exremote.facts import HostFact
from exremote.inventory import Host, RetryPolicy, split_address
from exremote.session import Session

ONCE = RetryPolicy(attempts=1)
"""While one waits for a machine, the waiting is the patience."""
_LOOK_S = 10.0
"""How long a connection may take, in seconds, where nobody may answer."""


def temporary_host(host: Host, at: str | None) -> Host | None:
    """Given a host, and an address from the command line if there is one, return how the new machine is
    reached; None if nobody says where.

    It is in a workgroup: where the host's own authentication needs a domain, NTLM stands for it. Behind a
    gateway it is asked through that as well, by the address that the gateway knows it by.
    """
    said = at or host.recover_address
    if said is None:
        return None
    address, port = split_address(said)
    return replace(
        host,
        address=address,
        port=port or host.port,
        auth="negotiate" if host.auth in ("kerberos", "credssp", "certificate") else host.auth,
        credential=host.recover_credential or host.credential,
    )


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answered at an address."""

    fact: HostFact | None
    """what it is; None if it said no more than that it is there"""
    why: str = ""
    """why it said no more"""


def quick(host: Host) -> Host:
    """Return the host as it is asked while nobody knows whether it is there: once, and not for long."""
    deadlines = replace(host.deadlines, connect_s=min(host.deadlines.connect_s, _LOOK_S))
    return replace(host, retry=ONCE, deadlines=deadlines)


def who_answers(
    host: Host, session: Callable[[Host], AbstractContextManager[Session]]
) -> Answered | HostError:
    """Given a host, return who answers at its address, or the error that says why nobody does."""
    try:
        with session(quick(host)) as line:
            return Answered(line.host_fact())
    except (AccessDenied, TrustError) as error:
        return Answered(None, error.text)
    except HostError as error:
        return error


def place_text(host: Host) -> str:
    """Return where a host is reached, as a person writes it."""
    if host.gateway is not None:
        return f"{host.address} through {host.gateway.name}"
    return f"{host.address}:{host.port}"


def same_place(one: Host, other: Host) -> bool:
    """Return whether two hosts are one listener."""
    if one.gateway is not None or other.gateway is not None:
        ways = [each.gateway.name if each.gateway else "" for each in (one, other)]
        return ways[0] == ways[1] and one.address.casefold() == other.address.casefold()
    return (one.address.casefold(), one.port) == (other.address.casefold(), other.port)
