"""Boost-DD and intercorrelation [Feng23, figures 7 to 9]: what a part of a set is worth.

For each seed there are these sets, of up to ``--ipc`` samples per class in blocks:

- strongly and weakly boosted ones (Algorithm 2), tested after every block, together with their
  single blocks and random parts of the last;
- sets that are distilled jointly at the size of each budget. Every block and every set gets the
  same number of outer steps. A boosted set has therefore had those of all its blocks, so the
  largest joint set is distilled further, until it has taken about as long, and tested again;
  random parts of it are tested as well;
- sets by KIP at each budget, of ``--kip-steps``, and random parts of the largest;
- random real samples.

Several networks are trained on each, with the number of steps fixed beforehand, of the width that
the sets are distilled through.

    python examples/reproduce/boosting.py --width 64 --max-iter 60 --networks 5 --draws 3
    python examples/reproduce/boosting.py --dataset fashion-mnist --data FOLDER --width 16 \
        --max-iter 700 --inner-lr 0.003 --window 20 --unroll 30
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import data
import numpy as np
import sittings
from report import RESULTS, Report, about, arguments, mean_and_std
from sittings import Cell, Sitting

from skdistill import BoostedDistiller, DistilledDataset, KIPDistiller, RaTBPTTDistiller
from skdistill.evaluation import evaluate
from skdistill.intercorrelation import compare_blocks, subsample_curve
from skdistill.networks import ConvNet

STRONG, WEAK, JOINT, KIP, REAL = NAMES = (
    "strongly boosted",
    "weakly boosted",
    "distilled at that size",
    "KIP",
    "random real samples",
)
BETA = {STRONG: 0.0, WEAK: 0.1}
# What a row has: for every budget, and of the largest joint set in the time of all blocks.
SETS, PARTS, BLOCKS = "accuracy", "accuracy of random parts", "accuracy of single blocks"
LONGER = "accuracy of the largest in the time of all blocks"


class Tests:
    """The tests of sets by networks of one architecture; a cell has their results.

    Parameters
    ----------
    cell : Cell
    args : argparse.Namespace
    seed : int
    arrays : sequence of ndarray
    """

    def __init__(self, cell: Cell, args, seed: int, arrays):
        _, X_test, _, y_test = arrays
        self._cell, self._args, self._seed, self._test = cell, args, seed, (X_test, y_test)
        self._common = {
            "architecture": partial(ConvNet, width=args.width),
            "n_networks": args.networks,
        }

    def of(self, name: str, make: Callable[[], DistilledDataset], draws: int = 1) -> float:
        """Return the accuracy of a set, which is only made if it has not been tested.

        If there are several draws of it, the networks are divided among them.
        """
        name = f"test {name}"
        if name in self._cell.notes:
            return self._cell.notes[name]
        distilled, common = make(), {**self._common, "n_networks": -(-self._args.networks // draws)}
        return self._cell.once(name, lambda: evaluate(distilled, *self._test, **common).mean)

    def parts(self, distilled: DistilledDataset, budgets: list[int]) -> list[float]:
        """Return the mean accuracy of random parts of a set, by samples per class."""

        def test(budget: int) -> float:
            curve = subsample_curve(
                distilled,
                *self._test,
                sizes=[budget],
                n_draws=self._args.draws,
                random_state=self._seed,
                **self._common,
            )
            return float(curve.subsets.mean())

        return [self._cell.once(f"parts of {k} per class", partial(test, k)) for k in budgets]

    def blocks(self, distilled: DistilledDataset) -> list[float]:
        """Return the accuracy of each block of a set alone."""

        def test() -> list[float]:
            size = self._args.block_size
            found = compare_blocks(distilled, *self._test, block_size=size, **self._common)
            return [result.mean for result in found.results.values()]

        return self._cell.once("blocks", test)


def boosted(beta: float, seed: int, args, arrays, cell: Cell, tests: Tests) -> dict:
    """Distill block by block, test after every block, and return what a row says of it."""
    X, _, y, _ = arrays
    distiller = BoostedDistiller(
        block_size=args.block_size,
        beta=beta,
        distiller=distillers(JOINT, args, seed, X),
        warm_start=True,
        random_state=seed,
    )

    def grown(budget: int) -> DistilledDataset:
        cell.fit(distiller.set_params(ipc=budget), X, y, name="blocks")
        return distiller.distilled_

    row = {SETS: [tests.of(f"{k} per class", partial(grown, k)) for k in budgets(args)]}
    whole = grown(args.ipc)
    row[PARTS] = tests.parts(whole, budgets(args))
    row[BLOCKS] = tests.blocks(whole)
    history = distiller.history_
    return {**row, "steps": distiller.n_iter_, "seconds": sum(history["seconds"])}


def distilled(kind: str, seed: int, args, arrays, cell: Cell, tests: Tests) -> dict:
    """Distill a set at the size of each budget, test them, and return what a row says of them."""
    X, _, y, _ = arrays
    n_steps = args.kip_steps if kind == KIP else args.max_iter

    def at(budget: int, n_steps: int) -> DistilledDataset:
        distiller = distillers(kind, args, seed, X).set_params(ipc=budget, max_iter=n_steps)
        cell.fit(distiller, X, y, name=f"ipc-{budget}.npz")
        cell.notes[f"seconds of {budget}"] = sum(distiller.history_["seconds"])
        return distiller.distilled_

    found = {SETS: [tests.of(f"{k} per class", partial(at, k, n_steps)) for k in budgets(args)]}
    if kind == JOINT:
        # A step takes time in proportion to the samples, of all blocks so far.
        n_steps = round(n_steps * sum(budgets(args)) / args.ipc)
        found[LONGER] = tests.of("the largest, longer", partial(at, args.ipc, n_steps))
    found[PARTS] = tests.parts(at(args.ipc, n_steps), budgets(args))
    seconds = [cell.notes[f"seconds of {k}"] for k in budgets(args)]
    return {**found, "steps": n_steps, "seconds": sum(seconds)}


def distillers(kind: str, args, seed: int, X):
    """Return the distiller of a set, of one sample per class."""
    shared = {
        "init": args.init,
        "image_shape": data.image_shape(args, X),
        "n_networks": args.networks,
        "random_state": seed,
    }
    if kind == KIP:
        return KIPDistiller(**shared | {"init": "real"})
    return RaTBPTTDistiller(
        architecture=partial(ConvNet, width=args.width),
        max_iter=args.max_iter,
        clip_norm=args.clip_norm,
        **shared,
        **data.given(args),
    )


def real(seed: int, args, arrays, tests: Tests) -> dict:
    """Test random real samples, and return what a row says of them."""
    X, _, y, _ = arrays

    def mean(budget: int) -> float:
        sets = data.chosen(REAL, seed, budget, args, X, y, args.draws)
        tested = [
            tests.of(f"{budget} per class, {k}", partial(replace, each), args.draws)
            for k, each in enumerate(sets)
        ]
        return float(np.mean(tested))

    return {SETS: [mean(k) for k in budgets(args)]}


def budgets(args) -> list[int]:
    """Return the samples per class after each block."""
    return [*range(args.block_size, args.ipc, args.block_size), args.ipc]


def one_row(name: str, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill, test and return a row of the report."""
    tests = Tests(cell, args, seed, arrays)
    if name in BETA:
        found = boosted(BETA[name], seed, args, arrays, cell, tests)
    elif name == REAL:
        found = real(seed, args, arrays, tests)
    else:
        found = distilled(name, seed, args, arrays, cell, tests)
    return {"set": name, "seed": seed, "budgets": budgets(args), **found}


