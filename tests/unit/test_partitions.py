"""How namespaces are cut: what is written here lies on servers, so it never changes."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from redis.crc import key_slot

from coatcheck import InvalidArtifactError, RedisArtifactStore
from coatcheck.backends.redis.layout.keys import KINDS, Keys
from coatcheck.backends.redis.layout.partitions import COUNTS, Partitions, slot_of, tags

SLOTS = 16_384
CUT = [count for count in COUNTS if count > 1]
FIRST = {64: ["64.8", "64.0", "64.c1", "64.62", "64.48"], 256: ["256.21c", "256.fe", "256.274", "256.59", "256.278"]}
DIGESTS = {
    64: "86e6b497bc690ede90541b149d185c2cc38bc502946b2d25f38593b0a3521f7a",
    256: "3b8fd96ea2fdc8d54a29f92a8a070aaf8077859b319d890d95119ca89c00f2ca",
}
LIVES_IN = {
    64: {"report": 4, "job-1": 63, "0" * 32: 16, "f" * 32: 17},
    256: {"report": 132, "job-1": 63, "0" * 32: 208, "f" * 32: 17},
}


def some_keys(keys: Keys) -> list[bytes]:
    content, token = b"0" * 32, b"0123456789abcdef"
    return [
        *keys.catalog,
        *keys.of(b"name", content),
        keys.run("a:b {c}"),
        keys.chunk(content, token, 7),
        keys.staging(content, token),
        keys.buried(b"name", token),
    ]


@pytest.mark.parametrize("count", CUT)
def test_the_tags_are_frozen(count) -> None:
    assert list(tags(count)[:5]) == FIRST[count]
    assert hashlib.sha256(" ".join(tags(count)).encode()).hexdigest() == DIGESTS[count]


@pytest.mark.parametrize("count", CUT)
def test_where_an_artifact_lies_is_frozen(count) -> None:
    partitions = Partitions("ns", count)
    assert {name: partitions.all.index(partitions.of(name)) for name in LIVES_IN[count]} == LIVES_IN[count]


@pytest.mark.parametrize("count", CUT)
def test_each_tag_lies_in_its_own_of_equal_ranges_of_slots(count) -> None:
    assert [slot_of(tag) * count // SLOTS for tag in tags(count)] == list(range(count))


@pytest.mark.parametrize("count", CUT)
def test_all_keys_of_a_partition_lie_in_its_slot(count) -> None:
    for keys in Partitions("ns", count).all:
        assert {key_slot(key) for key in some_keys(keys)} == {keys.slot}


def test_keys_of_one_partition_have_no_tag() -> None:
    [keys] = Partitions("ns", 1).all
    assert keys.prefix == b"ns:"
    assert keys.artifact(b"name") == b"ns:artifact:name"


@pytest.mark.parametrize("nodes", [3, 5, 7, 12, 21])
@pytest.mark.parametrize("count", CUT)
def test_nodes_with_contiguous_slots_have_even_shares(count, nodes) -> None:
    shares = Counter(slot_of(tag) * nodes // SLOTS for tag in tags(count))
    assert sum(shares.values()) == count
    assert len(shares) == nodes
    assert max(shares.values()) - min(shares.values()) <= 2  # each end of a range cuts one partition


@pytest.mark.parametrize("count", CUT)
def test_artifacts_are_spread_evenly(count) -> None:
    partitions = Partitions("ns", count)
    names = [hashlib.sha256(b"%d" % n).hexdigest()[:32] for n in range(100 * count)]
    for ids in names, [f"job-{n}" for n in range(100 * count)]:
        shares = Counter(partitions.of(name) for name in ids)
        assert len(shares) == count
        assert 50 < min(shares.values()) <= max(shares.values()) < 200


def test_the_count_is_part_of_the_tag() -> None:
    prefixes = [keys.prefix for count in COUNTS for keys in Partitions("ns", count).all]
    assert len(set(prefixes)) == sum(COUNTS)
    assert all(b"{%d." % count in keys.prefix for count in CUT for keys in Partitions("ns", count).all)


@pytest.mark.parametrize("count", COUNTS)
def test_keys_tell_their_partition(count) -> None:
    partitions = Partitions("ns", count)
    for keys in partitions.all:
        assert {partitions.holding(key) for key in some_keys(keys)} == {keys}
        assert all(keys.kind_of(key) is not None for key in some_keys(keys))


@pytest.mark.parametrize("count", COUNTS)
def test_names_of_default_artifacts_and_of_contents_are_sorted_from_other_keys(count) -> None:
    partitions = Partitions("ns", count)
    first, last = partitions.all[0], partitions.all[-1]
    digits, name = b"0123456789abcdef" * 2, b"an_id-of_32_characters_like_this"
    usual = {"artifact": {first: [digits]}, "content": {first: [digits]}}
    usual["artifact"][last] = usual["content"][last] = [digits]
    others = {last.artifact(name), last.artifact(name[:8] + digits), last.created, b"ns", b"other:artifact:" + digits}
    assert len(name) == len(digits)
    kinds = [key for keys in (first, last) for key in (keys.artifact(digits), keys.content(digits))]
    found, rest = partitions.sort({*kinds, *others})
    assert (found, set(rest)) == (usual, others)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("other", COUNTS)
def test_keys_of_a_namespace_that_is_cut_otherwise_tell_their_count(count, other) -> None:
    if count != other:
        found = {Partitions("ns", count).holding(key) for key in some_keys(Partitions("ns", other).all[-1])}
        assert found == {other}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "key",
    [
        b"other:artifact:name",
        b"ns2:artifact:name",
        b"ns",
        b"ns:{7.zz}:artifact:name",
        b"ns:{64.8}artifact:name",
        b"my:ns:artifact:name",
    ],
)
def test_keys_of_others_are_nobodys(count, key) -> None:
    found = Partitions("ns", count).holding(key)
    assert found is None or (isinstance(found, Keys) and found.kind_of(key) is None)


def test_keys_of_namespaces_that_begin_with_ours_are_nobodys() -> None:
    [ours], [inner] = Partitions("ns", 1).all, Partitions("ns:team", 1).all
    for key in some_keys(inner):
        assert ours.kind_of(key) is None


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_namespaces_that_contain_the_word_of_a_kind_are_refused(kind) -> None:
    for namespace in kind, f"a:{kind}", f"{kind}:a", f"a:{kind}:b":
        with pytest.raises(InvalidArtifactError, match=repr(kind)):
            Partitions(namespace, 1)
        with pytest.raises(InvalidArtifactError, match=repr(kind)):
            RedisArtifactStore(namespace=namespace)
    assert Partitions(f"my-{kind}s", 1).all


@pytest.mark.parametrize("namespace", ["", "a" * 101, "a b", "{64.8}", "a{b}", "a*", "ä", "a\n", None, 7])
def test_namespaces_with_other_characters_are_refused(namespace) -> None:
    with pytest.raises(InvalidArtifactError, match="invalid namespace"):
        Partitions(namespace, 64)
