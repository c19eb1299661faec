r"""Evaluate a saved result of table1.py again: train networks on its samples and test them.

A result is two files: the report, ``.json``, and the samples, ``.npz``, beside it or in the package
if publish.py has moved them there. With ``--baselines`` the chosen samples that the report asks for
and lacks, because a run was stopped before it came to them, are evaluated and written into it.
Whitened samples are tested on images that are whitened anew, by a whitener fitted on the training
images, as in table1.py.

    python examples/reproduce/evaluate.py \
        examples/reproduce/results/table1-fashion-mnist-1-narrow.json --data FOLDER --networks 2
"""

import argparse
import json
import sys
from pathlib import Path

import data
import torch
from report import machine, write
from table1 import NETWORK, rivals, words

from skdistill import DistilledDataset
from skdistill.datasets import list_distilled, load_distilled
from skdistill.evaluation import evaluate


def main() -> None:
    """Train networks, print their accuracy beside the report's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="a report of table1.py")
    parser.add_argument("--data", type=Path, help="the folder with the data, as for table1.py")
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--architecture", default=NETWORK, help="of the networks")
    parser.add_argument(
        "--baselines", action="store_true", help="add chosen samples that the report lacks"
    )
    args = parser.parse_args()
    report = json.loads(args.report.read_text())
    if "dataset" not in report.get("parameters", {}):
        parser.error(f"{args.report} must be a report of table1.py")
    if report["parameters"]["dataset"] != "digits" and args.data is None:
        parser.error(f"--data is needed, the folder that {report['data']} is in")
    samples = args.report.with_suffix(".npz")
    distilled = DistilledDataset.load(samples) if samples.exists() else published(args.report)
    arrays = data.load(argparse.Namespace(**report["parameters"] | {"data": args.data}))
    if args.baselines:
        asked, n_networks = (
            report["parameters"][name] for name in ("baselines", "baseline_networks")
        )
        missing = [name for name in asked if name not in report["results"]]
        for name, result in rivals(distilled, arrays, missing, n_networks).items():
            # Perhaps not where the samples were distilled.
            where = {"machine": machine(), "threads": torch.get_num_threads()}
            report["results"][name] = result | where
            print(f"{name}: {words(result)}", flush=True)
        write(args.report, report)
        return
    _, X_test, _, y_test = arrays
    result = evaluate(
        distilled, X_test, y_test, n_networks=args.networks, architecture=args.architecture
    )
    there = report["results"]["distilled"]
    print(f"{report['data']}, {distilled.ipc} per class: {result}")
    n = there["n_networks"]
    deviation = f" ± {100 * there['std']:.1f}" if n > 1 else ""
    print(f"in the report: {100 * there['mean']:.1f}{deviation} % ({n} network{'s' * (n > 1)})")


def published(report: Path) -> DistilledDataset:
    """Return the set of a report that comes with the package, or exit."""
    for name, ipc in list_distilled():
        distilled = load_distilled(name, ipc)
        if distilled.provenance["about"]["report"] == report.name:
            return distilled
    sys.exit(f"{report} has no samples beside it, nor in the package.")


if __name__ == "__main__":
    main()
