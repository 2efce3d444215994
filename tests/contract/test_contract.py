"""The contract suite over every backend, engine and twin.

Memory, files and a server of Valkey run every case. The others stand for each other: of alternatives each case runs in one,
and the stores of a test are of one twin and the other in turn. In chunks only those cases run that store anything large
enough. In `make soak` everything runs everything.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest

from coatcheck.testing import ArtifactStoreContract, StoreHarness

from ..harnesses import TINY, FakeHarness, FileHarness, MemoryHarness, RedisHarness
from ..sizes import EVERY, in_turn

TWINS = ["sync", "async"]

LARGE = {
    "test_a_closed_reader_says_so",
    "test_a_file_is_stored_like_its_bytes",
    "test_a_link_is_an_artifact_of_its_own",
    "test_a_link_replaces_what_the_id_stood_for",
    "test_a_reader_gives_ranges_in_pieces",
    "test_a_reader_goes_on_when_the_same_content_comes_back",
    "test_a_reader_never_mixes_contents",
    "test_a_reader_of_a_closed_store_says_so",
    "test_a_reader_reads_like_a_file",
    "test_a_reader_serves_the_standard_library",
    "test_a_run_sees_what_it_said_itself",
    "test_a_source_that_changes_is_refused",
    "test_a_used_store_has_no_problems",
    "test_an_error_in_progress_stops_it",
    "test_an_explicit_id_gets_other_large_content",
    "test_an_explicit_id_that_is_nearly_a_hash_is_kept",
    "test_any_size_round_trips",
    "test_anything_with_read_is_a_stream",
    "test_batches_and_plain_stores_take_large_content_too",
    "test_compressible_content_round_trips",
    "test_content_that_is_not_text_or_json",
    "test_delete_many_answers_in_order",
    "test_each_item_is_stored_as_it_was_handed_over",
    "test_everything_is_gone_when_a_large_artifact_is",
    "test_files_obey_conditions",
    "test_links_obey_conditions",
    "test_links_of_links_keep_one_content",
    "test_load_many_answers_in_order",
    "test_many_at_a_time",
    "test_no_other_lease_gets_shorter",
    "test_of_many_at_once_one_wins",
    "test_only_the_first_store_finds_nothing",
    "test_payloads_have_their_own",
    "test_progress_ends_when_everything_is_stored",
    "test_ranges_follow_the_rules_of_slices",
    "test_store_many_keeps_the_order",
    "test_streams_are_read_from_where_they_stand_and_left_open",
    "test_the_last_of_several_contents_for_one_id_wins",
    "test_the_old_content_goes_when_nobody_else_needs_it",
    "test_the_own_lease_ends_when_it_says",
    "test_what_is_there_is_replaced_only_if_it_is_that",
    "test_what_was_acquired_stays",
}
"""Cases that store content of which `TINY` makes chunks; for others chunks change nothing. `TestContract` names what lacks
here."""


def places(case: str, each_twin: Iterable[str], both: Iterable[str], *alternatives: list[str]) -> list:
    """Where one case runs, and with which twins."""
    number = zlib.crc32(case.encode())
    both = [*both, *(place for some in alternatives for place in in_turn(some, number))]
    found = [(place, twin) for place in each_twin for twin in TWINS]
    found += [(place, twin) for place in both for twin in (TWINS if EVERY else ["both"])]
    return [pytest.param(place, id="-".join(place)) for place in found]


class Contract(ArtifactStoreContract):
    def make(self, request, tmp_path, namespace) -> StoreHarness:
        place, twin = request.param
        if place == "memory":
            return MemoryHarness(twin=twin)
        if place == "file":
            return FileHarness(tmp_path, twin=twin)
        if place == "fakeredis":
            return FakeHarness(namespace, twin=twin)
        if place == "cached":  # a memory tier that is always full, above a disk tier
            cache = {"cache_size": 100_000, "cache_dir": tmp_path}
            return RedisHarness("valkey", request.getfixturevalue, namespace, twin=twin, **cache)
        return RedisHarness(place, request.getfixturevalue, namespace, twin=twin)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("harness", places(metafunc.function.__name__, *metafunc.cls.places), indirect=True)


class TestContract(Contract):
    places = (
        ["valkey"],
        ["memory", "file"],
        ["redis7", "redis8"],
        ["fakeredis", "valkey in 64 partitions"],
        ["valkey cluster", "indexed cluster"],
        ["cached", "sentinels", "tls"],
    )

    @pytest.fixture
    def harness(self, request, tmp_path, namespace) -> Iterator[StoreHarness]:
        harness = self.make(request, tmp_path, namespace)
        yield harness
        if isinstance(harness, MemoryHarness):
            case = request.function.__name__
            assert harness.contents.longest < TINY.threshold or case in LARGE, (
                f"{case} stores large content: LARGE lacks it"
            )


def only(cases: set[str]) -> Callable[[type], type]:
    """Leave all other cases out."""

    def leave_out(suite: type) -> type:
        names = {name for name in dir(suite) if name.startswith("test_")}
        assert cases <= names, cases - names
        for name in names - cases:
            setattr(suite, name, None)
        return suite

    return leave_out if not EVERY else lambda suite: suite


@only(LARGE)
class TestContractInTinyChunks(Contract):
    """The same, with content of some kilobytes treated as content of many megabytes is."""

    places = ([], ["valkey", "file"], ["redis7", "cached", "valkey cluster"])

    @pytest.fixture
    def harness(self, request, tmp_path, namespace) -> StoreHarness:
        harness = self.make(request, tmp_path, namespace)
        harness.chunking = TINY
        return harness
