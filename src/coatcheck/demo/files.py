"""Which files are passed on, and who hands in which."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coatcheck.cli.files import LocalFile, regular_files

from .checks import DemoError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHARED: Final = 4  # every so manieth file of a producer is handed in by the next one, too
_LARGEST: Final = 64 * 1024 * 1024  # bytes: what a store takes
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


def source_directory(given: Path | None) -> Path:
    """The directory to take files from: the given one or Python's standard library.

    Raises:
        DemoError: It is no directory.
    """
    directory = Path(sysconfig.get_path("stdlib")) if given is None else given
    if not directory.is_dir():
        raise DemoError(f"{directory} is not a directory")
    return directory


def choose(directory: Path, *, modules_only: bool, count: int, seed: int) -> list[LocalFile]:
    """Up to `count` files of a directory, in random order; the same for the same seed.

    Args:
        directory: Where to look.
        modules_only: Only `.py` and `.pyc`, and none of installed packages.
        count: How many at most.
        seed: Chooses and orders.
    """
    found = regular_files(directory, skip=_INSTALLED if modules_only else frozenset())
    wanted = [
        file for file in found if file.size <= _LARGEST and (not modules_only or file.path.suffix in (".py", ".pyc"))
    ]
    return random.Random(seed).sample(wanted, min(count, len(wanted)))  # noqa: S311  # a choice, not a secret


def deal(files: Sequence[LocalFile], producers: int) -> list[list[LocalFile]]:
    """What each producer hands in: its part, and a share of the next one's, so that runs have contents in common."""
    parts = [files[i::producers] for i in range(producers)]
    return [[*part, *parts[(i + 1) % producers][::_SHARED]] for i, part in enumerate(parts)]
