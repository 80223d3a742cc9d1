"""What each mail connector is made of, read from `connectors/*.toml`. It never asks a host and never judges.

Code knows the kinds of items; the files know names, paths, order and expectations, each with its
source and how sure it is (`S` read in a source, `I` inferred, `R` recalled). The kinds come in one
order everywhere: file tree, named file, registry key, service, API directory, directory object.
"""

from exremote.connector.model import (
    FACTS,
    FOLDER,
    OPERATORS,
    PLACE,
    ROOTED,
    ApiDirectory,
    Check,
    Connector,
    DirectoryObject,
    Expect,
    FileTree,
    HumanStep,
    NamedFile,
    RegistryKey,
    RootRule,
    Service,
    Severity,
    Sign,
    Sure,
)
from exremote.connector.resolve import (
    Evidence,
    below,
    expand,
    matches,
    presence,
    program_of,
    resolve_roots,
    root_queries,
    root_services,
    tidy,
)

__all__ = [
    "FACTS",
    "FOLDER",
    "OPERATORS",
    "PLACE",
    "ROOTED",
    "ApiDirectory",
    "Check",
    "Connector",
    "DirectoryObject",
    "Evidence",
    "Expect",
    "FileTree",
    "HumanStep",
    "NamedFile",
    "RegistryKey",
    "RootRule",
    "Service",
    "Severity",
    "Sign",
    "Sure",
    "below",
    "expand",
    "matches",
    "presence",
    "program_of",
    "resolve_roots",
    "root_queries",
    "root_services",
    "tidy",
]
