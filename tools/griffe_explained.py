"""The reference says what `help` says: see `coatcheck.explained` and `spelled_out`. An extension of Griffe."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe


class Explained(griffe.Extension):
    """Takes from the running package what the source leaves to it."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Look at a class: docstrings that refer to another one, and keywords that are not spelled out."""
        for method in cls.members.values():
            if isinstance(method, griffe.Function) and (_refers(method) or _is_short(method)):
                try:
                    running = getattr(getattr(importlib.import_module(cls.module.path), cls.name), method.name)
                except ImportError:  # an integration whose framework is not installed here
                    continue
                if _refers(method):
                    method.docstring.value = inspect.getdoc(running) or ""  # type: ignore[union-attr]
                if _is_short(method):
                    method.parameters = griffe.Parameters(
                        *map(_parameter, inspect.signature(running).parameters.values())
                    )


def _refers(method: griffe.Function) -> bool:
    return method.docstring is not None and method.docstring.value.startswith("See `")


def _is_short(method: griffe.Function) -> bool:
    """Whether keywords stand in it as `**…: Unpack[…]`, and no docstring says where they are explained."""
    last = method.parameters[-1]
    documented = "" if method.docstring is None else method.docstring.value
    by_class = method.name == "__init__"
    return str(last.annotation).startswith("Unpack[") and f"**{last.name}:" not in documented and not by_class


def _parameter(said: inspect.Parameter) -> griffe.Parameter:
    return griffe.Parameter(
        said.name,
        annotation=None if said.annotation is said.empty else str(said.annotation),
        kind=griffe.ParameterKind[said.kind.name.lower()],
        default=None if said.default is said.empty else repr(said.default),
    )
