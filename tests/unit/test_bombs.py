"""Small values that claim to be, or unpack to, very large ones: refused in the memory that small ones take.

Measured as the kernel sees it, in a process of its own: what C libraries allocate counts as well.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LIMIT = 16 << 20  # bytes over what the process needed before

PRELUDE = """
import hashlib, re, struct, sys
from pathlib import Path
import xxhash, zstandard
from coatcheck.backends.redis.layout.records import decode_view
from coatcheck.envelope import VERSION, seal, unseal
from coatcheck.errors import CorruptArtifactError

def forged(codec, size, payload):
    signed = struct.pack(">BBQ32s", VERSION, codec, size, bytes(32))
    return signed + xxhash.xxh3_64(payload + signed).digest() + payload

def bomb(declared):
    # A gibibyte of zeros as a zstd frame, whose header then is given the size that we like.
    packer = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    frame = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    assert frame[4] & 0xE0 == 0  # no size, no single segment
    if declared is None:
        return frame
    return frame[:4] + bytes([frame[4] | 0xC0]) + frame[5:6] + declared.to_bytes(8, "little") + frame[6:]

def peak():  # getrusage() would begin with the peak of the parent
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def refused(call):
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = peak()
    try:
        call()
    except CorruptArtifactError as error:
        print(peak() - before, error)
    else:
        sys.exit("it was taken")

text = b"text " * 1000
unseal(b"".join(seal(text, hashlib.sha256(text).digest())), hashlib.sha256(text).digest())  # contexts are made
HEADER = bytes([VERSION]) + bytes(32) + b"1"
"""

BOMBS = {
    "zstd, declares 1 KiB": "sealed = forged(1, 1024, bomb(1024)); refused(lambda: unseal(sealed, bytes(32)))",
    "zstd, frame declares more than the envelope": (
        "sealed = forged(1, 1024, bomb(1 << 30)); refused(lambda: unseal(sealed, bytes(32)))"
    ),
    "zstd, both declare 2**60": (
        "sealed = forged(1, 1 << 60, bomb(1 << 60)); refused(lambda: unseal(sealed, bytes(32)))"
    ),
    "zstd, declares nothing": "sealed = forged(1, 1024, bomb(None)); refused(lambda: unseal(sealed, bytes(32)))",
    "raw, claims 2**60 bytes": "sealed = forged(0, 1 << 60, b'x'); refused(lambda: unseal(sealed, bytes(32)))",
    "msgpack array of 2**32": r"refused(lambda: decode_view('n', HEADER, b'-', bytes(13) + b'\xdd\xff\xff\xff\xff'))",
    "msgpack map of 2**32": r"refused(lambda: decode_view('n', HEADER, b'-', bytes(13) + b'\x92\xc0\xdf\xff\xff\xff\xff'))",
    "msgpack text of 2**32": r"refused(lambda: decode_view('n', HEADER, b'-', bytes(13) + b'\x92\xdb\xff\xff\xff\xffx'))",
    "msgpack nested 10**5 deep": r"refused(lambda: decode_view('n', HEADER, b'-', bytes(13) + b'\x91' * 10**5))",
    "header with a 10**5 digit size": "refused(lambda: decode_view('n', HEADER + b'9' * 10**5, b'-', bytes(13)))",
}


def test_memory_that_is_used_is_seen() -> None:
    honest = (
        "sealed = forged(1, 64 << 20, bomb(None)); refused(lambda: b'x' * (64 << 20) and unseal(sealed, bytes(32)))"
    )
    assert measured(honest)[0] > 60 << 20


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_in_little_memory(bomb) -> None:
    used, message = measured(BOMBS[bomb])
    print(f"{bomb}: {used / 1024:.0f} KiB: {message}")
    assert used < LIMIT


def measured(program: str) -> tuple[int, str]:
    """Bytes that a refusal took at its peak, and what it said."""
    run = subprocess.run(
        [sys.executable, "-c", PRELUDE + program], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    used, message = run.stdout.split(" ", 1)
    return int(used), message
