"""AbstractRuntime's own tests over `RuntimeArtifactStore`, of its first release that we serve and of the latest known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coatcheck.testing import Server

from ...conftest import binary_of
from ..suites import check, run_suite, source_of

OVERLAY = Path(__file__).with_name("overlay.py")

# Modules that store artifacts and need no other package of its family.
OLD = """active_context_policy artifacts evidence_recorder memory_note_effect memory_query_effect memory_query_rich_filters
memory_scope_and_rehydrate_effect memory_tag_effect terminal_effect_completion""".split()
NEW = [
    *OLD,
    *"""artifact_session_candidates compaction_summarizer_route create_if_absent evidence_recorder_post_policy_envelope
    hot_path_store_reads offload_answer_chain_c4978 offloading run_history_bundle storage_deletion""".split(),
]

FILES = "tests/test_artifacts.py::TestFileArtifactStore::"
CATALOG = "tests/test_artifact_session_candidates.py::"
NAMES = {
    f"{FILES}test_store_and_load": "asserts the names of its files",
    f"{FILES}test_delete_removes_files": "asserts the names of its files",
}
DESCRIPTORS = "tests/test_artifacts.py::TestArtifactDescriptorAndCatalog::"
LEFT_OUT = {
    **NAMES,
    f"{FILES}test_gc_respects_cross_run_refs": "asserts that a blob nobody needs stays until gc; ours goes at once",
    f"{CATALOG}test_indexes_are_built_by_the_first_lookup_never_by_the_open": "asserts its SQLite indexes",
    f"{CATALOG}test_file_store_answers_from_indexes_never_a_catalog_scan": "asks for the plans of its SQLite queries",
    f"{CATALOG}test_a_catalog_error_raises_and_never_reads_every_artifact": "breaks its SQLite catalog",
    f"{CATALOG}test_benchmark_100k_catalog_session_lookup_under_50ms": "fills its SQLite catalog by hand",
}
FILES_ALONE = {
    f"{FILES}test_content_path_is_public_for_file_backed_store": "asserts a path",
    f"{DESCRIPTORS}test_legacy_metadata_file_projects_descriptor_on_rebuild": "writes a file by hand",
}


@pytest.fixture(params=["local", "valkey"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Memory and files; and a server of its own, because the tests make namespaces of their own."""
    if request.param == "local":
        yield "local"
    else:
        server = Server(binary_of(request.param))
        yield server.url
        server.stop()


@pytest.mark.parametrize(
    ("version", "modules", "left_out", "at_least"), [("0.4.0", OLD, NAMES, 60), ("0.13.0", NEW, LEFT_OUT, 170)]
)
def test_their_own_tests(
    version: str, modules: list[str], left_out: dict[str, str], at_least: int, url: str, tmp_path: Path
) -> None:
    source = source_of("abstractruntime", version)
    outcome = run_suite(
        source,
        [f"tests/test_{module}.py" for module in modules],
        overlay=OVERLAY,
        tmp_path=tmp_path,
        environment={"SUITE_URL": url},
        left_out=left_out if url == "local" else {**left_out, **FILES_ALONE},
        path=[source / "src"],
        arguments=["--noconftest", "-W", "ignore"],  # their conftest needs another package of the family
    )
    check(outcome, at_least=at_least)
