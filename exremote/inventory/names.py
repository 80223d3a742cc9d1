"""What a name in the inventory may be: it becomes a folder, on Windows and on Linux."""

from __future__ import annotations

import ipaddress
import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def name_problem(name: str) -> str:
    """Given a name, return what a name that is safe as a folder on Windows and Linux needs, or nothing."""
    if not NAME.fullmatch(name):
        return "a name of 1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit first"
    if name.endswith("."):
        return "a name that does not end in a dot (Windows drops it)"
    if _DEVICE.fullmatch(name):
        return "another name (Windows reserves this one for a device)"
    return ""


_FOLDER = r'[^\\/:*?"<>|\x00-\x1f]*[^\\/:*?"<>|\x00-\x1f. ]'
"""The name of a folder on Windows, which drops dots and blanks at its end."""
_FOLDERS = rf"{_FOLDER}(\\{_FOLDER})*\\?"
FOLDER_ON_DRIVE = rf"[A-Za-z]:\\({_FOLDERS})?"
"""A folder on a drive of a host, as a pattern."""
FOLDER_ON_HOST = rf"{FOLDER_ON_DRIVE}|\\\\[A-Za-z0-9][A-Za-z0-9._-]*\\{_FOLDERS}"
"""A folder that a host reaches: on a drive, or on a share."""
HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
"""What may be a name in DNS, or of NetBIOS."""


def is_address(text: str) -> bool:
    """Given an address, return whether it is an IP address and not a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def split_address(text: str) -> tuple[str, int | None]:
    """Given ADDRESS or ADDRESS:PORT, return both; an IPv6 address with a port stands in brackets.

    Raise ValueError saying what was expected.
    """
    expected = "a host name or IP address, with :PORT if that is another one"
    if is_address(text):
        return text, None
    address, colon, port = text.rpartition(":")
    if not colon:
        address, port = text, ""
    address = address.removeprefix("[").removesuffix("]")
    if not (is_address(address) or HOST_NAME.fullmatch(address)):
        raise ValueError(expected)
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(expected)
    return address, int(port) if port else None


def second_hop_problem(address: str, gateway: str, gateway_address: str) -> str:
    """Given how a gateway is to find a host, and its own name and address, return what is wrong, or nothing.

    Whatever names the gateway itself would have it changed in place of the host.
    """
    own = f"an address by which {gateway} finds the host; {address} is {gateway} itself"
    said = address.rstrip(".").casefold()
    if is_address(said):
        number = ipaddress.ip_address(said)
        if number.version == 6:  # a colon ends a drive's letter
            return f"a host name or an IPv4 address: no share's name can begin with {address}"
        if number.is_loopback or number.is_unspecified:
            return own
    elif re.fullmatch(r"(.*\.)?(\d+|0x[0-9a-f]*)", said):  # Windows reads 127.1 as an address
        return f"a host name or a whole IPv4 address, not {address}"
    if said == "localhost" or said.startswith("localhost."):
        return own
    for other in (gateway.casefold(), gateway_address.rstrip(".").casefold()):
        # A name without its domain is the other's, for all that can be known here.
        short = (
            not is_address(said) and not is_address(other) and "." not in (said if "." in other else other)
        )
        if said == other or (short and said.split(".")[0] == other.split(".")[0]):
            return own
    return ""
