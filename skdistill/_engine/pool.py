"""Networks of different ages that are trained on the synthetic set while it is learned.

A network that is trained from scratch in each outer step costs a whole training, and a single one
that is kept gets older and older, so that the set is learned for one network of one age. A pool has
networks of all ages: an outer step draws one, and trains it on; whoever is too old is replaced by a
fresh one [Zhou22, section 3.2].

A pool is a value with pure functions of its state, which holds the networks: nested dictionaries of
JSON values and tensors. What is drawn is a function of the run's seed and the outer step, so a run
resumes exactly. All processes of a run draw the same and train the same networks, whose states are
therefore one: the first process saves it for all.

[Zhou22]: Y. Zhou, E. Nezhadarya and J. Ba, "Dataset Distillation using Neural Feature Regression",
NeurIPS 2022; its code is ``lib/datadistillation/frepo.py`` of github.com/yongchaoz/FRePo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from .methods.base import Augmentation, State
from .steps import Steps
from .streams import Streams
from .transfer import to_device

# The states of a network while it is trained: the old one, the new one, gradients.
_MORE = 3
_COUNTS = ("n_too_old", "n_diverged")


@dataclass(frozen=True, eq=False)
class Pool:
    """Networks of different ages.

    Parameters
    ----------
    steps : Steps
        How the networks are trained: their family, their loss, their optimizer.
    size : int
        How many networks there are.
    max_age : int
        Steps of training after which a network is too old.
    batch_size : int or None, default=None
        Synthetic samples in a step of training, if there are more: each once per epoch, in random
        order. None for all.
    augmentation : Augmentation or None, default=None
        How they are changed in each step.
    """

    steps: Steps
    size: int
    max_age: int
    batch_size: int | None = None
    augmentation: Augmentation | None = None

    def init(self, rngs: Streams) -> State:
        """Return the state of a new pool.

        No network is trained, but they count as if they had ages spread evenly up to `max_age`:
        they get too old one after the other, and from then on their ages differ.
        """
        spread = self.max_age // self.size
        networks = {str(k): self._fresh(rngs, k, age=spread * k) for k in range(self.size)}
        return {"networks": networks, **dict.fromkeys(_COUNTS, 0)}

    def draw(self, rngs: Streams, step: int) -> int:
        """Return which network an outer step has."""
        return int(rngs.numpy("pool", step).integers(self.size))

    def network(self, state: State, k: int) -> Tensor:
        """Return the parameters of a network."""
        return state["networks"][str(k)]["slots"][0]

    def age(self, state: State, k: int) -> int:
        """Return the age of a network."""
        return state["networks"][str(k)]["age"]

    def advance(
        self, state: State, k: int, X: Tensor, y: Tensor, rngs: Streams, step: int, n_steps: int = 1
    ) -> State:
        """Return the state after a network was trained or, if it is too old, replaced.

        Parameters
        ----------
        state : dict
        k : int
            Which network.
        X, y : Tensor
            The synthetic samples and their labels.
        rngs : Streams
        step : int
            The outer step.
        n_steps : int, default=1
            Steps of training.

        Returns
        -------
        state : dict
            If training made parameters or moments that are not finite, the network is replaced, and
            counted as one that diverged.
        """
        batches = self._batches(X, y, rngs.torch("pool batch", step))
        return self.train(state, k, batches, rngs, step, n_steps)

    def train(
        self,
        state: State,
        k: int,
        batches: Iterator[tuple[Tensor, Tensor]],
        rngs: Streams,
        step: int,
        n_steps: int,
    ) -> State:
        """Return the state after a network was trained on these samples, or replaced: `advance`.

        Parameters
        ----------
        state, k, rngs, step, n_steps
            As for `advance`.
        batches : iterator of (Tensor, Tensor)
            Samples and labels of each step of training, which all processes of a run must share.
            None is asked for if the network is replaced.
        """
        network = state["networks"][str(k)]
        if network["age"] > self.max_age:
            return _replaced(state, k, self._fresh(rngs, self.size + step), "n_too_old")
        slots, done = network["slots"], network["n_steps"]
        changes = rngs.torch("pool augmentation", step)
        for t, (X, y) in zip(range(done + 1, done + n_steps + 1), batches):
            slots = self.steps.forward(slots, self._augmented(X, changes), y, t)
        if not torch.isfinite(slots).all().item():
            return self.diverged(state, k, rngs, step)
        older = {"slots": slots, "n_steps": done + n_steps, "age": network["age"] + n_steps}
        return _with(state, k, older)

    def diverged(self, state: State, k: int, rngs: Streams, step: int) -> State:
        """Return the state after a network that diverged was replaced by a fresh one."""
        fresh = self._fresh(rngs, self.size + step)
        # In one outer step the network of the step before may have been replaced, and then the one
        # that is drawn, perhaps the same again: it must not be what the first has become. (Looking
        # waits for the device; that is why it is here alone.)
        if any(torch.equal(fresh["slots"], each["slots"]) for each in state["networks"].values()):
            fresh = self._fresh(rngs, self.size + step, purpose="second pool network")
        return _replaced(state, k, fresh, "n_diverged")

    def n_bytes(self) -> int:
        """Return the bytes of a state, and of what a step of training makes beside it."""
        learner = self.steps.learner
        n_slots = self.steps.optimizer.n_slots
        return (self.size + _MORE) * n_slots * learner.n_parameters * learner.dtype.itemsize

    def check(self, state: State) -> None:
        """Raise ValueError unless a state, which may come from a file, is one of this pool."""
        good = all(_is_count(state.get(name)) for name in _COUNTS)
        _require(good, "pool must count the networks that it has replaced", state.keys())
        networks, names = state.get("networks"), [str(k) for k in range(self.size)]
        good = isinstance(networks, dict) and networks.keys() == set(names)
        _require(good, f"pool must have {self.size} networks", networks)
        assert isinstance(networks, dict)
        learner = self.steps.learner
        shape = (self.steps.optimizer.n_slots, learner.n_parameters)
        for name, network in networks.items():
            parts = {"slots", "n_steps", "age"}
            good = isinstance(network, dict) and network.keys() == parts
            _require(good, f"pool's network {name} must have {sorted(parts)}", network)
            slots, done, age = network["slots"], network["n_steps"], network["age"]
            good = isinstance(slots, Tensor) and (*slots.shape, slots.dtype) == (
                *shape,
                learner.dtype,
            )
            words = f"{learner.dtype} of shape {shape}"
            _require(good, f"pool's network {name} must have slots of {words}", type(slots))
            good = bool(torch.isfinite(slots).all()) and bool((slots[2:] >= 0).all())
            words = "finite slots, with second moments that are not negative"
            _require(good, f"pool's network {name} must have {words}", "others")
            good = _is_count(done) and _is_count(age) and done <= age
            _require(good, f"pool's network {name} must have an age of its steps", (done, age))

    def _fresh(
        self, rngs: Streams, number: int, age: int = 0, purpose: str = "pool network"
    ) -> State:
        # The first numbers are those of the networks with which a pool begins.
        theta = self.steps.learner.init(rngs.integer(purpose, number))
        return {"slots": self.steps.optimizer.init(theta), "n_steps": 0, "age": age}

    def _augmented(self, X: Tensor, generator: torch.Generator) -> Tensor:
        if self.augmentation is None:
            return X
        draws = self.augmentation.draw(generator, len(X), tuple(X.shape[1:]))
        return self.augmentation.apply(X, to_device(draws, X.device, X.dtype))

    def _batches(
        self, X: Tensor, y: Tensor, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches without end: every sample once per epoch, in a new random order."""
        if self.batch_size is None or len(X) <= self.batch_size:
            yield from repeat((X, y))
        while True:
            for rows in torch.randperm(len(X), generator=generator).split(self.batch_size):
                rows = rows.to(X.device)
                yield X[rows], y[rows]


def _replaced(state: State, k: int, fresh: State, count: str) -> State:
    """Return a state with a fresh network ``k``, counted."""
    return {**_with(state, k, fresh), count: state[count] + 1}


def _with(state: State, k: int, network: State) -> State:
    """Return a state with another network ``k``; the others are shared, not copied."""
    return {**state, "networks": {**state["networks"], str(k): network}}


def _is_count(value) -> bool:
    return type(value) is int and value >= 0


def _require(good: bool, words: str, value: object) -> None:
    if not good:
        raise ValueError(f"its {words}; got {value!r:.200}.")
