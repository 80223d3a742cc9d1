"""What would keep an inventory that is right from being of use: said when it is checked. It keeps no secret,
and never says one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from exremote.credential import Credential
from exremote.errors import ExremoteError
from exremote.inventory.model import Inventory, near


def advice(site: Inventory, variables: Collection[str]) -> list[str]:
    """Given an inventory and the variables that connectors know, return sentences about what is amiss.

    A host that cannot be asked, a secret that is not there, a file of secrets that others may read or that
    cannot be understood, a variable that nothing reads.
    """
    found: dict[str, list[str]] = {}
    for host in site.hosts.values():
        if host.unusable is not None:
            found.setdefault(f"it cannot be asked: {host.unusable.text}", []).append(host.name)
        gateway = host.gateway
        for key, credential in (
            ("credential", host.credential if gateway is None else host.own_credential),
            (f"credential of {gateway.name}" if gateway else "", gateway.credential if gateway else None),
            ("api_credential", host.api_credential),
            ("recover_credential", host.recover_credential),
            ("ntbackup.share_credential", host.ntbackup.share_credential),
        ):
            for trouble in _missing(credential) if credential is not None else ():
                found.setdefault(f"{key}: {trouble}", []).append(host.name)
        for name in host.variables:
            if name not in variables:
                known = near(name, variables) or f"Known: {', '.join(sorted(variables))}."
                found.setdefault(f"nothing reads the variable {name}. {known}", []).append(host.name)
    said = [f"{', '.join(dict.fromkeys(hosts))}: {sentence}" for sentence, hosts in found.items()]
    return said + [f"{', '.join(names)}: {SAME_LISTENER}" for names in same_listener(site)]


SAME_LISTENER = "they have one address and port, so they are one machine. Correct one, or take it out."


def same_listener(site: Inventory) -> list[list[str]]:
    """Given an inventory, return the names of the hosts that have one address and port, if there are such."""
    names: dict[tuple[str, object], list[str]] = {}
    for host in site.hosts.values():
        way = host.port if host.gateway is None else host.gateway.name
        names.setdefault((host.address.casefold(), way), []).append(host.name)
    return [same for same in names.values() if len(same) > 1]


def _missing(credential: Credential) -> Iterator[str]:
    """Given a credential, yield why it would not be had here and now. Nobody is asked for a password."""
    if credential.kind == "environment":
        for name in filter(None, (credential.reference, credential.username_reference)):
            if not os.environ.get(name):
                yield f"the environment variable {name} is not set, or empty."
    elif credential.kind != "prompt":
        try:
            credential.resolve()
        except ExremoteError as error:
            yield f"{error.message} {error.remedy}".strip()
