"""What lies in an artifact's hash: written, read back, and never trusted."""

from __future__ import annotations

import hashlib

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coatcheck.backends.redis.layout.keys import artifact_of, listed, member_of
from coatcheck.backends.redis.layout.records import (
    FEW,
    VERSION,
    decode_header,
    decode_lease,
    decode_view,
    decode_views,
    encode_header,
    encode_view,
    latest_of_few,
    lease_field,
)
from coatcheck.errors import CorruptArtifactError
from coatcheck.ids import is_default_id
from coatcheck.request import Details, StoreRequest

HEADER = b"%c%b1" % (VERSION, hashlib.sha256(b"x").digest())
TIMES = (1_700_000_000_000).to_bytes(6) + (1_700_000_000_000_000).to_bytes(7)
text = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary(max_size=50), text, st.none() | text.filter(bool), st.dictionaries(text, text))
def test_what_is_written_is_read_back(content, content_type, run, tags) -> None:
    request = StoreRequest(content, Details(None, content_type, run, tags, None))
    field = lease_field(run)
    view = decode_view(request.artifact_id, encode_header(request), field, TIMES + encode_view(request))
    assert (view.content_type, view.run_id, view.tags, view.size_bytes) == (content_type, run, tags, len(content))
    assert view.digest == hashlib.sha256(content).hexdigest()
    lease = decode_lease(request.artifact_id, field, TIMES + encode_view(request))
    assert (lease.content_type, lease.run_id, lease.tags) == (content_type, run, tags)


@given(
    st.sampled_from([HEADER, HEADER[:33], HEADER + b"23", HEADER[:20] + b"?" + HEADER[21:], b"\3" + HEADER[1:]]),
    st.sampled_from([HEADER[1:17], b":name"]),
    st.sampled_from([b"-", b"=run", b"=%C3%A4", b"=%FF"]),
    st.sampled_from([TIMES, b"\xff" * 6 + TIMES[6:], b"\x7f" * 6 + TIMES[6:], TIMES[:12]]),
    st.sampled_from(
        [b"", b"\x91\xa1a", b"\x92\xc0\x81\xa1k\xa1v", b'\x93\xc0\xc0\xa8{"a": 1}', b"\x91", b"\x92\xc0\x81\x01\x02"]
    )
    | st.binary(max_size=20),
)
def test_views_are_read_together_as_one_by_one(header, member, field, times, view) -> None:
    def read(decode):
        try:
            return decode()
        except CorruptArtifactError as error:
            return str(error)

    name = listed(member).decode()
    one = read(lambda: [decode_view(name, header, field, times + view)])
    assert read(lambda: decode_views([(0.0, member, header, field, times + view)])) == one


@given(st.binary(max_size=80))
@example(HEADER[:33] + b"9" * 10_000)
@example(HEADER[:33] + "\u0663".encode())
def test_a_damaged_header_is_a_typed_error(header) -> None:
    try:
        decode_header(header, "name")
    except CorruptArtifactError as error:
        assert "name" in str(error)  # noqa: PT017
    else:
        assert header[0] == VERSION


def test_the_metadata_of_another_artifact_is_a_typed_error() -> None:
    own, others = (hashlib.sha256(content).hexdigest()[:32] for content in (b"x", b"y"))
    assert decode_header(HEADER, own).size == decode_header(HEADER, "name").size == 1
    with pytest.raises(CorruptArtifactError, match="another"):
        decode_header(HEADER, others)


def lease(deadline: int, created: int) -> bytes:
    return deadline.to_bytes(6) + created.to_bytes(7)


def test_the_latest_of_few_leases_is_shown_where_it_is_surely_live() -> None:
    long, short, later = lease(90, 1), lease(20, 2), lease(90, 3)
    assert latest_of_few([b"h", HEADER, b"=a", short]) == (HEADER, b"=a", short)
    assert latest_of_few([b"=a", short, b"h", HEADER]) == (HEADER, b"=a", short)
    assert latest_of_few([b"=a", long, b"h", HEADER, b"t", b"=c", b"=c", later]) == (HEADER, b"=c", later)
    assert latest_of_few([[b"=a", long], [b"h", HEADER], [b"=c", later]]) == (HEADER, b"=c", later)
    assert latest_of_few([b"=a", long, b"h", HEADER, b"t", b"=b", b"=b", short]) is None  # may have expired
    assert latest_of_few([b"=a", long, b"=c", later]) is None
    fields = [b"h", HEADER]
    for n in range(1, FEW):
        assert latest_of_few(fields) == ((HEADER, fields[-2], fields[-1]) if n > 1 else None)
        fields += [b"=%d" % n, lease(90, n)]
    assert latest_of_few(fields) is None  # there may be more of them


@given(st.binary(max_size=80))
@example(b"\xff\xff\xff\xff\xff\xfe" + bytes(7))
@example(bytes(6) + b"\xff" * 7)
@example(b"\xff" * 13)
def test_a_damaged_lease_is_a_typed_error(value) -> None:
    for decode in (lambda: decode_view("name", HEADER, b"=run", value), lambda: decode_lease("name", b"=run", value)):
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
        decode_view("name", HEADER, b"=run", TIMES + packed)
    with pytest.raises(CorruptArtifactError, match="run id"):
        decode_view("name", HEADER, b"=\xff", TIMES)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True) | st.from_regex(r"[0-9a-f]{32}", fullmatch=True))
@example("fifteen-of-them")
@example("sixteen-of-these")
def test_members_of_indexes_name_one_artifact_each(artifact_id) -> None:
    member = member_of(artifact_id.encode())
    assert artifact_of(member) == artifact_id.encode()
    assert (len(member) == 16) is is_default_id(artifact_id)


@pytest.mark.parametrize("member", [b"", b":", b"name", b":::name", b":no/id", b":" + b"a" * 32, b"!" * 31])
def test_members_that_name_nothing_are_refused(member) -> None:
    assert artifact_of(member) is None
    with pytest.raises(CorruptArtifactError, match="gc"):
        listed(member)
