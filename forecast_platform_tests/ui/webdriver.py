"""A headless Chromium by the WebDriver protocol (W3C), over chromedriver."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from forecast_platform.host.services import free_port

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

WEBSOCKET = """
return new Promise(done => { const socket = new WebSocket(arguments[0], 'graphql-ws');
  socket.onopen = () => { socket.close(); done('open') }; socket.onerror = () => done('refused') })"""
"""A script that says whether a websocket to its argument opens from the page that is shown."""


def missing() -> str | None:
    """What is not installed; None where a browser can be started."""
    if not any(map(shutil.which, BROWSERS)):
        return "no chromium: install it (Debian: apt install chromium)"
    return None if shutil.which("chromedriver") else "no chromedriver: install it (Debian: apt install chromium-driver)"


class Browser:
    """One browser window. Elements are found by XPath and waited for."""

    def __init__(self, width: int = 1600, height: int = 1000) -> None:
        self._port = free_port()
        self._profile = tempfile.mkdtemp(prefix="fp-browser-")
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={self._port}", "--log-level=SEVERE"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        options = {
            "binary": next(path for path in map(shutil.which, BROWSERS) if path),
            "args": [
                "--headless=new",
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                f"--user-data-dir={self._profile}",
                f"--window-size={width},{height}",
            ],
        }
        self._session = ""
        try:
            self._until_ready()
            started = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
            self._session = f"/session/{started['sessionId']}"
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End browser and driver."""
        try:
            if self._session:
                self._call("DELETE", self._session)
        finally:
            self._driver.terminate()
            try:
                self._driver.wait(20)
            except subprocess.TimeoutExpired:
                # Started in the background it may not take the signal; its browser has ended by then.
                self._driver.kill()
                self._driver.wait(20)
            shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("POST", f"{self._session}/url", {"url": url})

    def find(self, xpath: str, seconds: float = 60) -> str:
        """The first visible element of an XPath, waited for."""
        deadline = time.monotonic() + seconds
        while True:
            if shown := self.all(xpath):
                return shown[0]
            assert time.monotonic() < deadline, f"not on the page after {seconds:.0f} s: {xpath}\n{self.text()[:3000]}"
            time.sleep(0.2)

    def all(self, xpath: str) -> list[str]:
        """Visible elements of an XPath, now."""
        found = self._call("POST", f"{self._session}/elements", {"using": "xpath", "value": xpath})
        return [item[_ELEMENT] for item in found if self._displayed(item[_ELEMENT])]

    def click(self, xpath: str, seconds: float = 60) -> None:
        """Click an element once it is there and nothing covers it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._call("POST", f"{self._session}/element/{self.find(xpath, seconds)}/click", {})
            except WebDriverError:
                # React replaced it, or a menu still closes over it.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
            else:
                return

    def write(self, xpath: str, text: str) -> None:
        """Replace the text of an input."""
        element = self.find(xpath)
        # Control + A, then the new text: clearing would not tell React.
        keys = [*(("keyDown", "\ue009"), ("keyDown", "a"), ("keyUp", "a"), ("keyUp", "\ue009"))]
        self._call("POST", f"{self._session}/element/{element}/click", {})
        actions = [{"type": kind, "value": value} for kind, value in keys]
        actions += [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        self._call("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def press(self, key: str) -> None:
        """One key, such as the Enter key (U+E007) or Escape (U+E00C)."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self._call("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def text(self) -> str:
        """What the page says."""
        return str(self.run("return document.body.innerText"))

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def errors(self) -> list[str]:
        """Errors in the browser's console since the last call."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def picture(self, file: Path) -> None:
        """Keep what is shown as a PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def device(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Show pages as a device of this size does, in its light or dark theme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", features=theme)

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol (https://chromedevtools.github.io/devtools-protocol)."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def whole_picture(self, file: Path) -> None:
        """Keep the whole page as a PNG, also what is not scrolled to."""
        file.parent.mkdir(parents=True, exist_ok=True)
        found = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(found["data"]))

    def _displayed(self, element: str) -> bool:
        try:
            return bool(self._call("GET", f"{self._session}/element/{element}/displayed"))
        except WebDriverError:
            return False

    def _until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except (OSError, WebDriverError):
                assert time.monotonic() < deadline, "chromedriver does not answer"
            time.sleep(0.1)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"content-type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.loads(reply.read())["value"]
        except urllib.error.HTTPError as error:
            raise WebDriverError(json.loads(error.read())["value"]["message"]) from error


class WebDriverError(RuntimeError):
    """The browser refused a command."""
