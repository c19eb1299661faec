"""[Feng23, C.3]: distill through one architecture, evaluate on others.

[Feng23] has CIFAR-10 with ten samples per class. A ResNet-18 reaches 52.7 % with samples that were
distilled through a ResNet-18, and 49.2 % with samples that were distilled through the ConvNet. This
is run with ``--dataset cifar10 --data FOLDER`` on a GPU, or with ``--paper``. Otherwise the size is
for minutes on one core: 8 x 8 digits, a quarter held out, one sample per class, through a ConvNet
and a multilayer perceptron.

Each run has the same time, a share of ``--minutes``, evaluation not included. The number of steps
that train the networks in an evaluation is fixed beforehand.

    python examples/reproduce/architectures.py --minutes 6
"""

from time import perf_counter

import data
from report import RESULTS, Report, about, arguments, mean_std

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import evaluate
from skdistill.networks import ARCHITECTURES

THROUGH = {False: ["convnet", "mlp"], True: ["convnet", "resnet18"]}
ON = {False: ["convnet", "convnet_x4", "mlp"], True: ["convnet", "resnet18", "vgg11", "alexnet"]}


class Until:
    """A scikit-learn callback: stop a run before an outer step that would exceed the time."""

    def __init__(self, seconds: float):
        self._seconds = seconds

    def setup(self, estimator, context):
        """Start the clock."""
        self._began = self._last = perf_counter()

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Return whether one more step like this one would take too long."""
        step, self._last = perf_counter() - self._last, perf_counter()
        return self._last + step > self._began + self._seconds


def one_run(through: str, seed: int, seconds: float, args, arrays) -> dict:
    """Distill through an architecture for so many seconds, and evaluate on all."""
    X_train, X_test, y_train, y_test = arrays
    parameters = data.settings(args, args.ipc) | {
        "architecture": through,
        "inner_architecture": None,
        "max_iter": args.max_iter,
        "compile": False,
        "n_networks": args.networks,
        "random_state": seed,
    }
    if not args.paper:
        parameters |= {"window": args.window, "unroll": args.unroll}
    distiller = RaTBPTTDistiller(**parameters).set_callbacks(Until(seconds))
    distilled = distiller.fit(X_train, y_train).distilled_
    row = {
        "through": through,
        "seed": seed,
        "outer_steps": distiller.n_iter_,
        "seconds": distilled.provenance["seconds"],
    }
    for on in args.on:
        result = evaluate(distilled, X_test, y_test, architecture=on)
        row[f"on {on}"] = {"mean": result.mean, "std": result.std, "n_networks": args.networks}
    return row


def main() -> None:
    """Distill through all, evaluate on all, print a table, write JSON."""
    parser = arguments(__doc__, RESULTS / "architectures.json")
    data.add_arguments(parser)
    parser.add_argument("--minutes", type=float, default=6, help="for all distillation together")
    parser.add_argument("--ipc", type=int, help="default: 1, or 10 at the paper's size")
    parser.add_argument("--through", nargs="+", choices=ARCHITECTURES, help=f"default: {THROUGH}")
    parser.add_argument("--on", nargs="+", choices=ARCHITECTURES, help=f"default: {ON}")
    parser.add_argument("--max-iter", type=int, default=10**5, help="outer steps at most")
    parser.add_argument("--window", type=int, default=15, help="at the small size")
    parser.add_argument("--unroll", type=int, default=45, help="at the small size")
    parser.add_argument("--networks", type=int, default=10, help="networks in an evaluation")
    args = data.parse(parser)
    args.ipc = args.ipc or (10 if args.paper else 1)
    args.through, args.on = args.through or THROUGH[args.paper], args.on or ON[args.paper]
    arrays = data.load(args)
    seconds = 60 * args.minutes / (len(args.seeds) * len(args.through))
    report = Report(args.json, about(args, data.name(args)), ("through", "seed"))
    for seed in args.seeds:
        for through in args.through:
            row = report.run(
                lambda through=through, seed=seed: one_run(through, seed, seconds, args, arrays),
                through=through,
                seed=seed,
            )
            cells = "  ".join(f"on {on} {100 * row[f'on {on}']['mean']:.1f} %" for on in args.on)
            print(
                f"seed {seed}  through {through}, {row['outer_steps']} steps: {cells}", flush=True
            )
    print("\nmean ± standard deviation over seeds, test accuracy (%)")
    print("distilled through  " + "  ".join(f"{'on ' + on:>14s}" for on in args.on))
    for through in args.through:
        own = [row for row in report.rows if row["through"] == through]
        cells = [mean_std([row[f"on {on}"]["mean"] for row in own]) for on in args.on]
        print(f"{through:17s}  " + "  ".join(f"{cell:>14s}" for cell in cells))


if __name__ == "__main__":
    main()
