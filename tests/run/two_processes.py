"""Two processes that do one run together; `test_two_processes` starts this, and compares.

Ranks 0 and 1 are forked as by `torchrun`, and go through the scenarios; each writes its result to
``<folder>/<scenario>-<rank>.npz`` or, in case of an error, ``.txt``. Scenarios that a process does
not survive have ranks of their own.
"""

import os
import signal
import socket
import sys
import time
import traceback
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import tools
import torch
import torch.distributed as dist
from tools import OuterStep, StopAfter, a_problem, table, tiny
from torch import nn

from skdistill import (
    BoostedDistiller,
    DistributionMatchingDistiller,
    FRePoDistiller,
    KIPDistiller,
    TrajectoryMatchingDistiller,
)
from skdistill._engine import outer
from skdistill._engine.group import Group, join_group
from skdistill._engine.inner_batches import InnerBatches
from skdistill._engine.learner import Learner
from skdistill._engine.methods.matching import DistributionMatching, Embedding
from skdistill._engine.methods.unrolled import Unrolled
from skdistill._engine.optimizers import Adam
from skdistill._engine.parametrization import LABELS, Combinations, Parametrization, Rows
from skdistill._engine.steps import Steps
from skdistill._engine.streams import Streams
from skdistill.augmentation import check_augmentation
from skdistill.evaluation import evaluate
from skdistill.exceptions import DivergenceError
from skdistill.hardness import HardnessSampler
from skdistill.parametrization import LinearBasis
from skdistill.sampling import UniformSampler
from skdistill.windows import resolve_schedule


def quick(path=None, **parameters):
    """Return a distiller of quick runs."""
    settings = {
        "max_iter": 4, "window": 1, "unroll": 3, "batch_size": 4, "architecture": tiny,
        "n_networks": 5, "eval_steps": 3, "checkpoint": path, "device": "cpu",
    }  # fmt: skip
    return tools.quick(**settings | parameters)


# --- the engine, in double precision ----------------------------------------------------------


def images():
    """Return 20 images of 6 x 6 pixels in two classes."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(20, 1, 6, 6))), torch.arange(20) % 2


def network():
    """Return a small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2)
    )  # fmt: skip


def unrolled(rngs):
    """Return RaT-BPTT with everything that it draws, and its problem."""
    learner, augmentation = Learner(network, dtype=torch.float64), check_augmentation("flip_rotate")
    method = Unrolled(
        steps=Steps(learner, Adam(lr=0.01), None, augment=augmentation.apply),
        sampler=UniformSampler(20, 6, lambda epoch: rngs.numpy("real_batch", epoch)),
        schedule=resolve_schedule("rat-bptt"),
        window=2,
        unroll=5,
        batches=InnerBatches(2),
    )
    return method, a_problem(*images(), 3, learner, rngs=rngs, augmentation=augmentation)


def matching(rngs):
    """Return distribution matching, and its problem."""
    X, y = images()
    learner = Learner(network, dtype=torch.float64)
    rows = [np.flatnonzero(y.numpy() == c) for c in range(2)]
    method = DistributionMatching(Embedding(learner, (1, 6, 6)), rows, 3)
    return method, a_problem(X, y, 3, learner, rngs=rngs)


METHODS = {"unrolled": unrolled, "matching": matching}


def pixels():
    """Return six samples that are learned themselves, with fixed labels."""
    X = torch.linspace(-1, 1, 6 * 36, dtype=torch.float64).view(6, 1, 6, 6)
    return {"X": X}, (Rows(),)


def combinations():
    """Return six samples that are combinations of three bases, with learned labels."""
    rng = np.random.default_rng(1)
    tensors = {
        "basis": torch.from_numpy(rng.normal(size=(3, 1, 6, 6))),
        "coefficients": torch.from_numpy(rng.normal(size=(6, 3))),
        LABELS: torch.eye(2, dtype=torch.float64).repeat(3, 1),
    }
    return tensors, (Combinations("basis", "coefficients"),)


LEARNED = {"pixels": pixels, "combinations": combinations}


ALONE = Group()


def steps(method, problem, learned, group=ALONE, n_steps=6):
    """Return all tensors with their moments after outer steps, and what was recorded of these."""
    tensors, parts = LEARNED[learned]()
    parametrization = Parametrization(parts, torch.arange(2).repeat(3))
    rates = {name: 0.1 / (1 + i) for i, name in enumerate(tensors)}
    state, records = outer.initial_state(method, problem, tensors), []
    for _ in range(n_steps):
        state, record = outer.update(method, problem, state, parametrization, rates, group=group)
        state = outer.observed(method, state, record, None)
        records.append([record.loss, record.grad_norm, *record.detail.values()])
    adam = {name: slots.numpy() for name, slots in state.slots.items()}
    return {**adam, "records": np.array(records)}


