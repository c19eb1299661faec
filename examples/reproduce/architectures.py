"""[Feng23, Table 1's last row and C.3]: distill through one architecture, test on others.

[Feng23] distills through ConvNets of width 128 and tests on ones that are 4 or 8 times as wide,
where the sets do somewhat better. With ten samples per class of CIFAR-10, a ResNet-18 reaches 52.7
% with samples that were distilled through a ResNet-18, and 49.2 % with samples that were distilled
through the ConvNet. This is run with ``--dataset cifar10 --data FOLDER`` on a GPU, or with
``--paper``. Otherwise the size is for minutes on one core: 8 x 8 digits, a quarter held out, one
sample per class.

``convnet-32`` is a ConvNet of width 32, and ``resnet-small`` that of ``small_resnet.py``. The loop,
how many steps are unrolled with which window and learning rate, is the package's for networks of
that width, and a row has it; ``convnet-32-usual`` is ``convnet-32`` with the loop of the usual
networks, so that the width alone differs. Each run distills for ``--minutes``. The number of steps
that train the networks in a test is fixed beforehand; a ConvNet of 8 times the width is so slow
that there is only one.

    python examples/reproduce/architectures.py
    python examples/reproduce/architectures.py --dataset fashion-mnist --data FOLDER --minutes 15 \
        --through convnet-32 convnet-32-usual convnet resnet-small \
        --on convnet-32 convnet convnet_x4 convnet_x8 resnet-small resnet18 vgg11 alexnet
"""

from collections.abc import Sequence
from functools import partial

import data
import sittings
from report import RESULTS, Report, about, arguments, mean_std
from sittings import Cell, Sitting
from small_resnet import SmallResNet

from skdistill import RaTBPTTDistiller
from skdistill.evaluation import evaluate
from skdistill.networks import ARCHITECTURES, ConvNet

NETWORKS = {
    **{name: name for name in ARCHITECTURES},
    "convnet-32": partial(ConvNet, width=32),
    "resnet-small": SmallResNet,
}
# What a set is distilled through: networks, and parameters of the distiller.
ARMS = {
    **{name: (name, {}) for name in NETWORKS},
    "convnet-32-usual": ("convnet-32", {"window": 15, "unroll": 45, "inner_lr": 0.001}),
}
THROUGH = {False: ["convnet", "mlp"], True: ["convnet", "resnet18"]}
ON = {False: ["convnet", "convnet_x4", "mlp"], True: ["convnet", "resnet18", "vgg11", "alexnet"]}
# Tests with one network.
SLOW = ("convnet_x8",)


def one_row(through: str, seed: int, cell: Cell, args, arrays) -> dict:
    """Distill through an architecture, and test on all."""
    X_train, X_test, y_train, y_test = arrays
    network, own = ARMS[through]
    parameters = data.settings(args, args.ipc) | {
        "architecture": NETWORKS[network],
        # "auto" would be narrow by itself.
        "inner_architecture": None,
        "image_shape": data.image_shape(args, X_train),
        "compile": args.compile,
        "clip_norm": args.clip_norm,
        "random_state": seed,
    }
    distiller = RaTBPTTDistiller(**parameters | data.given(args) | own)
    *_, distilled = cell.fit_for(distiller, X_train, y_train, 60 * args.minutes)
    row = {
        "through": through,
        "seed": seed,
        "outer_steps": distiller.n_iter_,
        "seconds": cell.seconds(distilled),
        # Fitted attributes where a parameter was left to the package.
        **{k: getattr(distiller, f"{k}_", getattr(distiller, k)) for k in data.LOOP},
    }
    for on in args.on:
        n_networks = 1 if on in SLOW else args.networks

        def test(on=on, n_networks=n_networks) -> dict:
            result = evaluate(
                distilled, X_test, y_test, architecture=NETWORKS[on], n_networks=n_networks
            )
            return {"mean": result.mean, "std": result.std, "n_networks": n_networks}

        row[f"on {on}"] = cell.once(f"on {on}", test)
    return row


def main(argv: Sequence[str] | None = None) -> None:
    """Distill through all, test on all, print a table, write JSON."""
    parser = arguments(__doc__)
    data.add_arguments(parser)
    data.add_clipping(parser)
    sittings.add_arguments(parser, list(ARMS))
    parser.add_argument("--minutes", type=float, default=1, help="of distillation, for each run")
    parser.add_argument("--ipc", type=int, help="default: 1, or 10 at the paper's size")
    parser.add_argument("--through", nargs="+", choices=ARMS, help=f"default: {THROUGH}")
    parser.add_argument("--on", nargs="+", choices=NETWORKS, help=f"default: {ON}")
    data.add_loop(parser)
    parser.add_argument("--compile", action="store_true", help="not only where it pays")
    parser.add_argument("--networks", type=int, default=10, help="networks in a test")
    args = data.parse(parser, argv)
    args.compile = args.compile or "auto"
    args.ipc = args.ipc or (10 if args.paper else 1)
    args.through, args.on = args.through or THROUGH[args.paper], args.on or ON[args.paper]
    args.json = args.json or RESULTS / f"architectures-{args.dataset}-{args.ipc}.json"
    arrays = data.load(args)
    report = Report(args.json, about(args, data.name(args)), ("through", "seed"))
    names = [name for name in args.through if name in (args.only or args.through)]
    compute = partial(one_row, args=args, arrays=arrays)
    with Sitting(report, args) as sitting:
        for row in sitting.run_all(names, args.seeds, compute):
            cells = "  ".join(f"on {on} {100 * row[f'on {on}']['mean']:.1f} %" for on in args.on)
            through = f"through {row['through']}, {row['outer_steps']} steps"
            print(f"seed {row['seed']}  {through}: {cells}", flush=True)
    print("\nmean ± standard deviation over seeds, test accuracy (%)")
    print("distilled through  " + "  ".join(f"{'on ' + on:>15s}" for on in args.on))
    for through in args.through:
        own = [row for row in report.rows if row["through"] == through]
        if own:
            cells = [mean_std([row[f"on {on}"]["mean"] for row in own]) for on in args.on]
            print(f"{through:17s}  " + "  ".join(f"{cell:>15s}" for cell in cells))


if __name__ == "__main__":
    main()
