"""Looking: nothing is obeyed, programs get lines, and what is listed is true."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pytest
from redis import Redis

from coatcheck import ArtifactStore, RedisArtifactStore, StoreStats, compute_artifact_id
from coatcheck.cli.app import _OneLine, _show_warning
from coatcheck.cli.output import printable
from coatcheck.embedded import start_engine

from .running import EVIL, Coatcheck, on_terminal, shown


def test_show_tells_metadata_and_leases(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"x", run_id="one", ttl=60)
    view = store.store(b"x", run_id="two", tags={"k": "v"}, extra={"prices": [1, 2.5], "für": "ü"})

    printed = coatcheck("show", view.artifact_id, "--json").json

    assert printed.pop("leases") == [lease.model_dump() for lease in store.leases(view.artifact_id)]
    assert printed == view.to_dict()
    text = coatcheck("show", view.artifact_id).stdout
    for expected in ("one", "two", 'k=v\tprices=[1, 2.5] für="ü"\n', view.digest, "size\t1\n"):
        assert str(expected) in text


def test_what_others_wrote_is_not_obeyed(coatcheck: Coatcheck, store: ArtifactStore, url: str) -> None:
    kind = re.sub(r"[\x00-\x1f\x7f-\x9f]", "", EVIL)  # the store refuses control characters in a content type
    view = store.store(b"x", run_id=EVIL, content_type=kind, tags={EVIL: EVIL}, extra={EVIL: EVIL})

    pages = [coatcheck(*words).raw for words in (["ls"], ["runs"], ["show", view.artifact_id], ["ls", "--json"])]
    pages += [on_terminal("--url", url, *words)[1] for words in (["ls"], ["runs"], ["show", view.artifact_id])]

    for page in pages:
        assert b"[red]" in page
        assert b"title" in page
        assert b"\x1b" not in page
        assert b"\x07" not in page
        assert "\x9b".encode() not in page
        assert not set(page.decode()) & set("\u202e\u200b\u3164\ufe0f\U000e0041")
    assert coatcheck("runs").stdout.startswith(printable(EVIL) + "\t1\t1\t")


def test_nobody_elses_words_hide_in_warnings_and_logs(capsys: pytest.CaptureFixture[str]) -> None:
    _show_warning(f"the server says {EVIL}")
    _OneLine().emit(logging.LogRecord("n", logging.WARNING, "", 0, "the server says %s", (EVIL,), None))

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.isprintable() and "title" in line and "\u3164" not in line for line in said)


def test_printable_leaves_letters_of_all_scripts_alone() -> None:
    assert printable("grüße 北京 [red] \\") == "grüße 北京 [red] \\"
    assert printable("a\tb\nc\x1b\ud800") == "a\\tb\\nc\\x1b\\ud800"
    assert printable(os.fsdecode(b"\x80\xffg")) == "\\x80\\xffg"


def test_gc_and_check_report_what_they_find(coatcheck, store, tmp_path) -> None:
    stored = store.store(b"content", run_id="a")
    assert coatcheck("check", "--read-data").code == 0
    folder = tmp_path / "store" / "artifacts" / "blobs"
    (folder / f"{stored.digest}.bin").write_bytes(b"damaged")
    (folder / "orphan.bin").write_bytes(b"left behind")
    checked = coatcheck("check", "--read-data", "--grace", "0", "--json")
    assert checked.code == 1
    assert {p["kind"]: p["count"] for p in checked.json["problems"]} == {"damaged-content": 1, "orphan-content": 1}
    assert checked.json["ok"] is False
    assert coatcheck("gc").code == 0  # too young to be a leftover
    assert coatcheck("gc", "--grace", "0").code == 1
    assert (folder / "orphan.bin").exists()
    assert coatcheck("gc", "--grace", "0", "--delete").code == 0
    assert not (folder / "orphan.bin").exists()
    assert coatcheck("gc", "--grace", "never").code == 2


def test_reindex_says_what_is_found_by_an_index(coatcheck: Coatcheck, store: ArtifactStore, engine_home: Path) -> None:
    url = f"embedded://{engine_home}"
    with (
        start_engine(engine_home) as engine,
        RedisArtifactStore(url) as store,
        Redis(unix_socket_path=str(engine.socket)) as client,
    ):
        store.store(b"x", tags={"kind": "a"}, ttl=60)

        assert coatcheck("reindex", "--tag", "kind", "--type", url=url).stdout == "artifacts looked at: 1\n"

        assert client.keys("coatcheck:*labelled*")
        assert coatcheck("ls", "--tag", "kind=a", url=url).stdout.count("\n") == 1
        assert coatcheck("reindex", "--none", url=url).code == 0
        assert not client.keys("coatcheck:*labelled*")
    assert coatcheck("reindex", url=url).code == 2
    assert coatcheck("reindex", "--none", "--type", url=url).code == 2
    assert "only stores on servers" in coatcheck("reindex", "--tag", "kind").stderr


def test_ls_filters(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    old = store.store(b"1", run_id="one", tags={"k": "v"}, content_type="text/plain")
    while True:
        new = store.store(b"22", run_id="two", content_type="text/html")
        if new.created_at > old.created_at:
            break

    def ids(*words: str) -> list[str]:
        listed = coatcheck("ls", "--json", *words).lines
        plain = [line.split("\t") for line in coatcheck("ls", *words).stdout.splitlines()]
        assert [(view["artifact_id"], str(view["size_bytes"]), view["created_at"]) for view in listed] == [
            tuple(fields[:3]) for fields in plain
        ]
        return [view["artifact_id"] for view in listed]

    assert ids() == [new.artifact_id, old.artifact_id]
    assert ids("--reverse") == [old.artifact_id, new.artifact_id]
    assert ids("--limit", "1") == [new.artifact_id]
    assert ids("--offset", "1") == [old.artifact_id]
    assert ids("--run", "one") == [old.artifact_id]
    assert ids("--type", "text/html") == [new.artifact_id]
    assert ids("--tag", "k=v") == [old.artifact_id]
    assert ids("--since", new.created_at) == [new.artifact_id]
    assert ids("--since", "1h") == [new.artifact_id, old.artifact_id]
    assert ids("--before", old.created_at) == [old.artifact_id]
    assert ids("--before", "1h") == []
    assert ids("--run", "nobody") == []
    assert ids("--type", "text/*") == [new.artifact_id, old.artifact_id]
    assert ids("--tag", "k") == [old.artifact_id]
    assert ids("--sort", "size") == [new.artifact_id, old.artifact_id]
    assert ids("--sort", "size", "--reverse") == [old.artifact_id, new.artifact_id]
    assert ids("--sort", "expires", "--run", "one") == [old.artifact_id]


@pytest.mark.parametrize("words", [[], ["--reverse"], ["--sort", "expires"], ["--sort", "size"], ["--run", "r"]])
def test_a_long_list_goes_on_where_it_ended(
    coatcheck: Coatcheck, store: ArtifactStore, url: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coatcheck.cli.listing._PAGE", 2)
    store.store_many([b"x" * i for i in range(7)], run_id="r", ttl=60)

    def listed(*more: str) -> list[str]:
        return [view["artifact_id"] for view in coatcheck("ls", *words, *more, "--json").lines]

    everything = listed("--limit", "0")
    assert len(everything) == 7
    assert listed("--offset", "3", "--limit", "3") == everything[3:6]
    assert listed("--offset", "6") == everything[6:]
    found: list[str] = []
    more: list[str] = []
    while more is not None:
        _, *table = shown("--url", url, "ls", *words, "--limit", "3", *more)
        goes_on = re.search(r"there are more: (--(?:after|offset) \S+) goes on", table[-1])
        more = goes_on[1].split() if goes_on else None
        found += [line.split()[0] for line in table[: -1 if goes_on else None]]
    assert found == [artifact_id[:12] for artifact_id in everything]


def test_a_cursor_of_another_list_is_refused(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store_many([b"1", b"2"])
    cursor = store.page(limit=1).next

    assert coatcheck("ls", "--after", cursor).code == 0
    assert coatcheck("ls", "--after", cursor, "--type", "text/*").code == 2
    assert coatcheck("ls", "--after", "garbage").code == 2
    assert coatcheck("ls", "--after", cursor, "--offset", "1").code == 2


def test_runs_and_stats(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"x", run_id="two")
    store.store(b"x", run_id="one")

    assert [line.split("\t")[0] for line in coatcheck("runs").stdout.splitlines()] == ["one", "two"]
    assert [run["run_id"] for run in coatcheck("runs", "--json").lines] == ["one", "two"]
    assert StoreStats(**coatcheck("stats", "--json").json) == store.stats()
    assert "leases\t2" in coatcheck("stats").stdout


def test_a_unique_beginning_of_a_default_id_is_taken_wherever_an_id_is(
    coatcheck: Coatcheck, store: ArtifactStore
) -> None:
    view = store.store(b"x")
    store.store(b"y", artifact_id=view.artifact_id[:6])  # an id of its own

    assert coatcheck("get", view.artifact_id[:6]).raw == b"y"
    for length in (7, 31):
        beginning = view.artifact_id[:length]
        assert coatcheck("get", beginning).raw == b"x"
        assert coatcheck("show", f'{{"$artifact": "{beginning}"}}', "--json").json["artifact_id"] == view.artifact_id
        assert coatcheck("ls", beginning).stdout.startswith(view.artifact_id)
        assert coatcheck("touch", beginning, "--ttl", "1h").code == 0
    assert coatcheck("rm", view.artifact_id[:8]).code == 0
    assert coatcheck("get", view.artifact_id[:8]).code == 1


def test_an_ambiguous_beginning_is_refused(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    contents = {}
    for i in range(2000):  # among so many two begin alike: 65,536 beginnings
        begin = compute_artifact_id(b"%d" % i)[:4]
        if begin in contents:
            break
        contents[begin] = b"%d" % i
    for content in (contents[begin], b"%d" % i):
        store.store(content)

    failed = coatcheck("rm", begin)

    assert failed.code == 2
    assert f"2 ids begin with {begin}" in failed.stderr
    assert len(store.list_all()) == 2


def test_no_explicit_id_is_taken_for_another_that_begins_like_it(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"x", artifact_id="report-2")
    store.store(b"x", artifact_id="abcdef-2")

    assert coatcheck("rm", "report", "--for-everyone").code == 1
    assert coatcheck("rm", "abcdef", "--for-everyone").code == 1
    assert len(store.list_all()) == 2
