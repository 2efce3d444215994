"""Archives that somebody made to do harm, or that were damaged: refused as a whole, nothing stored, nothing written."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile

import pytest

from coatcheck import InMemoryArtifactStore
from coatcheck.moving import ArchiveError, export_run, import_run

DIGEST = hashlib.sha256(b"content").hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()
VIEW = {
    "artifact_id": DIGEST[:32],
    "content_type": "text/plain",
    "size_bytes": 7,
    "created_at": "2026-01-01T00:00:00.000000+00:00",
    "run_id": "a",
    "tags": {},
    "digest": DIGEST,
    "expires_at": None,
}


def manifest(**changes) -> bytes:
    return json.dumps({"format": "coatcheck-run", "version": 1, "run_id": "a", "artifacts": [VIEW], **changes}).encode()


def view(**changes) -> bytes:
    return manifest(artifacts=[{**VIEW, **changes}])


def tar(*members: tuple) -> bytes:
    """A tar of names and contents; a third item changes the member."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content, *change in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for function in change:
                function(info)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


CONTENT = (f"contents/{DIGEST}", b"content")
SUMS = ("SHA256SUMS", b"")


def kind(type_: bytes):
    def change(info: tarfile.TarInfo) -> None:
        info.type, info.linkname = type_, "/etc/passwd"

    return change


HOSTILE = {
    "nothing": b"",
    "no tar": b"x" * 5000,
    "an empty tar": tar(),
    "no manifest": tar(CONTENT, SUMS),
    "a manifest that is a link": tar(("manifest.json", b"", kind(tarfile.SYMTYPE)), CONTENT, SUMS),
    "a manifest that is no JSON": tar(("manifest.json", b"{"), CONTENT, SUMS),
    "a manifest that is deep": tar(("manifest.json", b"[" * 100_000), CONTENT, SUMS),
    "a manifest that is no text": tar(("manifest.json", b"\xff\xfe"), CONTENT, SUMS),
    "a manifest of something else": tar(("manifest.json", b'{"format": "x"}'), CONTENT, SUMS),
    "a list": tar(("manifest.json", b"[]"), CONTENT, SUMS),
    "a newer version": tar(("manifest.json", manifest(version=2)), CONTENT, SUMS),
    "no run": tar(("manifest.json", manifest(run_id="")), CONTENT, SUMS),
    "a run that is a number": tar(("manifest.json", manifest(run_id=1)), CONTENT, SUMS),
    "no artifacts": tar(("manifest.json", manifest(artifacts=None)), CONTENT, SUMS),
    "an artifact that is none": tar(("manifest.json", manifest(artifacts=[1])), CONTENT, SUMS),
    "the same artifact twice": tar(("manifest.json", manifest(artifacts=[VIEW, VIEW])), CONTENT, SUMS),
    "another run's artifact": tar(("manifest.json", view(run_id="b")), CONTENT, SUMS),
    "an id that is a path": tar(("manifest.json", view(artifact_id="../../etc")), CONTENT, SUMS),
    "an id that ends a line": tar(("manifest.json", view(artifact_id="name\n")), CONTENT, SUMS),
    "a digest that is a path": tar(("manifest.json", view(digest="../" * 21 + "x")), CONTENT, SUMS),
    "a digest that is shouted": tar(("manifest.json", view(digest=DIGEST.upper())), CONTENT, SUMS),
    "no digest": tar(("manifest.json", view(digest=None)), CONTENT, SUMS),
    "a negative size": tar(("manifest.json", view(size_bytes=-1)), CONTENT, SUMS),
    "another size": tar(("manifest.json", view(size_bytes=8)), CONTENT, SUMS),
    "a huge size": tar(("manifest.json", view(size_bytes=10**30)), CONTENT, SUMS),
    "two sizes": tar(
        ("manifest.json", manifest(artifacts=[VIEW, {**VIEW, "artifact_id": "name", "size_bytes": 8}])), CONTENT, SUMS
    ),
    "other content": tar(("manifest.json", manifest()), (f"contents/{DIGEST}", b"c0ntent"), SUMS),
    "content twice": tar(("manifest.json", manifest()), CONTENT, CONTENT, SUMS),
    "content that nobody named": tar(("manifest.json", manifest()), CONTENT, (f"contents/{'0' * 64}", b""), SUMS),
    "an absolute name": tar(("manifest.json", manifest()), CONTENT, ("/etc/passwd", b"x"), SUMS),
    "a name that goes up": tar(("manifest.json", manifest()), CONTENT, (f"../contents/{DIGEST}", b"content"), SUMS),
    "a name with a line": tar(("manifest.json", manifest()), (f"contents/{DIGEST}\n", b"content"), SUMS),
    "a link": tar(("manifest.json", manifest()), (f"contents/{DIGEST}", b"", kind(tarfile.SYMTYPE)), SUMS),
    "a hard link": tar(("manifest.json", manifest()), (f"contents/{DIGEST}", b"", kind(tarfile.LNKTYPE)), SUMS),
    "a link as an empty content": tar(
        ("manifest.json", view(artifact_id=EMPTY[:32], digest=EMPTY, size_bytes=0)),
        (f"contents/{EMPTY}", b"", kind(tarfile.SYMTYPE)),
        SUMS,
    ),
    "a contiguous file": tar(("manifest.json", manifest()), (*CONTENT, kind(tarfile.CONTTYPE)), SUMS),
    "a device": tar(("manifest.json", manifest()), (f"contents/{DIGEST}", b"", kind(tarfile.CHRTYPE)), SUMS),
    "a directory": tar(("manifest.json", manifest()), ("contents", b"", kind(tarfile.DIRTYPE)), CONTENT, SUMS),
    "a second manifest": tar(("manifest.json", manifest()), CONTENT, ("manifest.json", manifest()), SUMS),
    "something behind the end": tar(("manifest.json", manifest()), CONTENT, SUMS, ("x", b"")),
    "no end": tar(("manifest.json", manifest()), CONTENT),
    "missing content": tar(("manifest.json", manifest()), SUMS),
    "a part": tar(("manifest.json", manifest()), CONTENT, SUMS)[:1500],
    "no tags": tar(("manifest.json", view(tags=[1])), CONTENT, SUMS),
}


