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
            if isinstance(method, griffe.Function):
                if method.docstring is not None and method.docstring.value.startswith("See `"):
                    method.docstring.value = inspect.getdoc(_running(method)) or ""
                if str(method.parameters[-1].annotation) == "Unpack[StoreKeywords]":
                    spelled_out = inspect.signature(_running(method)).parameters.values()
                    method.parameters = griffe.Parameters(*map(_parameter, spelled_out))


def _running(method: griffe.Function) -> Any:
    """The same method in the package that runs."""
    assert method.parent is not None
    class_ = getattr(importlib.import_module(method.module.path), method.parent.name)
    return getattr(class_, method.name)


def _parameter(said: inspect.Parameter) -> griffe.Parameter:
    return griffe.Parameter(
        said.name,
        annotation=None if said.annotation is said.empty else str(said.annotation),
        kind=griffe.ParameterKind[said.kind.name.lower()],
        default=None if said.default is said.empty else repr(said.default),
    )
