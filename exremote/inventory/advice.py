"""What would keep an inventory that is right from being of use: said when it is checked. It reads no secret
for use, and never says one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from exremote.credential import Credential, NotPrivate, read_private
from exremote.inventory.model import Inventory, near


def advice(site: Inventory, variables: Collection[str]) -> list[str]:
    """Given an inventory and the variables that connectors know, return sentences about what is amiss.

    A secret that is not there, a file of secrets that others may read, a variable that nothing reads.
    """
    found: dict[str, list[str]] = {}
    for host in site.hosts.values():
        for credential in (host.credential, host.api_credential):
            for trouble in _missing(credential) if credential is not None else ():
                found.setdefault(trouble, []).append(host.name)
        for name in host.variables:
            if name not in variables:
                known = near(name, variables) or f"Known: {', '.join(sorted(variables))}."
                found.setdefault(f"nothing reads the variable {name}. {known}", []).append(host.name)
    return [f"{', '.join(dict.fromkeys(hosts))}: {sentence}" for sentence, hosts in found.items()]


def _missing(credential: Credential) -> Iterator[str]:
    """Given a credential, yield why it would not be had here and now."""
    if credential.kind == "environment":
        for name in filter(None, (credential.reference, credential.username_reference)):
            if not os.environ.get(name):
                yield f"credential: the environment variable {name} is not set, or empty."
    elif credential.kind == "file":
        try:
            read_private(Path(credential.reference))
        except NotPrivate as error:
            yield f"credential: {credential.reference}: {error}"
