"""What makes a folder a repository: the mark with format and id, and the word to whoever finds it. It writes
nothing.
"""

from __future__ import annotations

from pathlib import Path

from exremote.errors import RepositoryError

FORMAT = 1
"""The version of everything in the folder together."""

MARK = "repository.toml"

README = """This is a repository of exremote: backups of the mail connectors of Exchange servers.

A backup is a folder snapshots/HOST/TIME-CONNECTOR-XXXXXX. Its files are plain files:

  files/ITEM/...    the files of the host; %XX in a name is an escaped character.
                    They belong in the folder that manifest.json names as trees.ITEM.root
  registry/*.reg    registry text, for reg.exe import
  directory/        the connector's objects of the directory, without passwords
  services.json     the services as they were
  facts.json        all that the host answered
  trees/            the listing of each folder, with what was left out on purpose
  manifest.json     all names, sizes, times and digests, and what is missing, and why.
                    An entry with "secret": true holds what its owner logs on with

The files have the time of the backup; the times that they had on the host stand in manifest.json.
Under objects/ is each content once, by its SHA-256; the files of the snapshots are hard links to it.
So copy a file before you edit it, and never edit it here: all snapshots that have it would change.
Under checks/ are the runs that found a snapshot unchanged, under runs/ the journals, under damage/
the names of contents that `exremote verify` found damaged and that did not come anew since.

To check one without exremote:   sha256sum -c manifest.sha256 SHA256SUMS   (in that folder)
To restore without exremote:     stop the services, copy the files back, start the services.

What is under partial/ is unfinished and may be deleted when no exremote runs. Change nothing else.
"""


def no_repository(path: Path, root: Path) -> RepositoryError:
    """Given a folder that is no repository, return the error; a new one is offered where it could be."""
    try:
        other = root.exists() and (not root.is_dir() or any(root.iterdir()))
    except OSError:
        other = True
    if lost_mark(root):
        return markless(path)
    if other:
        return RepositoryError("this is no repository.", path=path, remedy="Check the path.")
    return RepositoryError(
        "there is no repository here.",
        path=path,
        remedy=f"Check the path; if you want a new one there: exremote init {path}",
    )


def lost_mark(root: Path) -> bool:
    """Given a folder without our mark, return whether it is a repository all the same."""
    return (root / "objects").is_dir() and (root / "snapshots").is_dir()


def markless(path: Path) -> RepositoryError:
    """Given a repository without its mark, return the error: the mark can be written anew."""
    if not any(any((path / name).iterdir()) for name in ("objects", "snapshots")):
        return RepositoryError(
            "somebody began to make a repository here, and did not end it.",
            path=path,
            remedy=f"There is nothing in it: delete it, and run `exremote init {path}` again.",
        )
    return RepositoryError(
        f"this is a repository that has lost its {MARK}.",
        path=path,
        remedy=f"Bring the file back from a copy, or write it anew: a line format = {FORMAT}, and a line "
        'id = "..." with what stands as "repository" in any manifest.json under snapshots/.',
    )