@pytest.mark.parametrize(
    "type_", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
)
@pytest.mark.parametrize("first", [True, False])
def test_a_header_of_any_length_takes_no_memory(type_, first, tmp_path) -> None:
    path = tmp_path / "archive"
    header = tarfile.TarInfo("header")
    header.type, header.size = type_, 2**30
    with path.open("wb") as file:
        if not first:
            file.write(tar(("manifest.json", manifest()), CONTENT).rstrip(b"\0"))
            file.seek(-file.tell() % 512, io.SEEK_CUR)
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**31)  # no block of it is on the disk
    with InMemoryArtifactStore() as store:
        with pytest.raises(ArchiveError, match="one of its headers has 1073741824 bytes"):
            import_run(store, path)
        assert store.list_all() == []


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_archive_is_refused_as_a_whole(what, tmp_path) -> None:
    (tmp_path / "a.tar").write_bytes(HOSTILE[what])
    with InMemoryArtifactStore() as store, pytest.raises(ArchiveError):
        import_run(store, tmp_path / "a.tar")
    with InMemoryArtifactStore() as store:
        with pytest.raises(ArchiveError):
            import_run(store, io.BytesIO(HOSTILE[what]))
        assert store.list_all() == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_the_one_that_these_are_made_from_is_good() -> None:
    with InMemoryArtifactStore() as store:
        assert import_run(store, io.BytesIO(tar(("manifest.json", manifest()), CONTENT, SUMS))).artifacts == 1
        assert store.load(DIGEST[:32]).content == b"content"


def test_an_id_that_looks_like_another_contents_is_refused(tmp_path) -> None:
    """A default id means its content for ever: an archive cannot put other bytes under it."""
    hostile = tar(("manifest.json", view(artifact_id="0" * 32)), CONTENT, SUMS)
    with InMemoryArtifactStore() as store:
        with pytest.raises(ArchiveError, match="looks like the id of other content"):
            import_run(store, io.BytesIO(hostile))
        assert store.list_all() == []


def test_any_damage_is_noticed() -> None:
    """One bit of an archive, wherever it is: an error of ours, or what it says is what was stored."""
    with InMemoryArtifactStore() as source:
        source.store(b"content", run_id="a", tags={"k": "v"})
        source.store(b"other" * 100, run_id="a", artifact_id="name")
        file = io.BytesIO()
        export_run(source, "a", file)
        whole = file.getvalue()
        contents = {source.load(view).content for view in source.list_all()}
    chance = random.Random(1)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        with InMemoryArtifactStore() as store:
            try:
                import_run(store, io.BytesIO(bytes(damaged)), ttl=60)
            except ArchiveError:
                assert store.list_all() == []
            else:
                assert {store.load(view).content for view in store.list_all()} == contents


def test_an_archive_gets_its_name_once_it_is_whole_and_over_nothing_that_appeared_meanwhile(tmp_path) -> None:
    path = tmp_path / "a.tar"

    def appears(report) -> None:
        assert not path.exists()  # a process that is killed here leaves nothing of that name
        path.write_bytes(b"theirs")

    with InMemoryArtifactStore() as store:
        store.store(b"content", run_id="a")
        with pytest.raises(FileExistsError) as refused:
            export_run(store, "a", path, progress=appears)
        assert refused.value.filename == str(path)
        assert [(left.name, left.read_bytes()) for left in tmp_path.iterdir()] == [("a.tar", b"theirs")]
        path.unlink()
        with pytest.raises(ZeroDivisionError):
            export_run(store, "a", path, progress=lambda _: 1 / 0)
        assert not list(tmp_path.iterdir())
