"""raypeft doctor: what this machine can run."""

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

from raypeft.cli.arguments import RUNS, JsonOption
from raypeft.errors import UserError
from raypeft.estimate.machines import listed_gpus
from raypeft.execution.guards import GUARDS, check_versions, installed
from raypeft.output.console import echo_json, echo_lines, lines_table, print_lines
from raypeft.output.text import discreet

HUB_SECONDS = 5
GIB = 2**30


def packages() -> Iterator[dict[str, str | None]]:
    """Every package that the installed metadata declare, compared with what is installed.

    Its `state` is `ok`, `untested` outside the versions that it is declared to work with, `refused` where it would give
    wrong results, for a `reason`, or `missing`.
    """
    guards = {guard.package: guard for guard in GUARDS}
    for text in importlib.metadata.requires("raypeft") or ():
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version, guard = installed(requirement.name), guards.get(requirement.name)
        state = "ok"
        if guard and not guard.passes:
            state = "refused"
        elif version is None:
            state = "missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            state = "untested"
        yield {
            "name": requirement.name,
            "installed": version,
            "works": guard.works if guard else str(requirement.specifier),
            "state": state,
            "reason": guard.reason if guard and state == "refused" else None,
        }


def examine(folder: Path) -> dict[str, Any]:
    """Look at the machine; nothing is computed, and the hub gets one request.

    Args:
        folder: where runs are written.

    Returns:
        `packages`, `python`, `cores`, `memory`, `gpus`, `precision`, `disk`, `hub`, for printing and as JSON.
    """
    memory = psutil.virtual_memory()
    return {
        "packages": list(packages()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": psutil.cpu_count(logical=True),
        "memory": {"gib": _gib(memory.total), "free_gib": _gib(memory.available)},
        **_torch(),
        "disk": _disk(folder),
        "hub": _hub(),
    }


def _gib(size: int) -> float:
    return round(size / GIB, 1)


def _torch() -> dict[str, Any]:
    """GPUs as torch sees them, why not where only the driver does, and what a study's `precision: auto` is on them."""
    listed = listed_gpus()
    try:
        import torch

        from raypeft.modeling.memory import build_of_torch, gpu_fault
        from raypeft.modeling.precision import Hardware, compute_dtype
    except ImportError as error:
        fault = f"torch cannot be imported: {error}"
        return {"gpus": [], "gpus_of_driver": listed, "gpu_fault": fault, "precision": None, "torch": fault}
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    gpus = [{"name": gpu.name, "memory_gib": _gib(gpu.total_memory)} for gpu in found]
    precision = str(compute_dtype("auto", "llama", Hardware.here())).removeprefix("torch.")
    return {
        "gpus": gpus,
        "gpus_of_driver": listed,
        "gpu_fault": gpu_fault() if gpus or listed else None,
        "precision": precision,
        "torch": build_of_torch(),
    }


def _disk(folder: Path) -> list[dict[str, Any]]:
    from huggingface_hub import constants

    found = []
    for name, place in (("runs", folder.resolve()), ("hub cache", Path(constants.HF_HUB_CACHE).resolve())):
        existing = next(parent for parent in (place, *place.parents) if parent.exists())
        found.append({"for": name, "folder": str(place), "free_gib": _gib(shutil.disk_usage(existing).free)})
    return found


def _hub() -> dict[str, Any]:
    """Whether the hub answers, whatever it says, and whether a token is there."""
    from huggingface_hub import constants, get_session, get_token

    from raypeft.hub.faults import explained

    found = {"endpoint": discreet(constants.ENDPOINT), "token": get_token() is not None, "reachable": True}
    if constants.HF_HUB_OFFLINE:
        return found | {"reachable": False, "why": "HF_HUB_OFFLINE is set: only what is in the cache is used"}
    try:
        with explained("model", "hub"):
            get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except UserError as error:
        return found | {"reachable": False, "why": discreet(error.what)}
    return found


def doctor(as_json: JsonOption = False) -> None:
    """Show packages, processors, memory, disk and hub, and whether a study can run with them.

    Exit codes: 0 a study can run, 2 a package's version is refused because it would give wrong results.
    """
    found = examine(RUNS)
    if as_json:
        echo_json(found)
    else:
        table = lines_table("package", "installed", "works", "state")
        for package in found["packages"]:
            state = package["state"] + (f": {package['reason']}" if package["reason"] else "")
            table.add_row(package["name"], package["installed"] or "none", package["works"] or "any", state)
        print_lines(table)
        echo_lines(["", *_lines(found)])
    check_versions()


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
