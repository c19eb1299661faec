"""A network as a pure function of one flat parameter vector."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from .attention import without_fused_attention
from .generators import GLOBAL_GENERATOR
from .settings import float32_by_default, on_the_cpu
from .transfer import to_device


def _build_seeded(factory: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Call ``factory`` with torch's global CPU generator seeded, and restore the generator.

    The network is built on the CPU, where its random numbers come from, and in single precision,
    because the generator gives other numbers for double precision.
    """
    with GLOBAL_GENERATOR, on_the_cpu(), float32_by_default():
        state = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            return factory()
        finally:
            torch.set_rng_state(state)


def _check_is_pure(module: nn.Module) -> None:
    """Refuse modules whose output depends on more than the parameters and the batch.

    And those of which neither that nor a derivative can be told, because they are compiled.
    """
    for name, child in module.named_modules():
        _check_is_plain(name, child)
    if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
        raise ValueError(
            "architecture must give its layers their sizes; the network built has lazy layers, "
            "which know their sizes only after a first batch."
        )
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError("architecture must have trainable parameters; the network built has none.")
    for name, parameter in module.named_parameters():
        _check_is_real(name, parameter)
        if not parameter.requires_grad:
            raise ValueError(
                "architecture must have no parameters that are not trained; the network built has "
                f"{name!r} with requires_grad=False. Make what is fixed a buffer "
                "(register_buffer), the same for every seed."
            )
    for name, child in module.named_modules():
        if isinstance(child, _DropoutNd) and child.p > 0:
            raise ValueError(
                f"architecture must have no dropout; layer {name!r} ({child}) is one, and would be "
                "silently switched off: a step and its derivative must see the same network. "
                "Leave it out, or build it with p=0."
            )
        if getattr(child, "track_running_stats", False):
            raise ValueError(
                f"architecture must not keep running statistics; layer {name!r} "
                f"({type(child).__name__}) does, and they are not a differentiable function of the "
                "synthetic samples. Use instance or group normalization as [Feng23] does, or build "
                "it with track_running_stats=False: predictions then depend on the other samples "
                "of a batch."
            )


def _check_is_real(name: str, parameter: Tensor) -> None:
    """Refuse a parameter of which the flat vector of all would lose a part."""
    if parameter.is_meta:
        raise ValueError(
            "architecture must build its layers with values; the network built has parameter "
            f"{name!r} on the meta device. Leave device='meta' out."
        )
    if parameter.is_complex():
        raise ValueError(
            "architecture must have real parameters; the network built has "
            f"{name!r} of {parameter.dtype}. Make it a real one of shape (..., 2), and take "
            "torch.view_as_complex of it in forward."
        )
    if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
        raise ValueError(
            "architecture must have no hooks on parameters; the network built has one on "
            f"{name!r}, which would never be called: a network gets its parameters with every "
            "call. Multiply in forward instead."
        )


def _check_is_plain(name: str, module: nn.Module) -> None:
    """Refuse a module that torch has compiled."""
    compiled = [kind for kind, is_one in _COMPILED.items() if is_one(module)]
    if compiled:
        which = f"layer {name!r}" if name else "the one built"
        raise ValueError(
            f"architecture must build a plain torch.nn.Module; {which} is compiled by "
            f"{compiled[0]}, and cannot be differentiated twice or with other parameters. Return "
            "it as it was before; a distiller that can compile has a parameter for that, compile."
        )


# By what torch's compilers leave: to import the compiler itself takes a second.
_COMPILED: dict[str, Callable[[nn.Module], bool]] = {
    "torch.jit": lambda module: isinstance(module, torch.jit.ScriptModule),
    "torch.compile": lambda module: (
        "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None
    ),
}


def _stored(parameter: Tensor) -> Tensor:
    """Return a parameter as the flat vector keeps it: a convolution's kernels channels last.

    A convolution takes its memory format from its weights, and channels last is about 1.7 times as
    fast (oneDNN on a CPU, and tensor cores); kept so, it costs no conversion.
    """
    return parameter.movedim(1, -1) if parameter.ndim == 4 else parameter


def _loaded(part: Tensor, shape: torch.Size) -> Tensor:
    """Return a view of a piece of the flat vector, in the shape of the parameter."""
    if len(shape) != 4:
        return part.view(shape)
    n, channels, height, width = shape
    return part.view(n, height, width, channels).movedim(-1, 1)


