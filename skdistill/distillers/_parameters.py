"""Each parameter of an estimator declared once: default, constraint, text, whether it may change.

A class lists its parameters as fields, and says ``{parameters}`` in its docstring where they go::

    class Shrink(Parameters, BaseEstimator):
        factor: float = param(
            default=0.5,
            constraints=[Interval(Real, 0, 1, closed="neither")],
            kind="float",
            doc="By how much.",
        )

Its ``__init__`` (keyword-only, except for a field with ``kw_only=False``), the constraints that
scikit-learn checks, and the text of its docstring are made from these. A subclass has all of its
parent's parameters, and declares those that it adds or gives another default or text; what such a
declaration leaves out is the parent's::

    class Halve(Shrink):
        factor: float = param(default=0.1, doc="By how much, at first.")
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from inspect import get_annotations
from textwrap import fill, indent
from typing import Any, ClassVar, dataclass_transform

__all__ = ["Parameters", "may_change", "param"]

_PLACE = "{parameters}"
_WIDTH = 100


def param(
    *,
    default: Any = MISSING,
    constraints: Sequence[Any] | None = None,
    kind: str | None = None,
    doc: str,
    may_change: bool = False,
    kw_only: bool = True,
) -> Any:
    """Declare a parameter.

    Parameters
    ----------
    default : object
    constraints : sequence or None, default=None
        The allowed values, in the form of scikit-learn's ``_parameter_constraints``. None takes
        those of the parent, with `kind`, `may_change` and `kw_only`.
    kind : str or None, default=None
        The same in words, in numpydoc's form: ``float or "auto"``.
    doc : str
        What the parameter means, in full sentences.
    may_change : bool, default=False
        Whether a run may be resumed with another value, because its samples do not depend on it.
    kw_only : bool, default=True
        Whether it must be passed by its name.
    """
    metadata = {"constraints": constraints, "kind": kind, "doc": doc, "may_change": may_change}
    return field(default=default, kw_only=kw_only, metadata=metadata)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(param,))
class Parameters:
    """Base of estimators whose parameters are fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    _parameter_constraints: ClassVar[dict[str, Any]]
    # What else docstrings of subclasses share, by the word that stands in its place.
    _texts: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "__init__" in vars(cls):
            raise TypeError(
                f"{cls.__name__} must declare its parameters as fields (name: type = param(...)), "
                "from which its __init__ is made; it has an __init__ of its own."
            )
        # Of the nearest parent that has it.
        parents = [b for b in reversed(cls.__mro__[1:]) if is_dataclass(b)]
        inherited = {f.name: f for parent in parents for f in fields(parent)}
        # Without its type it is no field, and the parent's default would hold.
        untyped = inherited.keys() & (vars(cls).keys() - get_annotations(cls).keys())
        for name in inherited.keys() & vars(cls).keys():
            setattr(cls, name, _completed(vars(cls)[name], inherited[name]))
        dataclass(eq=False, repr=False)(cls)
        declared = {f.name for f in fields(cls) if f.metadata.get("constraints") is not None}
        wrong = untyped | (inherited.keys() | {f.name for f in fields(cls)}) - declared
        if wrong:
            raise TypeError(
                f"{cls.__name__} must declare its parameters as fields (name: type = param(...)); "
                f"{', '.join(sorted(wrong))} is declared in another way."
            )
        cls._parameter_constraints = {f.name: f.metadata["constraints"] for f in fields(cls)}
        if cls.__doc__:
            entries = "\n".join(map(_entry, fields(cls)))
            for place, text in {_PLACE: entries, **cls._texts}.items():
                cls.__doc__ = _filled(cls.__doc__, place, text)
        # Only now, because scikit-learn reads the signature of __init__.
        super().__init_subclass__(**kwargs)


def _completed(value: Any, parent: Field[Any]) -> Any:
    """Return a field that leaves its constraints out with what it has of the parent's."""
    if not isinstance(value, Field) or value.metadata.get("constraints", ()) is not None:
        return value
    metadata = {**parent.metadata, "doc": value.metadata["doc"]}
    return field(default=value.default, kw_only=parent.kw_only, metadata=metadata)


def _filled(docstring: str, place: str, text: str) -> str:
    """Return a docstring with a text, indented as it is there, where ``place`` stands."""
    # Python 3.13 takes the indentation out of docstrings, earlier versions leave it.
    before = docstring.partition(place)[0].rpartition("\n")[2]
    return docstring.replace(before + place, indent(text, before))


def may_change(estimator: Parameters) -> set[str]:
    """Return the names of the parameters that may differ when a run is resumed."""
    return {f.name for f in fields(estimator) if f.metadata["may_change"]}


def _entry(f: Field[Any]) -> str:
    """Return a parameter's entry in numpydoc's section."""
    text = f"{f.name} : {f.metadata['kind']}"
    if f.default is not MISSING:
        default = json.dumps(f.default) if isinstance(f.default, str) else repr(f.default)
        text += f", default={default}"
    doc = fill(
        " ".join(f.metadata["doc"].split()),
        _WIDTH - 8,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{text}\n" + indent(doc, " " * 4)
