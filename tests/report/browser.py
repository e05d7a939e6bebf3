"""A headless Chromium that is spoken to over the DevTools protocol."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE = 60.0


def chromium() -> str:
    """Path of the browser; the test skips where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium")
    return found


class Tab:
    """One page: its console messages, the addresses it asked for, and what its scripts return."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            content = json.loads(message.data)
            if "id" in content:
                self._answers.pop(content["id"]).set_result(content)
            elif content["method"] == "Network.requestWillBeSent":
                self.requests.append(content["params"]["request"]["url"])
            elif content["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif content["method"] in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.complaints.append(json.dumps(content["params"]))
            elif content["method"] == "Page.javascriptDialogOpening":
                self.complaints.append("a dialog opened")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        content = await asyncio.wait_for(answer, _PATIENCE)
        assert "error" not in content, content
        return content["result"]

    async def open(self, path: Path) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=path.as_uri())
        await asyncio.wait_for(self._loaded.wait(), _PATIENCE)

    async def run(self, script: str) -> Any:
        """Value of a script's last expression."""
        result = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def resize(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, path: Path) -> None:
        result = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(b64decode(result["data"]))


@asynccontextmanager
async def _tab(binary: str, profile: Path) -> AsyncIterator[Tab]:
    process = subprocess.Popen(
        [
            binary,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-port=0",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(profile)},
    )
    try:
        port_file = profile / "DevToolsActivePort"
        for _ in range(int(_PATIENCE / 0.1)):
            if port_file.exists() and port_file.read_text().count("\n"):
                break
            assert process.poll() is None, "the browser ended"
            await asyncio.sleep(0.1)
        port = port_file.read_text().splitlines()[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                targets = await answer.json()
            address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
            async with session.ws_connect(address, max_msg_size=0) as socket:
                tab = Tab(socket)
                listener = asyncio.create_task(tab.listen())
                yield tab
                listener.cancel()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def visit(path: Path, steps: Callable[[Tab], Coroutine[Any, Any, None]]) -> Tab:
    """Open a file in a fresh browser, take the steps, and return the tab with what was observed."""

    async def session(profile: Path) -> Tab:
        async with _tab(chromium(), profile) as tab:
            await tab.open(path)
            await steps(tab)
            return tab

    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return asyncio.run(session(Path(profile)))


SORTED = """
(button) => {
  button.click();
  const heading = button.closest('th'), column = heading.cellIndex;
  const cells = [...heading.closest('table').tBodies[0].rows].map((row) => row.cells[column]);
  return cells.map((cell) => cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value);
}
"""


def check_report(index: Path, pictures: Path | None = None) -> None:
    """What every report must do: sort its tables, find an item, fit a screen and a phone, complain of and ask nothing.

    Args:
        index: the report.
        pictures: folder for a screenshot at the width of a desktop and one of a phone.
    """

    async def steps(tab: Tab) -> None:
        headings = "[...document.querySelectorAll('#cells th.number button')]"
        number = await tab.run(f"{headings}.findIndex((one) => one.textContent.startsWith('EM@'))")
        shown = [float(text) for text in await tab.run(f"({SORTED})({headings}[{number}])") if text]
        assert shown and shown == sorted(shown, reverse=True)
        shown = [float(text) for text in await tab.run(f"({SORTED})({headings}[{number}])") if text]
        assert shown == sorted(shown)

        sets = json.loads(await tab.run("document.querySelector('#predictions-data').textContent"))
        intents = [item[1] for item in sets[0]["items"]]
        sought = max(intents, key=len)
        search = f"""
            const field = document.querySelector('#browser input');
            field.value = {json.dumps(sought)};
            field.dispatchEvent(new Event('input'));
            document.querySelector('.found').textContent + '|' + document.querySelector('.items').textContent
        """
        count, items = (await tab.run(f"(() => {{ return eval({json.dumps(search)}) }})()")).split("|", 1)
        found, total = (int(text) for text in re.findall(r"\d+", count))
        assert 1 <= found < total == len(intents) and sought in items

        for name, width, height, phone in (("desktop", 1280, 900, False), ("phone", 390, 844, True)):
            await tab.resize(width, height, phone=phone)
            assert await tab.run("document.documentElement.scrollWidth <= window.innerWidth"), name
            if pictures:
                await tab.screenshot(pictures / f"{name}.png")

    tab = visit(index, steps)
    assert tab.complaints == []
    assert {address for address in tab.requests if not address.startswith("data:")} == {index.as_uri()}
