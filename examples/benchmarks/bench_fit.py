"""A whole run through ``fit``, everything counted: skdistill beside a loop with ``higher``.

Digits, the usual network, a window of 20 of 60 steps. Each run is a process of its own, timed from
its start to its end, imports, tracing and compilation included. The first of ours starts with empty
caches of compiled code, torch's and that of the package's own C functions; the second with what the
first left; the third is the loop with ``higher``. They alternate, and the ratio is the median over
rounds.

    python examples/benchmarks/bench_fit.py --steps 200 --repeats 3 --json out.json
"""

import argparse
import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import report

SHARED = """
import sys
import numpy as np
import torch
from sklearn.datasets import load_digits
steps = int(sys.argv[1])
X, y = load_digits(return_X_y=True)
X = X.astype(np.float32).reshape(-1, 8, 8)
"""
OURS = (
    SHARED
    + """
from skdistill import RaTBPTTDistiller
compile = {"auto": "auto", "yes": True, "no": False}[sys.argv[2]]
distiller = RaTBPTTDistiller(
    ipc=1, window=20, unroll=60, inner_lr=0.001, batch_size=512, max_iter=steps, compile=compile,
    random_state=0,
)
distiller.fit(X, y)
"""
)
HIGHER = (
    SHARED
    + """
import higher
import torch.nn.functional as F
from skdistill.networks import ConvNet
rng = np.random.default_rng(0)
X = torch.from_numpy((X - X.mean()) / X.std())[:, None]
y = torch.from_numpy(y)
synthetic = torch.randn(10, 1, 8, 8)
synthetic = (synthetic / synthetic.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).requires_grad_()
labels = torch.arange(10)
outer = torch.optim.Adam([synthetic], lr=0.01)
for _ in range(steps):
    model = ConvNet((1, 8, 8), 10)
    inner = torch.optim.Adam(model.parameters(), lr=0.001)
    end = int(rng.integers(20, 61))
    fixed = synthetic.detach()
    for _ in range(end - 20):
        inner.zero_grad()
        F.cross_entropy(model(fixed), labels).backward()
        inner.step()
    rows = torch.from_numpy(rng.choice(len(X), 512, replace=False))
    with higher.innerloop_ctx(model, inner) as (fmodel, diffopt):
        for _ in range(20):
            diffopt.step(F.cross_entropy(fmodel(synthetic), labels))
        loss = F.cross_entropy(fmodel(X[rows]), y[rows])
        synthetic.grad = torch.autograd.grad(loss, synthetic)[0]
    outer.step()
"""
)


def seconds(code: str, *arguments: str, cache: str) -> float:
    """Return how long a process takes that runs this code."""
    # The C functions are kept in the user's cache folder, see native.py.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache, "XDG_CACHE_HOME": cache}
    began = perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment)
    return perf_counter() - began


def main() -> None:
    """Print the times and their ratios, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200, help="outer steps of a run")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of three runs each")
    parser.add_argument("--compile", choices=["auto", "yes", "no"], default="auto")
    parser.add_argument("--json", help="file to write")
    args = parser.parse_args()
    rounds = []
    for _ in range(args.repeats):
        with TemporaryDirectory() as cache:
            times = {
                "first_s": seconds(OURS, str(args.steps), args.compile, cache=cache),
                "second_s": seconds(OURS, str(args.steps), args.compile, cache=cache),
                "higher_s": seconds(HIGHER, str(args.steps), cache=cache),
            }
        rounds.append(times)
        print({name: round(value, 1) for name, value in times.items()}, flush=True)
    ratios = {
        f"{which}_ratio": median(r[f"{which}_s"] / r["higher_s"] for r in rounds)
        for which in ("first", "second")
    }
    print({name: round(value, 2) for name, value in ratios.items()})
    report.write(
        args.json, "cpu", steps=args.steps, compile=args.compile, rounds=rounds, ratios=ratios
    )


if __name__ == "__main__":
    main()
