"""What lies in an artifact's hash: written, read back, and never trusted."""

from __future__ import annotations

import hashlib

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coatcheck.arguments import Details, StoreRequest
from coatcheck.backends.redis.layout.records import (
    FEW,
    decode_head,
    decode_lease,
    decode_view,
    encode_head,
    encode_view,
    latest_of_few,
)
from coatcheck.errors import CorruptArtifactError

HEAD = b"\x01\x00" + hashlib.sha256(b"x").digest() + b"1"
TIMES = (1_700_000_000_000).to_bytes(6) + (1_700_000_000_000_000).to_bytes(7)
text = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary(max_size=50), text, st.none() | text.filter(bool), st.dictionaries(text, text))
def test_what_is_written_is_read_back(content, content_type, run, tags) -> None:
    request = StoreRequest(content, Details(None, content_type, run, tags, None))
    field = b"-" if run is None else b"=" + run.encode()
    view = decode_view(request.artifact_id, encode_head(request), field, TIMES + encode_view(request))
    assert (view.content_type, view.run_id, view.tags, view.size_bytes) == (content_type, run, tags, len(content))
    assert view.digest == hashlib.sha256(content).hexdigest()
    lease = decode_lease(request.artifact_id, field, TIMES + encode_view(request))
    assert (lease.content_type, lease.run_id, lease.tags) == (content_type, run, tags)


@given(st.binary(max_size=80))
@example(HEAD[:34] + b"9" * 10_000)
@example(HEAD[:34] + "\u0663".encode())
def test_a_damaged_head_is_a_typed_error(head) -> None:
    try:
        decode_head(head, "name")
    except CorruptArtifactError as error:
        assert "name" in str(error)  # noqa: PT017
    else:
        assert head[:1] == b"\x01"


def test_the_metadata_of_another_artifact_is_a_typed_error() -> None:
    own = hashlib.sha256(b"x").hexdigest()[:32]
    assert decode_head(HEAD[:1] + b"\x01" + HEAD[2:], own).size == 1
    for head, name in ((HEAD[:1] + b"\x01" + HEAD[2:], "name"), (HEAD, own), (HEAD[:1] + b"\x02" + HEAD[2:], own)):
        with pytest.raises(CorruptArtifactError, match="another"):
            decode_head(head, name)


def lease(deadline: int, created: int) -> bytes:
    return deadline.to_bytes(6) + created.to_bytes(7)


def test_the_latest_of_few_leases_is_shown_where_it_is_surely_live() -> None:
    long, short, later = lease(90, 1), lease(20, 2), lease(90, 3)
    assert latest_of_few([b"h", HEAD, b"=a", short]) == (HEAD, b"=a", short)
    assert latest_of_few([b"=a", short, b"h", HEAD]) == (HEAD, b"=a", short)
    assert latest_of_few([b"=a", long, b"h", HEAD, b"t", b"=c", b"=c", later]) == (HEAD, b"=c", later)
    assert latest_of_few([[b"=a", long], [b"h", HEAD], [b"=c", later]]) == (HEAD, b"=c", later)
    assert latest_of_few([b"=a", long, b"h", HEAD, b"t", b"=b", b"=b", short]) is None  # may have expired
    assert latest_of_few([b"=a", long, b"=c", later]) is None
    fields = [b"h", HEAD]
    for n in range(1, FEW):
        assert latest_of_few(fields) == ((HEAD, fields[-2], fields[-1]) if n > 1 else None)
        fields += [b"=%d" % n, lease(90, n)]
    assert latest_of_few(fields) is None  # there may be more of them


@given(st.binary(max_size=80))
@example(b"\xff\xff\xff\xff\xff\xfe" + bytes(7))
@example(bytes(6) + b"\xff" * 7)
@example(b"\xff" * 13)
def test_a_damaged_lease_is_a_typed_error(value) -> None:
    for decode in (lambda: decode_view("name", HEAD, b"=run", value), lambda: decode_lease("name", b"=run", value)):
        try:
            decode()
        except CorruptArtifactError as error:
            assert "name" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "packed",
    [
        msgpack.packb(1),
        msgpack.packb([1]),
        msgpack.packb([None, {"a": 1}]),
        msgpack.packb([None, {1: "a"}]),
        msgpack.packb([None, []]),
        msgpack.packb([None, {}, 3]),
        msgpack.packb([]),
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # an array of four billion, of which nothing follows
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffx",
        b"\x91" * 5000,  # five thousand arrays in each other
        b"\x92\xa1\xff\x80",  # not UTF-8
        b"\xc7\x0c\xff" + bytes(12),  # an extension type
    ],
)
def test_msgpack_that_is_not_ours_is_a_typed_error(packed) -> None:
    with pytest.raises(CorruptArtifactError, match="name"):
        decode_view("name", HEAD, b"=run", TIMES + packed)
    with pytest.raises(CorruptArtifactError, match="run id"):
        decode_view("name", HEAD, b"=\xff", TIMES)
