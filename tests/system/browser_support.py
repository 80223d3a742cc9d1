"""A real browser for the pages: Debian's chromium, without a window, by its own protocol over two pipes."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 60.0


def program() -> str:
    """Return the browser's program. Skip the test, and say why, if there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no chromium here: no page was opened in a real browser")
    return found


class Browser:
    """One process of it with one page, and what the page asked for."""

    def __init__(self, profile: Path) -> None:
        hear, theirs_out = os.pipe()
        theirs_in, self._ask = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",  # it runs as root in a container, on files that this test made
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        # The protocol is spoken on the descriptors 3 and 4.
        line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, program(), *options, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._hear = hear
        self._rest = b""
        self._numbers = itertools.count(1)
        self._session = ""
        self.requests: list[str] = []
        """What was asked for since the page was opened."""
        self.complaints: list[str] = []
        """What the browser said of the page: refusals of its policy, errors of scripts."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol. Return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._ask, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._hear, 1 << 20)
            assert data, "the browser has gone"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        message = dict(json.loads(line))
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
        return message

    def open(self, page: Path, width: int) -> None:
        """Open a page in a window of a width, and wait until all of it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.requests.clear()
        self.complaints.clear()
        self.call("Page.navigate", url=page.as_uri())
        end = time.monotonic() + PATIENCE_S
        while self.value("document.readyState + ' ' + location.href") != f"complete {page.as_uri()}":
            assert time.monotonic() < end, "the page does not load"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Return what an expression is in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
        return base64.b64decode(self.call("Page.printToPDF", **paper)["data"])

    def media(self, kind: str) -> None:
        """Have the page laid out for `print`, or again for `screen`."""
        self.call("Emulation.setEmulatedMedia", media=kind)

    def close(self) -> None:
        """End it, with all processes that it started."""
        os.close(self._ask)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._hear)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser; it ends with the block."""
    started = Browser(profile)
    try:
        yield started
    finally:
        started.close()