def summarize(rows: list[dict]) -> dict:
    """Return the accuracies by set and budget: means and standard deviations over seeds."""
    methods = {}
    for name in NAMES:
        own = [row for row in rows if row["set"] == name]
        for key, words in ((SETS, ""), (PARTS, ", random parts"), (BLOCKS, ", single blocks")):
            if own and key in own[0]:
                columns = zip(*(row[key] for row in own))
                heads = own[0]["budgets"]
                methods[name + words] = {
                    f"{k} per class": mean_and_std(column) for k, column in zip(heads, columns)
                }
        if own and LONGER in own[0]:
            last = f"{own[0]['budgets'][-1]} per class"
            longer = mean_and_std(row[LONGER] for row in own)
            methods[f"{name}, in the time of all blocks"] = {last: longer}
    return {"methods": methods}


def main(argv: Sequence[str] | None = None) -> None:
    """Distill, test, print a table, write JSON."""
    parser = arguments(__doc__)
    data.add_arguments(parser)
    data.add_clipping(parser)
    sittings.add_arguments(parser, NAMES)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--block-size", type=int, default=2)
    parser.add_argument("--width", type=int, default=64, help="of the ConvNets")
    data.add_loop(parser)
    parser.add_argument("--max-iter", type=int, default=100, help="outer steps of a block or set")
    parser.add_argument("--kip-steps", type=int, default=300, help="outer steps of KIP")
    parser.add_argument("--init", default="gaussian", choices=["gaussian", "real", "kmeans"])
    parser.add_argument("--networks", type=int, default=10, help="networks in a test")
    parser.add_argument("--draws", type=int, default=5, help="random parts of each size")
    args = data.parse(parser, argv)
    # There is one size, with a GPU and without.
    del args.paper
    args.json = args.json or RESULTS / f"boosting-{args.dataset}-{args.ipc}.json"
    arrays = data.load(args)
    report = Report(args.json, about(args, data.name(args)), ("set", "seed"), summarize)
    compute = partial(one_row, args=args, arrays=arrays)
    with Sitting(report, args) as sitting:
        for row in sitting.run_all(args.only or NAMES, args.seeds, compute):
            print_table([row], f"seed {row['seed']}")
    print_table(report.rows, f"mean of {len({row['seed'] for row in report.rows})} seeds")


def print_table(rows: list[dict], title: str) -> None:
    """Print the mean accuracy over rows by set and budget."""
    print(f"\n{title}, test accuracy (%) by samples per class")
    for name, values in summarize(rows)["methods"].items():
        cells = "".join(f"{100 * mean:8.1f}" for mean, _ in values.values())
        print(f"{name:45s}{cells}  ({', '.join(values)})", flush=True)


if __name__ == "__main__":
    main()
