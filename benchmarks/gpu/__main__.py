"""What only a GPU can tell, in one command: peaks against estimates, speed, and a study through Ray on the real card.

    python -m benchmarks.gpu --out gpu.json
    python -m benchmarks.gpu --dry            # every part on tiny shapes and a CPU

Parts run one after the other, most telling ones first, each in a process of its own. Each result is printed and written
to the file as soon as it is there; started again, the command goes on with what the file does not have. No part begins
when `--minutes` are over.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def parts(dry: bool) -> list[str]:
    """Names of all parts in order."""
    from benchmarks.gpu.peaks import DRY, ROWS

    rows = [f"peak {row.name}" for row in (DRY if dry else ROWS)]
    model = "tiny-decoder" if dry else "codellama-7b-python"
    speed = ["card", *(f"decoding {model} {technique}" for technique in ("lora", "qlora_4bit"))]
    return [*rows[:4], *speed, "study whole", "study killed", *rows[4:], "tests"]


def perform(part: str, work: Path, dry: bool) -> dict[str, Any]:
    """Run one part in this process."""
    kind, *words = part.split()
    if kind == "tests":
        arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests"]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
        return {"exit_code": done.returncode, "output": done.stdout[-3000:]}
    if kind == "study":
        from benchmarks.gpu import study

        return {"whole": study.whole, "killed": study.killed}[words[0]](work)
    from benchmarks.gpu import peaks, speed

    if kind == "card":
        return speed.card(dry)
    if kind == "decoding":
        return speed.decoding(words[0], words[1], work, dry)
    rows = {row.name: row for row in (*peaks.ROWS, *peaks.DRY)}
    return peaks.measure(rows[" ".join(words)], work)


def main() -> None:
    """Run what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--only", nargs="+", help="parts whose names begin so")
    parser.add_argument("--dry", action="store_true", help="on tiny shapes, also without a GPU")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps(perform(asked.part, Path(work), asked.dry)))
        return
    began = time.monotonic()
    found: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    chosen = [part for part in parts(asked.dry) if not asked.only or part.startswith(tuple(asked.only))]
    for part in chosen:
        if part in found:
            continue
        if time.monotonic() - began > 60 * asked.minutes:
            print(f"{part}: not begun, {asked.minutes:g} minutes are over")
            continue
        arguments = [sys.executable, "-m", "benchmarks.gpu", "--part", part, *(["--dry"] if asked.dry else [])]
        started = time.monotonic()
        environment = os.environ | {"PYTORCH_CUDA_ALLOC_CONF": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "")}
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, env=environment)
        seconds = time.monotonic() - started
        if done.returncode:
            print(f"{part}: FAILED after {seconds:.0f} s\n{done.stderr[-3000:]}", flush=True)
            continue
        found[part] = json.loads(done.stdout.splitlines()[-1]) | {"wall_seconds": round(seconds, 1)}
        scratch = asked.out.with_name(f".{asked.out.name}")
        scratch.write_text(json.dumps(found, indent=1))
        scratch.replace(asked.out)
        print(f"{part}: {in_a_line(found[part])}", flush=True)


def in_a_line(found: dict[str, Any]) -> str:
    """A part's result in a line; of a peak estimated and measured MiB."""
    if "estimated" not in found:
        return json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()})
    phases = []
    for phase, measured in found["measured"].items():
        estimated = found["estimated"][phase]
        share = f"{estimated / measured - 1:+.1%}" if measured else ""
        phases.append(f"{phase} {estimated:,.0f} / {f'{measured:,.0f}' if measured else '-'} MiB {share}")
    speed = found["training_tokens_per_second"]
    return ", ".join(
        [
            found["end"] or "no end",
            *phases,
            f"micro-batch {found['micro_batch']}",
            f"decode batch {found['decode_batch']}",
            f"fits: {found['fits']}",
            f"{speed:,.0f} tokens/s" if speed else "no speed",
            f"{found['wall_seconds']:.0f} s" + (f", {found['error']}" if found.get("error") else ""),
        ]
    )


if __name__ == "__main__":
    main()