class Learner:
    """A network family: draw a member's parameters, and evaluate it as a pure function of them.

    Parameters
    ----------
    factory : callable
        Builds a freshly initialized network on the CPU. The network runs in evaluation mode.
    device, dtype
        Where and in which precision the parameters live.
    autocast : torch.dtype or None, default=None
        The precision of convolutions and matrix products, if it differs: `torch.autocast`
        decides what is safe in it.
    twice : bool, default=False
        Whether scores are to have second derivatives, at the price of faster ways to compute them.
    """

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        device="cpu",
        dtype=torch.float32,
        autocast: torch.dtype | None = None,
        twice: bool = False,
    ):
        self._factory = factory
        # Maps scores, labels and a reduction to a loss.
        self.criterion: Callable[..., Tensor] = F.cross_entropy
        self.device = torch.device(device)
        self.dtype = dtype
        self.autocast = autocast
        module = _build_seeded(factory, 0).eval()
        _check_is_pure(module)
        parameters = dict(module.named_parameters())
        self._names = list(parameters)
        self.shapes = [p.shape for p in parameters.values()]
        self.sizes = [p.numel() for p in parameters.values()]
        self.n_parameters = sum(self.sizes)
        self.module = module.to(device=self.device, dtype=self.dtype)
        self._twice = twice
        if twice:
            without_fused_attention(self.module)

    def init(self, seed: int) -> Tensor:
        """Return the parameters of a fresh network, the same ones for the same seed."""
        return self.flat(self.fresh(seed))

    def fresh(self, seed: int) -> nn.Module:
        """Return a fresh network itself, on the CPU, the same one for the same seed."""
        return _build_seeded(self._factory, seed)

    def flat(self, module: nn.Module) -> Tensor:
        """Return the parameters of a network of this family as one vector."""
        flat = torch.cat([_stored(p.detach()).reshape(-1) for p in module.parameters()])
        return to_device(flat, self.device, self.dtype)

    def near(self, theta: Tensor) -> Tensor:
        """Return parameters near these, of which none is zero as those of a last layer may be.

        They are the same ones each time, on all machines.
        """
        steps = torch.arange(1, self.n_parameters + 1, dtype=torch.float64).sin()
        size = theta.std(correction=0).clamp(min=0.01) / 2
        return theta + size * to_device(steps, self.device, self.dtype)

    def probes(self, n: int, sample_shape: tuple[int, ...], seed: int = 0) -> Tensor:
        """Return Gaussian samples on which to try a network, the same ones for the same seed."""
        generator = torch.Generator().manual_seed(seed)
        X = torch.randn(n, *sample_shape, generator=generator, dtype=torch.float32)
        return X.to(device=self.device, dtype=self.dtype)

    def changed(self, change: Callable[[nn.Module], nn.Module]) -> "Learner":
        """Return the family of these networks, each of them changed when it is built."""
        factory = self._factory
        how = self.device, self.dtype, self.autocast, self._twice
        return Learner(lambda: change(factory()), *how)

    def logits(self, theta: Tensor, X: Tensor) -> Tensor:
        """Return the class scores ``(n, n_classes)`` of the network with parameters ``theta``."""
        if self.autocast is None:
            return torch.func.functional_call(self.module, self.parameters(theta), (X,))
        # Without its cache: casts are part of the graph, and a graph is differentiated twice.
        with torch.autocast(self.device.type, self.autocast, cache_enabled=False):
            scores = torch.func.functional_call(self.module, self.parameters(theta), (X,))
        return scores.to(self.dtype)

    def parameters(self, theta: Tensor) -> dict[str, Tensor]:
        """Return the parameters by the names that the network's module has for them."""
        parts = theta.split(self.sizes)
        return {k: _loaded(p, s) for k, p, s in zip(self._names, parts, self.shapes)}

    def loss(self, theta: Tensor, X: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
        """Return the loss against class indices ``(n,)`` or soft labels ``(n, n_classes)``."""
        return self.criterion(self.logits(theta, X), y, reduction=reduction)

    def couples_samples(self, sample_shape: tuple[int, ...]) -> bool:
        """Return whether a sample's scores depend on its batch, as with batch normalization."""
        X = self.probes(4, sample_shape)
        # A last layer of zeros, as a fresh one may be, would hide what comes before it.
        parameters = self.parameters(self.near(self.flat(self.module)))

        def scores(X: Tensor) -> Tensor:
            return torch.func.functional_call(self.module, parameters, (X,))

        with torch.no_grad():
            together, apart = scores(X), torch.cat([scores(X[:2]), scores(X[2:])])
        return not torch.allclose(together, apart, rtol=1e-3, atol=1e-4)

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
