"""[Feng23, D.2] on 8 x 8 digits: batches by hardness, with both signs, against uniform batches.

A quarter of scikit-learn's digits is held out. The formula in [Feng23] draws the easiest and the
hardest samples most ("extremes"), its text those in between ("medium"); both are measured, after
the same uniform start. Ten networks are trained on each set, with the number of steps fixed
beforehand.

    python examples/reproduce/hardness_sampler.py --seeds 0 1 2
"""

from report import RESULTS, arguments, on_digits, print_margins

from skdistill import RaTBPTTDistiller
from skdistill.hardness import HardnessSampler

SAMPLERS = ("uniform", "extremes", "medium")


def one_run(name: str, seed: int, args, data) -> dict:
    """Distill, test and return a row of the report."""
    X_train, X_test, y_train, y_test = data
    sampler = name
    if name != "uniform":
        sampler = HardnessSampler(
            args.threshold, favor=name, renew_every=args.renew_every, start_step=args.begin
        )
    distiller = RaTBPTTDistiller(
        args.ipc,
        image_shape=(1, 8, 8),
        max_iter=args.max_iter,
        sampler=sampler,
        n_networks=args.networks,
        random_state=seed,
    ).fit(X_train, y_train)
    return {
        "name": name,
        "seed": seed,
        "accuracy": distiller.score(X_test, y_test),
        "seconds": distiller.distilled_.provenance["seconds"],
    }


def main() -> None:
    """Distill, print a table, write JSON."""
    parser = arguments(__doc__, RESULTS / "hardness_sampler.json")
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--max-iter", type=int, default=200)
    parser.add_argument("--begin", type=int, default=50, help="outer steps with uniform batches")
    parser.add_argument("--renew-every", type=int, default=10, help="epochs, of 5 steps each")
    parser.add_argument("--threshold", type=float, default=1.0)
    parser.add_argument("--networks", type=int, default=10, help="networks in an evaluation")
    args = parser.parse_args()
    data, report = on_digits(args, SAMPLERS, "uniform")
    for row in report.run_all(SAMPLERS, args.seeds, lambda *run: one_run(*run, args, data)):
        print(
            "seed {seed}  {name:8s}  ".format(**row)
            + f"{100 * row['accuracy']:5.1f} %  {row['seconds']:4.0f} s",
            flush=True,
        )
    print_margins(report.rows, SAMPLERS, "uniform")


if __name__ == "__main__":
    main()
