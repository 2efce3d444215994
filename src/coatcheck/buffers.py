"""Memory for what is about to be received."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO


def _find_maker() -> Callable[[None, int], bytes] | None:
    try:
        import ctypes  # noqa: PLC0415  # some builds of Python lack it

        prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t)
        return prototype(("PyBytes_FromStringAndSize", ctypes.pythonapi))
    except (ImportError, AttributeError):
        return None


_make = _find_maker()


def unfilled(size: int) -> BytesIO:
    """A file of so many bytes, whatever was there before: `bytes(size)` writes zeros, a twelfth of a large load's time.

    Only for what is filled to its end before anybody sees it.
    """
    return BytesIO(bytes(size) if _make is None else _make(None, size))
