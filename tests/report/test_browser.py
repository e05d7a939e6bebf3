"""The report in a headless Chromium: it sorts, filters and searches, complains of nothing, and asks for nothing."""

import json
from pathlib import Path

import pytest
import yaml

from benchmarks.recording import DATASET, DECODER, predictions, record_compared
from raypeft.output.files import write_lines
from raypeft.output.text import printable
from raypeft.report import write
from raypeft.runs.folder import Run
from raypeft.spec.plan import Cell

from .browser import Tab, chromium, visit

ATTACKS = [
    "</script><script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title = 'owned'\">",
    "<!--<script>document.title = 'owned'",
    "\u2028document.title = 'owned'\u2029//",
    "\"]}]; document.title = 'owned'; //",
    "<svg onload=\"document.title = 'owned'\"><style>*{display:none}</style>",
    "javascript:document.title='owned'",
    "{{ 7 * 7 }} ${7 * 7} \u202edelrever \x1b[31m",
]

COLUMN = """
(title) => {
  const table = document.querySelector('#cells table');
  const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.trim() === title);
  return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[place].textContent.trim());
}
"""
CLICK = """
(title) => [...document.querySelectorAll('#cells th')].find((cell) => cell.textContent.trim() === title)
  .querySelector('button').click()
"""
TYPE = """
(selector, text) => {
  const field = document.querySelector(selector);
  field.value = text;
  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input'));
}
"""


async def ask(tab: Tab, function: str, *arguments: object) -> object:
    return await tab.run(f"({function})({', '.join(map(json.dumps, arguments))})")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in whose texts every attack stands: question, titles, intents, references, candidates and errors."""
    chromium()
    run = record_compared(tmp_path_factory.mktemp("attacked") / "run")
    rows = predictions(range(30))
    for number, attack in enumerate(ATTACKS):
        rows[number] = {**rows[number], "intent": attack, "candidates": [attack, rows[number]["reference"]]}
    rows[20] = {**rows[20], "intent": "the needle in the haystack"}
    rows[39] = {**rows[39], "reference": ATTACKS[0], "id": ATTACKS[1]}
    write_lines(run.predictions_file(Cell(DECODER, DATASET, "lora")), rows)
    content = yaml.safe_load(run.study_file.read_text(encoding="utf-8"))
    content["study"]["question"] = " ".join(ATTACKS)
    content["techniques"]["lora"]["title"] = ATTACKS[0]
    content["models"]["tiny-decoder"]["title"] = ATTACKS[5]
    run.study_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return write(Run(run.folder))


def test_the_report_works_and_stays_by_itself(report: Path) -> None:
    async def steps(tab: Tab) -> None:
        shown = await ask(tab, COLUMN, "EM@10")
        assert shown == ["75.0", "30.0", "70.0"]
        await ask(tab, CLICK, "EM@10")
        assert await ask(tab, COLUMN, "EM@10") == ["75.0", "70.0", "30.0"]
        await ask(tab, CLICK, "EM@10")
        assert await ask(tab, COLUMN, "EM@10") == ["30.0", "70.0", "75.0"]
        await ask(tab, CLICK, "EM@10")
        assert await ask(tab, COLUMN, "EM@10") == shown

        await ask(tab, TYPE, "#differences .filter", "prefix icl")
        visible = "[...document.querySelectorAll('#differences tbody tr')].filter((row) => !row.hidden).length"
        assert await tab.run(visible) == 2

        found = "document.querySelector('.found').textContent"
        assert await tab.run(found) == "40 of 40 items"
        await ask(tab, TYPE, "#browser input", "NEEDLE haystack")
        assert await tab.run(found) == "1 of 40 items"
        detail = "document.querySelector('.items .detail').textContent"
        assert "total_20 = first_20" in str(await tab.run(detail))
        await ask(tab, TYPE, "#browser input", "")
        await ask(tab, TYPE, "#browser .controls label:nth-child(3) select", "3")
        assert await tab.run(found) == "10 of 40 items"
        await ask(tab, TYPE, "#browser .controls label:nth-child(3) select", "2")
        assert await tab.run(found) == f"{len(ATTACKS)} of 40 items"

        await tab.run("document.querySelectorAll('.items details').forEach((one) => { one.open = true; })")
        await tab.run("new Promise((done) => setTimeout(done, 300))")
        texts = await tab.run(
            "[...document.querySelectorAll('.candidates li:first-child pre')].map((e) => e.textContent)"
        )
        assert texts == [printable(attack) for attack in ATTACKS]
        marked = await tab.run("document.querySelectorAll('.candidates .match').length")
        assert marked == len(ATTACKS)

        assert await tab.run("document.title") == "quickstart · raypeft"
        assert await tab.run("document.querySelectorAll('img, iframe, main svg style + style').length") == 0
        assert await tab.run("document.querySelectorAll('script').length") == 2
        for width, phone in ((1280, False), (390, True)):
            await tab.resize(width, 844, phone=phone)
            assert await tab.run("document.documentElement.scrollWidth <= window.innerWidth"), width

    tab = visit(report, steps)
    assert tab.complaints == []
    assert {address for address in tab.requests if not address.startswith("data:")} == {report.as_uri()}
