"""Callers' data as NumPy arrays. Imports neither torch nor scikit-learn."""

import sys
from typing import Any

import numpy as np

__all__ = ["LARGEST", "LARGEST_REAL", "SMALLEST", "as_array"]

# Networks compute in single precision: the difference of two such values is still finite there.
LARGEST = 1e38
# Synthetic samples move beyond the real ones, and must not be larger than the above to be saved.
LARGEST_REAL = LARGEST / 10
# The smallest normal number there: a smaller standard deviation or weight may be 0.
SMALLEST = float(np.finfo(np.float32).tiny)


def as_array(X: Any) -> Any:
    """Return a torch tensor as an array on the CPU, and almost anything else as it is.

    Labels of NumPy's StringDType become objects, which scikit-learn takes, and samples text, which
    it refuses.

    A torch dataset or data loader, a Hugging Face dataset, a lazy frame or a tensor that NumPy
    cannot take (on the meta device, sparse, nested, quantized) raises a TypeError.
    """
    if type(X).__name__ == "LazyFrame":
        raise TypeError(
            "X and y must be arrays, frames or series; got a LazyFrame, which has no rows yet. "
            "Call its .collect()."
        )
    # Whoever passes a torch dataset has imported torch.
    data = sys.modules.get("torch.utils.data")
    is_torchs = data is not None and isinstance(X, data.Dataset | data.DataLoader)
    is_hugging_faces = type(X).__module__.startswith("datasets.") and hasattr(X, "with_format")
    if is_torchs or is_hugging_faces:
        raise TypeError(
            f"X must be an array, a DataFrame or a tensor, and y its labels; got a "
            f"{type(X).__name__}. Use X, y = skdistill.datasets.from_torch(dataset, "
            "return_X_y=True)."
        )
    if isinstance(X, np.ndarray) and X.dtype.kind == "T":
        return X.astype(object) if X.ndim == 1 else np.array(X.tolist())
    # A frame may have a column, and a series a row, of any name as an attribute.
    if not callable(getattr(X, "detach", None)):
        return X
    try:
        X = X.detach().cpu().resolve_conj().resolve_neg()
        # NumPy has no bfloat16.
        return (X.float() if str(X.dtype) == "torch.bfloat16" else X).numpy()
    except (TypeError, RuntimeError) as error:
        # On the meta device, nested, sparse, quantized, or of eight bits.
        raise TypeError(
            "X, y and weights must be dense tensors with values, of a type that NumPy has; got a "
            f"{type(X).__name__} of {X.dtype} on {X.device} ({str(error).splitlines()[0]}). Take "
            ".to_dense() of a sparse one, .dequantize() of a quantized one, .float() of small "
            "floats."
        ) from error
