"""Attention that can be differentiated twice, as a meta-gradient needs it.

The fused kernels of torch have no second derivative. Its switches for them
(`torch.nn.attention.sdpa_kernel`) belong to the whole process, and would slow what other threads
compute; `torch.nn.MultiheadAttention` takes matrix products of its own accord if it is asked for
its weights.
"""

from typing import Any

from torch import nn

__all__ = ["without_fused_attention"]


def without_fused_attention(module: nn.Module) -> None:
    """Let torch's layers of attention in a network compute by matrix products."""
    for layer in module.modules():
        is_torchs = type(layer).forward is nn.MultiheadAttention.forward
        if isinstance(layer, nn.MultiheadAttention) and is_torchs:
            layer.register_forward_pre_hook(_asks_for_weights, with_kwargs=True)


def _asks_for_weights(layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
    # query, key, value, key_padding_mask, need_weights
    needs_weights = args[4] if len(args) > 4 else kwargs.get("need_weights", True)
    if needs_weights:
        return args, kwargs
    if len(args) > 4:
        args = (*args[:4], True, *args[5:])
    else:
        kwargs = {**kwargs, "need_weights": True}
    if len(args) <= 6:
        # Nobody wants their mean over the heads.
        kwargs = {**kwargs, "average_attn_weights": False}
    return args, kwargs
