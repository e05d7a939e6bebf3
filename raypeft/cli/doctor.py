"""raypeft doctor: what this machine can run."""

from pathlib import Path
from typing import Any

from raypeft.cli.arguments import RUNS, JsonOption
from raypeft.execution.guards import check_versions
from raypeft.output.console import echo_json, echo_lines, lines_table, print_lines


def doctor(as_json: JsonOption = False) -> None:
    """Show packages, processors, memory, disk and hub, and whether a study can run with them.

    Exit codes: 0 a study can run, 2 a package's version is refused because it would give wrong results.
    """
    from raypeft.cli.machine import examine

    found = examine(Path(RUNS))
    if as_json:
        echo_json(found)
    else:
        _show_packages(found["packages"])
        echo_lines(["", *_lines(found)])
    check_versions()


def _show_packages(packages: list[dict[str, Any]]) -> None:
    table = lines_table("package", "installed", "works", "state")
    for package in packages:
        what = f" (extra {package['needed_for']})" if package["needed_for"] else ""
        reason = f": {package['reason']}" if package["reason"] else ""
        table.add_row(
            package["name"], package["installed"] or "none", package["works"] or "any", package["state"] + what + reason
        )
    print_lines(table)


def _lines(found: dict[str, Any]) -> list[str]:
    gpus = [f"{gpu['name']}, {gpu['memory_gib']} GiB" for gpu in found["gpus"]]
    if found["gpu_fault"]:
        gpus += [*(f"{gpu}, says the driver" for gpu in found["gpus_of_driver"]), f"not usable: {found['gpu_fault']}"]
    hub, memory = found["hub"], found["memory"]
    answer = "answers" if hub["reachable"] else f"does not answer: {hub['why']}"
    return [
        f"Python     {found['python']} on {found['platform']}",
        f"CPU        {found['cores']} cores",
        f"Memory     {memory['gib']} GiB, {memory['free_gib']} GiB of it free",
        *(f"GPU        {gpu}" for gpu in gpus or ["none"]),
        f"Precision  {found['precision'] or 'unknown'} where a study says auto; torch is {found['torch']}",
        *(f"Disk       {disk['free_gib']} GiB free for {disk['for']} in {disk['folder']}" for disk in found["disk"]),
        f"Hub        {hub['endpoint']} {answer}",
        f"Token      {'there' if hub['token'] else 'none: gated models need one (hf auth login)'}",
    ]
