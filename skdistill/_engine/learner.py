"""A network as a pure function of one flat parameter vector."""

from collections.abc import Callable
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# torch's layers initialise themselves from the global generator; this lock keeps two threads of
# this package from borrowing it at once.
_GLOBAL_GENERATOR = Lock()


def _build_seeded(factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Call ``factory`` with torch's global CPU generator at ``seed``, and put that back."""
    with _GLOBAL_GENERATOR:
        state = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            return factory()
        finally:
            torch.set_rng_state(state)


def _check_is_pure(module: nn.Module) -> None:
    """Refuse modules whose output depends on more than the parameters and the batch."""
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError("architecture must have trainable parameters; the network built has none.")
    for name, child in module.named_modules():
        if getattr(child, "track_running_stats", False):
            raise ValueError(
                f"architecture must not keep running statistics; layer {name!r} "
                f"({type(child).__name__}) does, and they are no differentiable function of the "
                "synthetic samples. Build it with track_running_stats=False, or use instance or "
                "group normalisation as the paper does."
            )


class Learner:
    """A network family: draw a member's parameters, and evaluate it as a pure function of them.

    Parameters
    ----------
    factory : callable
        Builds a freshly initialised network on the CPU. The network runs in evaluation mode: layers
        with randomness of their own (dropout) are inactive.
    device, dtype
        Where and in which precision the parameters live.
    """

    def __init__(self, factory: Callable[[], nn.Module], device="cpu", dtype=torch.float32):
        self._factory = factory
        self.device = torch.device(device)
        self.dtype = dtype
        module = _build_seeded(factory, 0).eval()
        _check_is_pure(module)
        parameters = dict(module.named_parameters())
        self._names = list(parameters)
        self._shapes = [p.shape for p in parameters.values()]
        self._sizes = [p.numel() for p in parameters.values()]
        self.n_parameters = sum(self._sizes)
        self.module = module.to(device=self.device, dtype=self.dtype)

    def init(self, seed: int) -> Tensor:
        """Return the parameters of a fresh network, the same ones for the same seed."""
        module = _build_seeded(self._factory, seed)
        flat = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
        return flat.to(device=self.device, dtype=self.dtype)

    def logits(self, theta: Tensor, X: Tensor) -> Tensor:
        """Return the class scores ``(n, n_classes)`` of the network with parameters ``theta``."""
        parts = theta.split(self._sizes)
        parameters = {k: p.view(s) for k, p, s in zip(self._names, parts, self._shapes)}
        return torch.func.functional_call(self.module, parameters, (X,))

    def loss(self, theta: Tensor, X: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        """Return the cross-entropy against class indices ``(n,)`` or soft labels."""
        return F.cross_entropy(self.logits(theta, X), y, reduction=reduction)

    def activation_bytes(self, sample_shape: tuple[int, ...]) -> int:
        """Return the bytes that the layers' outputs take for one sample, from a probe run."""
        X = torch.zeros(2, *sample_shape, device=self.device, dtype=self.dtype)
        total = 0

        def count(module, inputs, output):
            nonlocal total
            if isinstance(output, Tensor):
                total += output.numel() * output.element_size()

        leaves = [m for m in self.module.modules() if not any(m.children())]
        handles = [m.register_forward_hook(count) for m in leaves]
        try:
            with torch.no_grad():
                self.module(X)
        finally:
            for handle in handles:
                handle.remove()
        return max(1, total // len(X))
