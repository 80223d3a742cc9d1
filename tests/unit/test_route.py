"""The way through a gateway, as text: what its scripts are given, and what they are never given."""

from __future__ import annotations

import pytest

from exremote.script import ScriptLibrary
from exremote.session.route import NoWay, Route

LIBRARY = ScriptLibrary.load()
ROUTE = Route("oldexch")


@pytest.mark.parametrize(
    "script", ["Get-FileTree", "Remove-WorkFile", "Remove-StagingFolder", "Test-ApiDirectory"]
)
@pytest.mark.parametrize(
    "path",
    [
        r"\\?\C:\Exchsrvr", r"\\.\C:\Exchsrvr", r"\\localhost\C$\Exchsrvr", r"\\127.0.0.1\C$\Exchsrvr",
        r"\\LOCALHOST.localdomain\C$", r"\\::1\C$\x", r"\\0--1.ipv6-literal.net\C$\x", r"\\2130706433\C$\x",
        r"\\0x7f000001\C$\x", "C:/Exchsrvr", "c:Exchsrvr", r"Exchsrvr\Conndata", r"\Exchsrvr", r"\\\C$\x",
        "//oldexch/C$", "",
    ],
)  # fmt: skip
def test_no_path_leads_to_the_gateway_itself(script: str, path: str) -> None:
    """What each computer takes for itself is the gateway's there; what is no full path, too."""
    with pytest.raises(NoWay, match="no place on the host") as caught:
        ROUTE.request(LIBRARY, script, {"Path": path})
    assert "where the path comes from" in caught.value.remedy


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("C:\\", r"\\oldexch\C$" + "\\"),
        (r"d:\a$b\$1", r"\\oldexch\d$\a$b\$1"),
        (r"\\NWFS01\SYS\API", r"\\NWFS01\SYS\API"),
    ],
)
def test_a_path_and_back(path: str, asked: str) -> None:
    for script in ("Get-FileTree", "Test-ApiDirectory"):
        _, given = ROUTE.request(LIBRARY, script, {"Path": path})
        assert given["Path"] == asked
        assert ROUTE.answer({"Path": asked}) == {"Path": path}
