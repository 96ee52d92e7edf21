"""A real browser without a screen, led by the Chrome DevTools Protocol: it shows what a person would see.

The protocol: https://chromedevtools.github.io/devtools-protocol/
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.cluster.packages import ensure_packages, find_program, program

BROWSER = "chromium-headless-shell"
SHOWN_SECONDS = 120.0


class Page:
    """One page of the browser."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sent = 0

    def open(self, url: str) -> None:
        """Go to a URL; what it shows comes later."""
        # A URL that differs after the `#` alone would not be loaded anew.
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, as JSON has it. Raises AssertionError where it throws."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    @property
    def text(self) -> str:
        """The text that is on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait(self, expression: str, seconds: float = SHOWN_SECONDS) -> Any:
        """Wait until a JavaScript expression is truthy, and return its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                pytest.fail(f"the page does not come to {expression} within {seconds:.0f} s; its text: {self.text}")
            time.sleep(0.2)
        return value

    def wait_text(self, *texts: str) -> None:
        """Wait until all of these are on the page."""
        for text in texts:
            self.wait(f"document.body && document.body.innerText.includes({json.dumps(text)})")

    def click(self, selector: str) -> None:
        """Click the first element that a CSS selector finds, once it is there."""
        self.wait(f"(e => e ? (e.click(), true) : false)(document.querySelector({json.dumps(selector)}))")

    def picture(self, path: Path) -> None:
        """Keep what is seen, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv())
            if answer.get("id") == self._sent:
                assert "error" not in answer, answer
                return dict(answer["result"])


@contextmanager
def browsing(directory: Path) -> Iterator[Page]:
    """Run a browser, its profile in `directory`, until the block ends."""
    ensure_packages(lambda: [] if find_program(BROWSER) else [BROWSER])
    command = [
        *(program(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1700,1100"),
        *("--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={directory}", "about:blank"),
    ]
    # The program is a script that starts the browser.
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            address = _address(process)
            with urllib.request.urlopen(f"http://{address}/json/list", timeout=30) as answer:
                target = next(each for each in json.load(answer) if each["type"] == "page")
            connection = websocket.create_connection(target["webSocketDebuggerUrl"], timeout=60)
            try:
                yield Page(connection)
            finally:
                connection.close()
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            # To the end of what it writes: the script's own end is not the browser's.
            process.communicate(timeout=60)


def _address(process: subprocess.Popen[str]) -> str:
    """Return the host and port at which the browser says that it listens."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"DevTools listening on ws://([^/]+)/", line):
            return found[1]
    pytest.fail(f"{BROWSER} ended: {process.wait(timeout=20)}")
