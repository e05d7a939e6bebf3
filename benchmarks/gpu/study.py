"""A study through Ray Tune on the real card: start to report, again, killed in the middle and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STUDY = """question: Does a study run on this card?
models: [tiny-decoder, tiny-encoder-decoder]
datasets: [snippets]
techniques: {techniques}
search: {{trials: 2, sampler: tpe, seed: 42}}
early_stopping: {{grace: 2, factor: 2}}
training: {{epochs: 2, batch: 8, evaluate_every: 0.5}}
validation: {{select_by: loss, em_items: 8}}
test: {{beams: 10, candidates: 10, decode_batch: 16}}
data: {{train: 64, validation: 16, test: 16, seed: 42}}
icl: {icl}
resources: {{gpus_per_trial: {share}}}
"""


def whole(work: Path) -> dict[str, Any]:
    """Two trials share the card, from start to report; then the same command again, which has nothing to do."""
    folder = _study(work / "shared", "[lora, qlora_4bit]", "{examples: [0, 1], seeds: [42]}", 0.5)
    before = used_mib()
    first, seconds = _run(folder)
    lines = _lines(folder)
    again, repeated = _run(folder)
    return {
        "exit_codes": [first, again],
        "seconds": seconds,
        "seconds_again": repeated,
        "nothing_done_twice": _lines(folder) == lines,
        "report": (folder / "run/report/index.html").exists(),
        "left_on_the_card_mib": used_mib() - before,
        **_outcome(folder),
    }


def killed(work: Path) -> dict[str, Any]:
    """One trial at a time has the card; the driver is killed in the middle, and the same command goes on."""
    folder = _study(work / "alone", "[lora, prompt_tuning]", "null", 1)
    before = used_mib()
    driver = _start(folder)
    while driver.poll() is None and len(_lines(folder)) < 7:
        time.sleep(0.1)
    interrupted = driver.poll() is None
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    reported = len(_lines(folder))
    code, seconds = _run(folder)
    return {
        "killed_in_the_middle": interrupted,
        "reports_before": reported,
        "exit_code": code,
        "seconds_to_go_on": seconds,
        "left_on_the_card_mib": used_mib() - before,
        **_outcome(folder),
    }


def used_mib() -> float:
    """Memory of the card that is taken, once it has been the same for a second; 0 without a GPU."""
    try:
        asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        readings = []
        for _ in range(20):
            readings.append(float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]))
            if len(readings) > 1 and readings[-1] == readings[-2]:
                break
            time.sleep(1)
        return readings[-1]
    except (OSError, subprocess.CalledProcessError):
        return 0.0


def _study(folder: Path, techniques: str, icl: str, share: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(STUDY.format(techniques=techniques, icl=icl, share=share))
    return folder


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-m", "raypeft", "study", str(folder / "study.yaml"), "--out", str(folder / "run")]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen([*arguments, "--no-reuse"], stdout=log, stderr=subprocess.STDOUT)


def _run(folder: Path) -> tuple[int, float]:
    started = time.monotonic()
    code = _start(folder).wait()
    if code:
        print((folder / "log").read_text(errors="replace")[-3000:], file=sys.stderr)
    return code, time.monotonic() - started


def _lines(folder: Path) -> list[str]:
    file = folder / "run" / "reports.jsonl"
    return file.read_text().splitlines() if file.exists() else []


def _outcome(folder: Path) -> dict[str, Any]:
    trials = [json.loads(line) for line in (folder / "run/trials.jsonl").read_text().splitlines()]
    manifest = json.loads((folder / "run/manifest.json").read_text())
    tests = [json.loads(file.read_text()) for file in sorted((folder / "run/cells").rglob("test.json"))]
    return {
        "trials": len(trials),
        "trials_twice": len(trials) - len({trial["trial"] for trial in trials}),
        "states": sorted({str(trial.get("state")) for trial in trials}),
        "tests": len(tests),
        "precisions": sorted({str(test.get("precision")) for test in tests}),
        "gpus": manifest["gpus"],
    }
