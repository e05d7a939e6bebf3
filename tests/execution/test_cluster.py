"""Faults of trials, on a cluster that was there before and that loses a machine meanwhile."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raypeft.runs.folder import Run
from tests.driving import ALONE, COMMAND, SETTINGS, lines

pytestmark = pytest.mark.slow(minutes=2)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A machine that only directs, and one with a core."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # as it is in this process, which cannot change it any more
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    started.add_node(num_cpus=1)
    yield started
    started.shutdown()


def write_study(folder: Path) -> None:
    """One technique that cannot be attached, one that diverges, and one that works."""
    (folder / "search_spaces").mkdir()
    (folder / "search_spaces" / "broken.yaml").write_text(
        "title: Broken\npeft: LoraConfig\narguments: {target_modules: [q_proj], trainable_token_indices: [99999]}\n"
        "paper: {r: 4, learning_rate: 1.0e-3}\n"
        "search: {r: {choice: [4, 8]}, learning_rate: {uniform: [1.0e-4, 1.0e-2]}}\n"
    )
    (folder / "search_spaces" / "diverging.yaml").write_text(
        "title: Diverging\npaper: {learning_rate: 1.0e+17}\nsearch: {learning_rate: {choice: [1.0e+17]}}\n"
    )
    (folder / "faults.yaml").write_text(
        "question: What happens to the others?\nmodels: [tiny-decoder]\ndatasets: [snippets]\n"
        "techniques: [broken, diverging, ia3]\n"
    )


def test_faults_end_their_trial_and_nothing_else(cluster: Any, tmp_path: Path) -> None:
    """And the machine that is lost in the midst of a trial costs what followed its last report."""
    write_study(tmp_path)
    run = Run(tmp_path / "runs" / "faults")
    settings = [*SETTINGS, *ALONE, "--set", "search.trials=2", "--set", "icl=null"]
    with subprocess.Popen(
        [*COMMAND, "faults.yaml", *settings, "--ray-address", cluster.address],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 200
        while not [row for row in reported(run) if row["cell"].endswith("ia3")]:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        (lost,) = cluster.worker_nodes
        cluster.remove_node(lost, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 3, output
    assert "goes on from its last checkpoint" in output
    states: dict[str, set[str]] = {}
    for row in lines(run.trials_file):
        states.setdefault(row["trial"].split("·")[1], set()).add(row["state"])
    assert states["broken"] == {"error"} and states["diverging"] == {"nan"}
    assert states["ia3"] <= {"finished", "stopped"}
    broken = next(row for row in lines(run.trials_file) if row["state"] == "error")
    assert "index 99999 is out of bounds" in broken["error"]
    assert "tiny-decoder/snippets/broken: no trial could be used: 2 error" in output
    tested = [cell.technique for cell in run.plan.cells if run.test(cell)]
    assert tested == ["ia3"]
    page = (run.report_folder / "index.html").read_text(encoding="utf-8")
    assert "no trial could be used: 2 error" in page and "no trial could be used: 2 nan" in page
    given = [(row["trial"], row["report"]) for row in reported(run)]
    assert len(given) == len(set(given)) and len(lines(run.trials_file)) == run.plan.trials
    assert cluster.head_node.any_processes_alive()


def reported(run: Run) -> list[dict[str, Any]]:
    return [report.content() for report in run.reports()] if run.reports_file.exists() else []