def engine(group, folder):
    """Do outer steps of every method."""
    found = {}
    for name, make in METHODS.items():
        for learned in LEARNED:
            method, problem = make(Streams(5, group.rank, group.size))
            ours = steps(method, problem, learned, group)
            found |= {f"{name} {learned} {key}": value for key, value in ours.items()}
    return found


# --- distillers -------------------------------------------------------------------------------


def seen(distiller):
    """Return the values that must not differ between ranks."""
    history = distiller.history_
    return {
        "X": distiller.transform()[0],
        **{f"adam {name}": value for name, value in distiller._run.state.slots.items()},
        "loss": history["loss"],
        "start": history["start"],
        "seed": distiller.distilled_.recipe.seed,
    }


def fit(group, folder):
    """Do a whole run, and evaluate it."""
    distiller = quick(folder / "whole.npz", validation_fraction=0.3, validation_interval=2)
    distiller.set_params(verbose=2).fit(*table())
    result = distiller.evaluate(*table())
    judged = [value for value in distiller.history_["validation_accuracy"] if value is not None]
    recipe = replace(distiller.distilled_.recipe, learning_rate=1e30)
    spoiled = evaluate(replace(distiller.distilled_, recipe=recipe), *table(), architecture=tiny)
    return {
        **seen(distiller),
        "curve": result.curve,
        "judged": judged,
        "diverged": (spoiled.n_diverged, spoiled.mean),
    }


def resume(group, folder):
    """Stop by a callback, and go on from the file that the first process wrote."""
    callback = StopAfter(2)
    first = quick(folder / "resumed.npz").set_callbacks(callback).fit(*table())
    second = quick(folder / "resumed.npz").fit(*table())
    return {
        **seen(second),
        "whole": quick().fit(*table()).transform()[0],
        "n_iter": first.n_iter_,
        "told": callback.steps,
    }


def no_seed(group, folder):
    """Agree on a seed if none is given."""
    return seen(quick(random_state=None).fit(*table()))


def boosted(group, folder):
    """Build blocks, with a folder of checkpoints."""
    distiller = BoostedDistiller(
        2, block_size=1, distiller=quick(random_state=None), checkpoint=folder / "blocks"
    ).fit(*table())
    return {"X": distiller.transform()[0], "loss": distiller.history_["loss"]}


def other_distiller(group, folder):
    """Do a run of another distiller."""
    distiller = DistributionMatchingDistiller(
        max_iter=3, batch_size=3, architecture=tiny, random_state=0, device="cpu"
    )
    distiller.fit(*table())
    return {"X": distiller.transform()[0], "loss": distiller.history_["loss"]}


def without_networks(group, folder):
    """Do a run of a method without networks, whose labels are learned."""
    distiller = KIPDistiller(
        max_iter=3, batch_size=4, learn_labels=True, random_state=0, device="cpu"
    ).fit(*table())
    return {"X": distiller.transform()[0], "y": distiller.transform()[1]}


def from_experts(group, folder):
    """Do a run from experts that one process keeps, with a learned rate."""
    distiller = TrajectoryMatchingDistiller(
        max_iter=3, batch_size=4, architecture=tiny, n_experts=1, epoch_steps=2, random_state=0,
        syn_steps=2, cache=folder / "experts", learn_labels=True, device="cpu",
    ).fit(*table())  # fmt: skip
    return {
        "X": distiller.transform()[0],
        "loss": distiller.history_["loss"],
        "rate": distiller.distilled_.recipe.learning_rate,
    }


def all_that_is_learned(group, folder):
    """Learn labels and bases from samples drawn by hardness; stop, and go on from the file."""
    options = {
        "ipc": 2,
        "parametrization": LinearBasis(3),
        "learn_labels": True,
        "sampler": HardnessSampler(n_networks=2, steps=2, renew_every=1),
        "max_iter": 10,
    }
    whole = quick(**options).fit(*table())
    first = quick(folder / "learned.npz", **options).set_callbacks(StopAfter(8)).fit(*table())
    second = quick(folder / "learned.npz", **options).fit(*table())
    return {
        **seen(second),
        "whole": whole.transform()[0],
        "n_iter": first.n_iter_,
        "scores": second._run.state.method["sampler"]["scores"],
    }


