"""How the dtype of a table's column is written as JSON.

It is pandas' name for numbers or booleans ("int64", "Int64", "bool"), ``{"categories": [...],
"ordered": bool}``, or None for anything else.
"""

import re
from math import isfinite
from typing import Any

__all__ = ["NUMERIC", "Dtypes", "is_plain_category", "is_plain_dtype"]

# Of all columns of a table.
Dtypes = tuple[str | dict[str, Any] | None, ...]

NUMERIC = re.compile(r"(u?int|UInt|Int)(8|16|32|64)|(float|Float)(16|32|64)|bool(ean)?")


def is_plain_dtype(value) -> bool:
    """Return whether a value, which may come from a file, is a dtype in this form."""
    if isinstance(value, dict):
        categories = value.get("categories")
        return (
            value.keys() == {"categories", "ordered"}
            and isinstance(value["ordered"], bool)
            and isinstance(categories, list)
            and all(map(is_plain_category, categories))
            and len(set(categories)) == len(categories)
        )
    return value is None or (isinstance(value, str) and NUMERIC.fullmatch(value) is not None)


def is_plain_category(value) -> bool:
    """Return whether JSON can hold a category."""
    return type(value) in (str, bool, int) or (type(value) is float and isfinite(value))
