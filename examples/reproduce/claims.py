"""Eight claims of [Feng23]: do the runs that decide them, and say what follows.

The plan is in ``claims_plan.py``, and the rule of the verdicts in ``claims_rule.py``. Runs take as
many sittings as they need: a finished one has a row in a file of ``results``, and an unfinished one
a folder in ``results/checkpoints``. Commit both after a sitting, and the next one goes on from
them, on this machine or another.

    python examples/reproduce/claims.py status
    python examples/reproduce/claims.py run 3 --cifar10 FOLDER --minutes-left 50
    python examples/reproduce/claims.py run 1 --fashion-mnist FOLDER --only "weakly boosted"
    python examples/reproduce/claims.py verdict
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from time import perf_counter

from claims_plan import CIFAR, CLAIMS, FASHION
from claims_rule import Claim, judge, of_finding, verdict

RESULTS = Path(__file__).parent / "results"


def run(
    claim: Claim,
    folders: dict[str, Path | None],
    only: str | None = None,
    minutes_left: float | None = None,
    results: Path = RESULTS,
) -> None:
    """Do the runs of a claim that are missing, in their order, until the time is over."""
    import torch

    # A claim's hours are those of one core.
    torch.set_num_threads(1)
    began = perf_counter()
    for part in claim.parts:
        # Which runs need a second seed is known when the rows of the first are there.
        groups = [part.seeds] if part.close is None else [(seed,) for seed in part.seeds]
        for seeds in groups:
            due = {name for name, seed in part.due(part.rows(results)) if seed in seeds}
            wanted = [name for name in part.names if name in due and only in (None, name)]
            if not wanted:
                continue
            arguments = [*part.arguments.split(), "--dataset", part.data]
            arguments += ["--data", str(folders[part.data]), "--seeds", *map(str, seeds)]
            arguments += ["--json", str(results / part.file), "--only", *wanted]
            arguments += ["--checkpoints", str(results / "checkpoints")]
            if minutes_left is not None:
                left = minutes_left - (perf_counter() - began) / 60
                if left <= 0:
                    print("The time is over.", flush=True)
                    return
                arguments += ["--minutes-left", f"{left:.3f}"]
            import_module(part.script).main(arguments)
            if {*product(wanted, seeds)} & {*part.missing(part.rows(results))}:
                # The time is over.
                return


def status(results: Path = RESULTS) -> str:
    """Return how far the claims are."""
    lines = []
    for number, claim in CLAIMS.items():
        rows = claim.rows(results)
        cells = [len(part.cells(own)) for part, own in zip(claim.parts, rows)]
        missing = [cell for part, own in zip(claim.parts, rows) for cell in part.missing(own)]
        text = f"{number}. {claim.title}: {sum(cells) - len(missing)} of {sum(cells)} runs"
        following = f"; next {missing[0][0]}, seed {missing[0][1]}" if missing else ""
        lines.append(f"{text}, about {claim.hours:g} h in all{following}")
    folder = results / "checkpoints"
    unfinished = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return "\n".join([*lines, f"unfinished: {', '.join(unfinished) or 'none'}"])


def verdicts(results: Path = RESULTS) -> str:
    """Return what follows of each statement, finding and claim."""
    lines = []
    for number, claim in CLAIMS.items():
        rows = claim.rows(results)
        if not any(rows):
            lines.append(f"{number}. {claim.title}: not run yet")
            continue
        lines.append(f"{number}. {claim.title}: {verdict(claim, rows)}")
        for finding, judged in zip(claim.findings, judge(claim, rows)):
            lines.append(f"   {of_finding(finding, judged)}: {finding.text}")
            for each in judged:
                s, margin = each.statement, "" if each.margin is None else f" ± {each.margin:.1f}"
                found = "no rows" if each.difference is None else f"{each.difference:+.1f}{margin}"
                asked = f"asked for: more than {s.least:+g}"
                lines.append(f"      {s.better} above {s.worse}: {found} ({asked}): {each.verdict}")
                lines += [f"         {remark}" for remark in each.remarks]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run, or print how far the runs are and what follows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="do the runs of a claim that are missing")
    runs.add_argument("claim", type=int, choices=CLAIMS)
    runs.add_argument("--fashion-mnist", type=Path, help="folder of Fashion-MNIST")
    runs.add_argument("--cifar10", type=Path, help="folder of CIFAR-10, with train and test")
    runs.add_argument("--only", metavar="CELL", help="a name, as status has it")
    runs.add_argument("--minutes-left", type=float, help="stop after so many minutes")
    commands.add_parser("status", help="print how far the runs are")
    commands.add_parser("verdict", help="print what follows from the rows")
    args = parser.parse_args(argv)
    if args.command == "status":
        print(status())
    elif args.command == "verdict":
        print(verdicts())
    else:
        claim, folders = CLAIMS[args.claim], {FASHION: args.fashion_mnist, CIFAR: args.cifar10}
        for part in claim.parts:
            if folders[part.data] is None:
                option = "--fashion-mnist" if part.data == FASHION else "--cifar10"
                parser.error(f"claim {args.claim} needs {option}, the folder of its data")
        names = {name for part in claim.parts for name in part.names}
        if args.only is not None and args.only not in names:
            parser.error(f"--only must be one of {', '.join(sorted(names))}; got {args.only!r}.")
        run(claim, folders, args.only, args.minutes_left)


if __name__ == "__main__":
    main()
