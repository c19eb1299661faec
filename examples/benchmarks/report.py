"""The files that benchmarks write: what was measured, where, when and by which command."""

import json
import os
import sys
from datetime import date
from pathlib import Path

import torch


def machine(device: str) -> str:
    """Return what this machine is called in reports."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def write(path, device: str, **measured) -> None:
    """Write a benchmark's JSON file; nothing if there is no path."""
    if path is None:
        return
    script = Path(sys.argv[0]).name
    about = {
        "machine": machine(device),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "command": " ".join([f"python examples/benchmarks/{script}", *sys.argv[1:]]),
    }
    Path(path).write_text(json.dumps({**about, **measured}, indent=1) + "\n")
