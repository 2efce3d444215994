"""Other users of the machine: processes without root's rights, and a directory where all of them may write."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ALICE, MALLORY, GROUP = 64001, 64002, 64100


@pytest.fixture
def commons() -> Iterator[Path]:
    """As /tmp is: everybody may write, and nobody remove what is another's."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    directory = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))  # where nobody is kept out further up
    directory.chmod(0o1777)
    yield directory
    shutil.rmtree(directory)


def as_user(user: int, call: Callable[[], object], *, groups: tuple[int, ...] = (), umask: int = 0o022) -> str:
    """What a call returns in a process of another user: its `str`, or the name and text of what it raised.

    The modules that it needs have to be imported before: that user need not be able to read them.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setgroups(groups)
            os.setgid(groups[0] if groups else user)
            os.setuid(user)
            os.umask(umask)
            try:
                said = str(call())
            except Exception as error:  # noqa: BLE001  # told to the test
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
