"""Whether the files that the inventory names are what they should be. It keeps nothing that they hold."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def file_problems(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Given the settings of one listener, yield the key and the fault of each file that keeps it from use."""
    verify = found["verify"]
    if isinstance(verify, Path) and found["scheme"] == "https" and (problem := authorities_problem(verify)):
        yield "verify", problem
    if found["auth"] == "certificate":
        for key in ("certificate", "certificate_key"):
            if not os.path.isfile(found[key]):  # noqa: PTH113 - says no where the system refuses
                yield key, f"there is no file {found[key]}"


def authorities_problem(path: Path) -> str:
    """Given where certificates of authorities should be, return why no host can be checked by them, or ''."""
    if os.path.isdir(path):  # noqa: PTH112 - says no where the system refuses
        return ""  # a folder of certificates by their hashes, as OpenSSL has it
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except FileNotFoundError:
        return f"there is no file {path}"
    except ssl.SSLError:
        return f"{path} holds no certificate in PEM form"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return ""
