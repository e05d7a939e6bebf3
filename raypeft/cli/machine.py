"""What this machine can run: packages, processors, memory, disk, the hub."""

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import Requirement

from raypeft.errors import UserError
from raypeft.estimate.machines import listed_gpus
from raypeft.execution.guards import GUARDS, installed
from raypeft.output.text import discreet

EXTRAS = ("", "quantization")
HUB_SECONDS = 5
GIB = 2**30


@dataclass(frozen=True)
class Package:
    """A package this one needs.

    Attributes:
        works: versions that it is declared to work with.
        state: `ok`, `untested` outside those versions, `refused` where it would give wrong results, or `missing`.
        needed_for: the extra that needs it; empty where everything does.
        reason: why it is refused.
    """

    name: str
    installed: str | None
    works: str
    state: str
    needed_for: str
    reason: str | None


def packages() -> Iterator[Package]:
    """Every package that the installed metadata declare, compared with what is installed."""
    guards = {guard.package: guard for guard in GUARDS}
    for text in importlib.metadata.requires("raypeft") or ():
        requirement = Requirement(text)
        needed_for = next((extra for extra in EXTRAS if _applies(requirement, extra)), None)
        if needed_for is None or requirement.name == "raypeft":
            continue
        version, guard = installed(requirement.name), guards.get(requirement.name)
        state = "ok"
        if guard and not guard.passes:
            state = "refused"
        elif version is None:
            state = "missing"
        elif not requirement.specifier.contains(version, prereleases=True):
            state = "untested"
        works, reason = guard.works if guard else str(requirement.specifier), guard.reason if guard else None
        yield Package(requirement.name, version, works, state, needed_for, reason if state == "refused" else None)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def examine(folder: Path) -> dict[str, Any]:
    """Look at the machine; nothing is computed, and the hub gets one request.

    Args:
        folder: where runs are written.

    Returns:
        `packages`, `python`, `cores`, `memory`, `gpus`, `precision`, `disk`, `hub`, for printing and as JSON.
    """
    memory = psutil.virtual_memory()
    return {
        "packages": [asdict(package) for package in packages()],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": psutil.cpu_count(logical=True),
        "memory": {"gib": _gib(memory.total), "free_gib": _gib(memory.available)},
        **_torch(),
        "disk": _disk(folder),
        "hub": _hub(),
    }


def _torch() -> dict[str, Any]:
    """GPUs as torch sees them, why not where only the driver does, and what a study's `precision: auto` is on them."""
    listed = listed_gpus()
    try:
        import torch

        from raypeft.modeling.gpu import build_of_torch, gpu_fault
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

    places = {"runs": folder, "hub cache": Path(constants.HF_HUB_CACHE)}
    return [
        {"for": name, "folder": str(place.resolve()), "free_gib": _gib(shutil.disk_usage(_existing(place)).free)}
        for name, place in places.items()
    ]


def _existing(folder: Path) -> Path:
    folder = folder.resolve()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _hub() -> dict[str, Any]:
    """Whether the hub answers, whatever it says, and whether a token is there."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils import get_session

    from raypeft.hub.faults import explained

    found: dict[str, Any] = {
        "endpoint": discreet(constants.ENDPOINT),
        "token": get_token() is not None,
        "reachable": True,
    }
    if constants.HF_HUB_OFFLINE:
        return found | {"reachable": False, "why": "HF_HUB_OFFLINE is set: only what is in the cache is used"}
    try:
        with explained("model", "hub"):
            get_session().head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except UserError as error:
        return found | {"reachable": False, "why": discreet(error.what)}
    return found


def _gib(size: int) -> float:
    return round(size / GIB, 1)
