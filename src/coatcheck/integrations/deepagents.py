"""LangChain's Deep Agents: the files of agents lie in a coatcheck store (extra `deepagents`).

from deepagents import create_deep_agent
from coatcheck.integrations.deepagents import CoatcheckBackend

agent = create_deep_agent(backend=CoatcheckBackend("redis://localhost:6379/0", collection="project-7"))
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

try:
    from deepagents.backends.protocol import (
        BackendProtocol,
        DeleteResult,
        EditResult,
        FileData,
        FileDownloadResponse,
        FileInfo,
        FileUploadResponse,
        GlobResult,
        GrepMatch,
        GrepResult,
        LsResult,
        ReadResult,
        WriteResult,
    )
    from deepagents.backends.utils import (
        compile_grep_include_glob,
        grep_matches_from_files,
        perform_string_replacement,
        slice_read_response,
        validate_path,
    )
except ImportError as error:
    raise ImportError("Deep Agents is not installed: pip install 'coatcheck[deepagents]'") from error

from coatcheck import DEFAULT, Artifact, ArtifactConflictError, ArtifactMetadata, ArtifactStore, Payload
from coatcheck.arguments import LinkKeywords, TtlOrDefault
from coatcheck.keyed import Keyed

from .opening import LazyStore

_SEARCHED: Final = 8 * 1024 * 1024  # bytes of files in memory at a time; one that is larger comes alone
_CREATED: Final = "created_at"


class CoatcheckBackend(BackendProtocol):
    """Files by absolute paths, shared by all agents of a collection, whatever process they run in.

    No edit is lost: each replaces just the file that it read, or begins again with what another agent made of it. Equal
    files are kept once. The awaited methods run these in threads.

    Args:
        url: Of the store; `None` is `$COATCHECK_URL`. Or an open `ArtifactStore`, which its owner closes.
        collection: Whose files: a name, which is the run that leases them; or a function that tells it for each call,
            as from the configuration of the graph that runs.
        ttl: How long a file lasts after it was written: seconds, a `timedelta` or `None`; left out: the store's
            `default_ttl`.
        **options: For `open_store`, as `namespace`.
    """

    def __init__(
        self,
        url: str | ArtifactStore | None = None,
        *,
        collection: str | Callable[[], str],
        ttl: TtlOrDefault = DEFAULT,
        **options: Any,
    ) -> None:
        self._store = LazyStore(url, **options)
        self._collection = collection
        self._ttl = ttl

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    def close(self) -> None:
        """Close the store, if it was opened here."""
        self._store.close()

    # One file ---------------------------------------------------------------------------------------------------

    def read(self, file_path: str, offset: int = 0, limit: int = 2000) -> ReadResult:
        """Some lines of a text; a file that is none as a whole, in base64."""
        try:
            found = self._files().get(validate_path(file_path))
        except ValueError as error:
            return ReadResult(error=f"Error: {error}")
        if found is None:
            return ReadResult(error=f"File '{file_path}' not found")
        data = _file_data(found)
        return slice_read_response(data, offset, limit) if data["encoding"] == "utf-8" else ReadResult(file_data=data)

    def write(self, file_path: str, content: str) -> WriteResult:
        """Write a text, in place of what was there."""
        try:
            path, files = validate_path(file_path), self._files()
            self._set(files, path, content.encode(), files.get_metadata(path))
        except ValueError as error:
            return WriteResult(error=f"Error: {error}")
        return WriteResult(path=file_path)

    def edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> EditResult:
        """Replace a part of a text."""
        try:
            path, files = validate_path(file_path), self._files()
            while (found := files.get(path)) is not None:
                text = _text(found)
                if text is None:
                    return EditResult(error="Error: Cannot edit binary files with text replacements.")
                replaced = perform_string_replacement(text, old_string, new_string, replace_all)
                if isinstance(replaced, str):
                    return EditResult(error=replaced)
                content, occurrences = replaced
                try:
                    self._set(files, path, content.encode(), found.metadata, if_digest=found.metadata.digest)
                except ArtifactConflictError:  # another agent was faster: begin with what it wrote
                    continue
                return EditResult(path=file_path, occurrences=occurrences)
        except ValueError as error:
            return EditResult(error=f"Error: {error}")
        return EditResult(error=f"Error: File '{file_path}' not found")

    def _set(
        self, files: Keyed, path: str, content: bytes, before: ArtifactMetadata | None, if_digest: str | None = None
    ) -> None:
        details: LinkKeywords = {"ttl": self._ttl, "if_digest": if_digest}
        if before is not None:
            details["extra"] = {_CREATED: before.extra.get(_CREATED, before.created_at)}
        files.set(path, content, content_type=_content_type(path), **details)

    # Many files -------------------------------------------------------------------------------------------------

    def ls(self, path: str) -> LsResult:
        """The files and directories right below a directory."""
        prefix = path if path.endswith("/") else f"{path}/"
        entries: dict[str, FileInfo] = {}
        for view in self._files().entries(prefix):
            name, slash, _ = view.extra["key"].removeprefix(prefix).partition("/")
            if slash:
                directory = f"{prefix}{name}/"
                entries[directory] = FileInfo(path=directory, is_dir=True, size=0, modified_at="")
            else:
                entries[view.extra["key"]] = _info(view)
        return LsResult(entries=[entries[name] for name in sorted(entries)])

    def glob(self, pattern: str, path: str | None = None) -> GlobResult:
        """Files whose names match, the latest first."""
        try:
            found = list(self._matching(self._files(), pattern, path))
        except ValueError as error:
            return GlobResult(error=str(error))
        found.sort(key=lambda view: view.created_at, reverse=True)
        return GlobResult(matches=[_info(view) for view in found])

    def grep(
        self, pattern: str, path: str | None = None, glob: str | None = None, *, max_count: int | None = None
    ) -> GrepResult:
        """Lines that contain a text."""
        matches: list[GrepMatch] = []
        try:
            for some in _batches(self._matching(self._files(), glob, path)):
                found = zip(some, self._store.get().load_many(some), strict=True)
                files = {view.extra["key"]: _file_data(one) for view, one in found if one is not None}
                left = None if max_count is None else max_count - len(matches)
                result = grep_matches_from_files(files, pattern, max_count=left)
                matches += result.matches or []
                if result.truncated:
                    return GrepResult(matches=matches, truncated=True)
        except ValueError as error:
            return GrepResult(error=str(error))
        return GrepResult(matches=matches)

    def delete(self, file_path: str) -> DeleteResult:
        """Remove a file, or a directory with all that is in it."""
        files = self._files()
        base = file_path.rstrip("/")
        ids = [files.artifact_id(base)] if files.get_metadata(base) else []
        ids += [view.artifact_id for view in files.entries(f"{base}/")]
        if not any(self._store.get().delete_many(ids)):
            return DeleteResult(error=f"Error: File '{file_path}' not found")
        return DeleteResult(path=file_path)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        """Write files in one batch; those whose paths make no sense are left out, and named."""
        keyed, responses, payloads = self._files(), [], []
        for path, content in files:
            error = None
            try:
                keywords = keyed.keywords(validate_path(path))
                payload = Payload(
                    content,
                    content_type=_content_type(path),
                    artifact_id=keywords["artifact_id"],
                    extra=keywords["extra"],
                    ttl=self._ttl,
                )
                payloads.append(payload)
            except ValueError:
                error = "invalid_path"
            responses.append(FileUploadResponse(path=path, error=error))
        self._store.get().store_many(payloads, run_id=self._name(), exact_ttl=True)
        return responses

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        """Read files in one batch."""
        files, ids = self._files(), {}
        for path in paths:
            try:
                ids[path] = files.artifact_id(validate_path(path))
            except ValueError:
                continue
        found = dict(zip(ids, self._store.get().load_many(ids.values()), strict=True))
        responses = []
        for path in paths:
            artifact = found.get(path)
            if artifact is None:
                error = "file_not_found" if path in ids else "invalid_path"
                responses.append(FileDownloadResponse(path=path, error=error))
            else:
                responses.append(FileDownloadResponse(path=path, content=artifact.content))
        return responses

    def _name(self) -> str:
        return self._collection() if callable(self._collection) else self._collection

    def _files(self) -> Keyed:
        return Keyed(self._store.get(), self._name())

    @staticmethod
    def _matching(files: Keyed, pattern: str | None, path: str | None) -> Iterator[ArtifactMetadata]:
        """What lies at or below a path and matches a pattern.

        Raises:
            ValueError: The pattern is none.
        """
        matches = compile_grep_include_glob(pattern) if pattern else lambda _: True
        root = f"/{(path or '').strip('/')}"
        exact = files.get_metadata(root)
        if exact is not None:
            if matches(root.rpartition("/")[2]):
                yield exact
            return
        prefix = root if root == "/" else f"{root}/"
        for view in files.entries(prefix):
            if matches(view.extra["key"].removeprefix(prefix)):
                yield view


def _batches(views: Iterable[ArtifactMetadata]) -> Iterator[list[ArtifactMetadata]]:
    batch: list[ArtifactMetadata] = []
    size = 0
    for view in views:
        if batch and size + view.size_bytes > _SEARCHED:
            yield batch
            batch, size = [], 0
        batch.append(view)
        size += view.size_bytes
    if batch:
        yield batch


def _content_type(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _text(found: Artifact) -> str | None:
    """The content as text; `None` where it is none."""
    try:
        return found.as_text()
    except UnicodeDecodeError:
        return None


def _file_data(found: Artifact) -> FileData:
    view, text = found.metadata, _text(found)
    return FileData(
        content=base64.b64encode(found.content).decode() if text is None else text,
        encoding="base64" if text is None else "utf-8",
        created_at=view.extra.get(_CREATED, view.created_at),
        modified_at=view.created_at,
    )


def _info(view: ArtifactMetadata) -> FileInfo:
    return FileInfo(path=view.extra["key"], is_dir=False, size=view.size_bytes, modified_at=view.created_at)
