"""Writes the pages of the API reference: one per public module, class and function.

What is public: the names in ``__all__`` of every module whose name has no leading underscore.
"""

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path

from generated import write_all

import skdistill


def public_modules() -> dict[str, list[str]]:
    """Return the public names of every public module, ``skdistill`` itself first."""
    names = ["skdistill"]
    names += [f"skdistill.{m.name}" for m in pkgutil.iter_modules(skdistill.__path__)]
    public = [name for name in names if not name.split(".")[-1].startswith("_")]
    return {name: sorted(import_module(name).__all__, key=str.lower) for name in public}


def members(cls: type) -> list[tuple[str, str]]:
    """Return ``(directive, name)`` of the public members of a class that this package defines."""
    found = []
    for name in sorted({name for base in cls.__mro__ for name in vars(base)}):
        home = next(base for base in cls.__mro__ if name in vars(base))
        value = vars(home)[name]
        if name.startswith("_") or not home.__module__.startswith("skdistill"):
            continue
        # scikit-learn makes these for every class that takes part in metadata routing.
        if name.startswith("set_") and name.endswith("_request"):
            continue
        if isinstance(value, property):
            found.append(("autoproperty", name))
        elif inspect.isroutine(value) or isinstance(value, classmethod):
            found.append(("automethod", name))
        elif hasattr(value, "__get__") and callable(getattr(cls, name, None)):
            found.append(("automethod", name))  # of available_if
    return found


def heading(title: str, line: str) -> list[str]:
    """Return a title with its line."""
    return [title, line * len(title), ""]


def object_page(module: str, name: str) -> str | None:
    """Return the page of a class or function; None for a constant, which has no page."""
    value, full = getattr(import_module(module), name), f"{module}.{name}"
    if inspect.isclass(value):
        lines = [*heading(full, "="), f".. autoclass:: {full}", ""]
        for directive, member in members(value):
            lines += [f"   .. {directive}:: {member}", ""]
    elif callable(value):
        lines = [*heading(full, "="), f".. autofunction:: {full}", ""]
    else:
        return None
    return "\n".join(lines)


def constant(module: str, name: str) -> list[str]:
    """Return what a module's page says of a constant."""
    value = getattr(import_module(module), name)
    what = ", ".join(f"``{v!r}``" for v in (value if isinstance(value, dict) else [value]))
    kind = "A dictionary with the keys" if isinstance(value, dict) else "Value:"
    return [f".. py:data:: {module}.{name}", "", f"   {kind} {what}.", ""]


def module_page(module: str, names: list[str]) -> str:
    """Return a module's page: its docstring, and a table of its public names."""
    lines = [f".. py:module:: {module}", "", *heading(module, "=")]
    lines += [inspect.cleandoc(import_module(module).__doc__), ""]
    pages = [name for name in names if object_page(module, name)]
    lines += [f".. currentmodule:: {module}", "", ".. autosummary::", "   :nosignatures:", ""]
    lines += [*(f"   {name}" for name in pages), "", ".. toctree::", "   :hidden:", ""]
    lines += [*(f"   {module}.{name}" for name in pages), ""]
    for name in names:
        if name not in pages:
            lines += constant(module, name)
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write all pages of the reference into a folder, and remove those of names that are gone."""
    pages, homes = {}, public_modules()
    top = set(homes["skdistill"])
    for module, names in homes.items():
        # Names that `skdistill` itself offers have their page there, and no second one.
        own = names if module == "skdistill" else [n for n in names if not is_top(module, n, top)]
        pages[f"{module}.rst"] = module_page(module, own) if own else None
        for name in own:
            pages[f"{module}.{name}.rst"] = object_page(module, name)
    pages = {name: text for name, text in pages.items() if text is not None}
    modules = [module for module in homes if f"{module}.rst" in pages]
    index = [*heading("API reference", "="), INTRODUCTION, ".. toctree::", "   :maxdepth: 1", ""]
    pages["index.rst"] = "\n".join([*index, *(f"   {m}" for m in modules), "", *ENGINE])
    write_all(folder, {name: text + "\n" for name, text in pages.items()})
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()


def is_top(module: str, name: str, top: set[str]) -> bool:
    """Return whether a name of a module is one that ``skdistill`` itself offers."""
    return name in top and getattr(import_module(module), name) is getattr(skdistill, name)


INTRODUCTION = """\
Every public name, module by module. What is imported from ``skdistill`` itself is documented there.
"""
ENGINE = ["The engine is private, and may change; :doc:`/engine` shows it for reading.", ""]