def networks_of_a_pool(group, folder):
    """Learn through a pool of networks, all of which are replaced; stop, and go on."""
    options = {"ipc": 2, "pool_size": 2, "pool_max_age": 2, "max_iter": 10}

    def make(path=None):
        return FRePoDistiller(
            **options, batch_size=4, architecture=tiny, random_state=0, checkpoint=path,
            device="cpu",
        )  # fmt: skip

    whole = make().fit(*table())
    first = make(folder / "pool.npz").set_callbacks(StopAfter(6)).fit(*table())
    second = make(folder / "pool.npz").fit(*table())
    pool = second._run.state.method["pool"]
    return {
        "X": second.transform()[0],
        "whole": whole.transform()[0],
        "loss": second.history_["loss"],
        "n_iter": first.n_iter_,
        "pool": np.stack([network["slots"] for network in pool["networks"].values()]),
        "n_replaced": pool["n_too_old"],
    }


# --- what goes wrong --------------------------------------------------------------------------


def other_data(group, folder):
    """Pass other data in each process."""
    X, y = table()
    quick().fit(X + group.rank, y)


def first_refuses(group, folder):
    """Fail only in the first process."""
    quick(folder / "missing" / "run.npz").fit(*table())


def in_third_step(group, action):
    """Do something in the third outer step of the second process."""
    return OuterStep(at=3, do=lambda state: action()) if group.rank == 1 else nullcontext()


def lost(group, folder):
    """Lose the second process in the third step."""
    with in_third_step(group, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        quick(folder / "lost.npz").fit(*table())


def hangs(group, folder):
    """Have the second process hang in the third step."""
    with in_third_step(group, lambda: time.sleep(60)):
        quick(folder / "hangs.npz").fit(*table())


def not_a_number(group, folder):
    """Have the second process's gradient be not finite."""
    gradient = Unrolled.gradient

    def spoiled(self, problem, synthetic, state, step):
        found, state = gradient(self, problem, synthetic, state, step)
        factor = float("nan") if group.rank and step == 1 else 1.0
        return replace(found, X=found.X * factor), state

    Unrolled.gradient = spoiled
    try:
        distiller = quick().fit(*table())
    finally:
        Unrolled.gradient = gradient
    return {**seen(distiller), "skipped": distiller.history_["skipped"]}


def gave_up(group, folder):
    """Go on from the file of a run that ended because nothing was finite; again nothing is."""
    text = []
    path = folder / "gave_up.npz"
    # Only the first process needs to know the file.
    for checkpoint in (path, path if group.rank == 0 else None):
        with OuterStep.spoil(lambda step: True):
            try:
                quick(checkpoint, max_iter=20).fit(*table())
            except DivergenceError as error:
                text.append(str(error))
    return {"text": text}


def warm_start(group, folder):
    """Go on with data of another mean."""
    distiller = quick(max_iter=2, warm_start=True).fit(*table())
    before, (X, y) = distiller.transform()[0], table()
    distiller.set_params(max_iter=4, learning_rate=1e-12).fit(1.5 * X + 1, y)
    return {**seen(distiller), "before": before}


# --- processes --------------------------------------------------------------------------------

TOGETHER = [
    engine, fit, resume, no_seed, boosted, other_distiller, without_networks, from_experts,
    all_that_is_learned, networks_of_a_pool, not_a_number, gave_up, warm_start,
    other_data, first_refuses,
]  # fmt: skip


def rank_of(rank, scenarios, folder, port):
    """Be one rank of some scenarios."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="none",
    )  # fmt: skip
    if hangs in scenarios:
        dist.init_process_group("gloo", timeout=timedelta(seconds=2))
    for scenario in scenarios:
        name = f"{scenario.__name__}-{rank}"
        with open(folder / f"{name}.out", "w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        try:
            np.savez(folder / f"{name}.npz", **scenario(join_group(), folder))
        except Exception:
            (folder / f"{name}.txt").write_text(traceback.format_exc())
        sys.stdout.flush()


def free_port():
    """Return a free port."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fork(scenarios, folder):
    """Fork two ranks, and wait for the first."""
    port, pids = free_port(), []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                rank_of(rank, scenarios, folder, port)
            finally:
                os._exit(0)
        pids.append(pid)
    os.waitpid(pids[0], 0)
    if hangs in scenarios:
        os.kill(pids[1], signal.SIGKILL)
    os.waitpid(pids[1], 0)


def main(folder):
    """Go through all scenarios."""
    torch.set_num_threads(1)
    for scenarios in (TOGETHER, [lost], [hangs]):
        fork(scenarios, Path(folder))
