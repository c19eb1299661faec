"""An accelerator without one: tensors that claim a device, computed on the CPU.

A tensor on the wrong device, double precision on a device that has none, a copy that does not fit
into the device's memory, and a host that waits for the device are what tests on a CPU do not see.
Here each of them is an error, or is counted.

The device is torch's ``"meta"``: every part of torch knows it, autograd among them, and torch has
nothing for it that could compute a result by accident. So nothing of the process has to be changed,
as it has for a backend that is registered: the device is there inside the ``with`` alone, in one
thread.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "meta"

# What has to know a result before the host can go on: a size, a value, or whether it went well.
_WAITS = {
    "_linalg_eigh",
    "_local_scalar_dense",
    "_unique2",
    "allclose",
    "bincount",
    "equal",
    "masked_select",
    "multinomial",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
# What takes no tensor of the host's, not even one of a single number.
_STRICT = {"cat", "stack"}


class SimulatedTensor(torch.Tensor):
    """A tensor on the simulated device.

    Parameters
    ----------
    inner : Tensor
        What it holds, on the CPU.
    device : SimulatedDevice
    """

    @staticmethod
    def __new__(cls, inner: torch.Tensor, owner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=NAME,
        )

    def __init__(self, inner: torch.Tensor, owner):
        self.inner, self.owner = inner, owner

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        """Compute outside of the ``with``, as a tensor of a GPU's can be asked anywhere."""
        owner = next(x.owner for x in tree_leaves((args, kwargs)) if isinstance(x, cls))
        return owner.compute(function, args, kwargs or {})

    def tolist(self):
        """Return nested lists, which waits."""
        return self.cpu().tolist()

    def numpy(self, **kwargs):
        """Raise the error that a GPU's tensor raises."""
        raise TypeError(
            "can't convert a tensor of the simulated device to numpy. Use Tensor.cpu()."
        )

    def __repr__(self, **kwargs):
        return f"SimulatedTensor({self.inner})"


class _Values(TorchFunctionMode):
    """Bring values to the device by a copy, where torch would make a meta tensor without any."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.Tensor.new_tensor:
            like, *args = args
            function, kwargs = torch.tensor, {"dtype": like.dtype, "device": like.device, **kwargs}
        if function in (torch.tensor, torch.as_tensor):
            device = kwargs.pop("device", None)
            out = function(*args, **kwargs)
            return out if device is None else out.to(device)
        return function(*args, **kwargs)


class SimulatedDevice(TorchDispatchMode):
    """An accelerator that is simulated inside a ``with``.

    Parameters
    ----------
    has_float64 : bool, default=False
        Whether it computes in double precision. Apple's GPUs do not.
    memory : int or None, default=None
        Bytes of the largest tensor that it holds; None is any.

    Attributes
    ----------
    waits : list of str
        What made the host wait for the device.
    sent : list of (int, bool)
        Bytes of each copy to the device, and whether it came from pinned memory, which alone lets
        it go on while the host does.
    """

    def __init__(self, has_float64: bool = False, memory: int | None = None):
        super().__init__()
        self._has_float64, self._memory = has_float64, memory
        self._pinned: set[int] = set()
        self._values = _Values()
        self.waits: list[str] = []
        self.sent: list[tuple[int, bool]] = []

    def __enter__(self):
        self._values.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        return self._values.__exit__(*error)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return self.compute(function, args, kwargs or {})

    def compute(self, function, args: tuple, kwargs: dict):
        """Compute an operation on the CPU, as the device would or would not."""
        name = function.overloadpacket.__name__
        if name == "_pin_memory":
            return self._pin(args[0])
        if name == "is_pinned":
            return self._is_pinned(args[0])
        here, hosts = self._tensors(args, kwargs)
        device = kwargs.get("device")
        made_here = device is not None and torch.device(device).type == NAME
        if kwargs.get("pin_memory"):
            return self._pin(function(*args, **{**kwargs, "pin_memory": False}))
        if not here and not made_here:
            return function(*args, **kwargs)
        if name == "_to_copy":
            return self._copy(args[0], made_here or device is None, kwargs)
        if name == "copy_":
            return self._copy_into(*args, **kwargs)
        self._check(name, function, args, hosts)
        inner = dict(tree_map(_inner, kwargs))
        if made_here:
            inner["device"] = "cpu"
        out = function(*tree_map(_inner, args), **inner)
        out = tree_map(self._wrapped, out)
        return out if made_here else return_and_correct_aliasing(function, args, kwargs, out)

    def _tensors(self, args, kwargs) -> tuple[list, list]:
        """Return the tensors of this device, and those of the host, or raise for others."""
        here, hosts = [], []
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, SimulatedTensor):
                here.append(x)
            elif isinstance(x, torch.Tensor):
                if x.device.type != "cpu":
                    raise RuntimeError(f"a tensor on {x.device} was not made by the device")
                hosts.append(x)
        return here, hosts

    def _check(self, name: str, function, args, hosts: list) -> None:
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            # An index may be the host's, or a mask: both wait.
            for i in args[1]:
                if isinstance(i, torch.Tensor):
                    if not isinstance(i, SimulatedTensor):
                        self.waits.append(f"{name}: an index of the host's")
                    elif i.dtype == torch.bool:
                        self.waits.append(f"{name}: a mask")
            hosts = [x for x in hosts if all(x is not i for i in args[1])]
        elif name in _WAITS:
            self.waits.append(name)
        if any(x.dim() > 0 or name in _STRICT for x in hosts):
            raise RuntimeError(f"{function}: tensors of the device and of the host meet")

    def _copy(self, x: torch.Tensor, to_here: bool, kwargs: dict):
        options = {"non_blocking": False, **kwargs, "device": "cpu"}
        is_here = isinstance(x, SimulatedTensor)
        if is_here and not to_here:
            self.waits.append("a copy to the host")
        if to_here and not is_here:
            self._send(x, options["non_blocking"])
        out = torch.ops.aten._to_copy(_inner(x), **options)
        # Values are sent as they are then: the host may change its own at once.
        return self._wrapped(out) if to_here else out

    def _copy_into(self, target: torch.Tensor, x: torch.Tensor, non_blocking: bool = False):
        if not isinstance(target, SimulatedTensor):
            self.waits.append("a copy to the host")
        elif not isinstance(x, SimulatedTensor):
            self._send(x, non_blocking)
        _inner(target).copy_(_inner(x))
        return target

    def _send(self, x: torch.Tensor, non_blocking: bool) -> None:
        self.sent.append((x.nbytes, self._is_pinned(x)))
        if not non_blocking:
            self.waits.append("a copy to the device")

    def _wrapped(self, x):
        if not isinstance(x, torch.Tensor):
            return x
        if x.dtype == torch.float64 and not self._has_float64:
            raise TypeError("the device has no double precision")
        if self._memory is not None and x.nbytes > self._memory:
            raise torch.OutOfMemoryError(f"the device has no room for {x.nbytes} bytes")
        return SimulatedTensor(x, self)

    def _pin(self, x: torch.Tensor) -> torch.Tensor:
        # A storage's address stays its own as long as someone holds it: it is enough for a test.
        x = x.clone()
        self._pinned.add(x.untyped_storage().data_ptr())
        return x

    def _is_pinned(self, x: torch.Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self._pinned


def _inner(x):
    return x.inner if isinstance(x, SimulatedTensor) else x
