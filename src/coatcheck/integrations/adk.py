"""Google's Agent Development Kit: the artifacts of agents lie in a coatcheck store (extra `adk`).

from google.adk.runners import Runner
from coatcheck.integrations.adk import CoatcheckArtifactService

runner = Runner(…, artifact_service=CoatcheckArtifactService("redis://localhost:6379/0"))
"""

from __future__ import annotations

import json
from typing import Any, Final

try:
    from google.adk.artifacts import BaseArtifactService, artifact_util
    from google.adk.artifacts.base_artifact_service import ArtifactVersion, ensure_part
    from google.adk.errors.input_validation_error import InputValidationError
    from google.genai import types
except ImportError as error:
    raise ImportError("Google's Agent Development Kit is not installed: pip install 'coatcheck[adk]'") from error

from coatcheck import DEFAULT, Artifact, ArtifactMetadata, AsyncArtifactStore
from coatcheck.arguments import TtlOrDefault
from coatcheck.keyed import AsyncVersions

from .opening import LazyAsyncStore

USER: Final = "user:"
"""What the name of an artifact begins with that belongs to a user, whatever the session."""

_HOPS: Final = 5  # artifacts that refer to each other and are followed, as many as ADK's own services follow
_TYPE: Final = "application/octet-stream"
_REWOUND: Final = types.Part(inline_data=types.Blob(mime_type=_TYPE, data=b""))  # what a rewind saves for "absent"


class CoatcheckArtifactService(BaseArtifactService):
    """Artifacts with versions, of sessions and of users.

    A session is a run (`run_of`), and so is what a user has across sessions. However many processes save at once, no
    version is skipped and none is given twice. Equal contents are kept once.

    Args:
        url: Of the store; `None` is `$COATCHECK_URL`. Or an open `AsyncArtifactStore`, which its owner closes.
        ttl: How long each version lasts: seconds, a `timedelta` or `None`; left out: the store's `default_ttl`.
        **options: For `aopen_store`, as `namespace`.
    """

    def __init__(
        self, url: str | AsyncArtifactStore | None = None, *, ttl: TtlOrDefault = DEFAULT, **options: Any
    ) -> None:
        self._store = LazyAsyncStore(url, **options)
        self._ttl = ttl

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    @staticmethod
    def run_of(app_name: str, user_id: str, session_id: str | None = None) -> str:
        """The run of a session; without one that of a user's own artifacts: what `delete_by_run` takes."""
        names = [app_name, user_id] if session_id is None else [app_name, user_id, session_id]
        for value, what in zip(names, ("app_name", "user_id", "session_id"), strict=False):
            artifact_util.validate_path_segment(value, what)
        return json.dumps(names, ensure_ascii=False, separators=(",", ":"))

    async def close(self) -> None:
        """Close the store, if it was opened here."""
        await self._store.close()

    async def save_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        artifact: types.Part | dict[str, Any],
        session_id: str | None = None,
        custom_metadata: dict[str, Any] | None = None,
    ) -> int:
        """Save the next version of an artifact; which one it became."""
        part = ensure_part(artifact)
        content, content_type = _content(part)
        if artifact_util.is_artifact_ref(part):
            _target(part, app_name, user_id, session_id)
        versions = await self._versions(app_name, user_id, filename, session_id)
        view = await versions.add(
            filename,
            content,
            content_type=content_type,
            extra={"part": _without_content(part), "custom_metadata": custom_metadata or {}},
            ttl=self._ttl,
        )
        version: int = view.extra["version"]
        return version

    async def load_artifact(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> types.Part | None:
        """One version of an artifact, the latest if none is named; `None` where there is none."""
        for _ in range(_HOPS + 1):
            versions = await self._versions(app_name, user_id, filename, session_id)
            if version is not None and version < 0:  # refused by `get`, and merely not there for ADK's own services
                return None
            found = await versions.get(filename, version)
            if found is None:
                return None
            part = _part(found)
            if not artifact_util.is_artifact_ref(part):
                return None if part == _REWOUND else part
            app_name, user_id, session_id, filename, version = _target(part, app_name, user_id, session_id)
        raise InputValidationError(f"artifact {filename!r} is at the end of more than {_HOPS} references: a circle?")

    async def list_artifact_keys(self, *, app_name: str, user_id: str, session_id: str | None = None) -> list[str]:
        """The names of a user's artifacts, and of a session's if one is named, sorted."""
        store = await self._store.get()
        runs = [self.run_of(app_name, user_id)]
        if session_id is not None:
            runs.append(self.run_of(app_name, user_id, session_id))
        return sorted([key for run in runs for key in await AsyncVersions(store, run).keys()])

    async def delete_artifact(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> None:
        """Remove all versions of an artifact."""
        await (await self._versions(app_name, user_id, filename, session_id)).delete(filename)

    async def list_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[int]:
        """The versions that are there, the oldest first."""
        views = await (await self._versions(app_name, user_id, filename, session_id)).versions(filename)
        return [view.extra["version"] for view in views]

    async def list_artifact_versions(
        self, *, app_name: str, user_id: str, filename: str, session_id: str | None = None
    ) -> list[ArtifactVersion]:
        """The same with what is known of each."""
        views = await (await self._versions(app_name, user_id, filename, session_id)).versions(filename)
        return [_version(view, app_name, user_id, session_id) for view in views]

    async def get_artifact_version(
        self,
        *,
        app_name: str,
        user_id: str,
        filename: str,
        session_id: str | None = None,
        version: int | None = None,
    ) -> ArtifactVersion | None:
        """What is known of one version, the latest if none is named; `None` where there is none."""
        views = await (await self._versions(app_name, user_id, filename, session_id)).versions(filename)
        wanted = [view for view in views if version is None or view.extra["version"] == version]
        return _version(wanted[-1], app_name, user_id, session_id) if wanted else None

    async def _versions(self, app_name: str, user_id: str, filename: str, session_id: str | None) -> AsyncVersions:
        """Those of a session, or those of a user."""
        if filename.startswith(USER):
            run = self.run_of(app_name, user_id)
        elif session_id is None:
            raise InputValidationError(f"session_id is missing: only names that begin with {USER!r} belong to a user")
        else:
            run = self.run_of(app_name, user_id, session_id)
        return AsyncVersions(await self._store.get(), run)


def _content(part: types.Part) -> tuple[bytes, str]:
    """What is kept as content, and its type."""
    if part.inline_data is not None:
        if part.inline_data.data is None:
            raise InputValidationError("the artifact's inline_data has no data")
        return part.inline_data.data, part.inline_data.mime_type or _TYPE
    if part.text is not None:
        return part.text.encode(), "text/plain"
    if part.file_data is not None and part.file_data.file_uri:
        return b"", part.file_data.mime_type or _TYPE
    raise InputValidationError("an artifact is inline_data, text, or file_data with a file_uri: nothing of it is there")


def _without_content(part: types.Part) -> dict[str, Any]:
    """All else of a part, as JSON."""
    content: Any = {"inline_data": {"data"}} if part.inline_data is not None else {"text"}
    kept: dict[str, Any] = part.model_dump(mode="json", exclude_none=True, exclude=content)
    return kept


def _part(found: Artifact) -> types.Part:
    part = types.Part.model_validate(found.metadata.extra["part"])
    if part.inline_data is not None:
        part.inline_data.data = found.content
    elif part.file_data is None:
        part.text = found.as_text()
    return part


def _target(
    part: types.Part, app_name: str, user_id: str, session_id: str | None
) -> tuple[str, str, str | None, str, int]:
    """Where an artifact's reference leads: to another one of the same user, and of the same session or of none."""
    uri = part.file_data.file_uri if part.file_data is not None else None
    parsed = artifact_util.parse_artifact_uri(uri or "")
    if parsed is None:
        raise InputValidationError(f"{uri!r} is no reference to an artifact")
    artifact_util.validate_artifact_reference_scope(
        app_name=app_name, user_id=user_id, session_id=session_id, parsed_uri=parsed
    )
    return parsed.app_name, parsed.user_id, parsed.session_id, parsed.filename, parsed.version


def _version(view: ArtifactMetadata, app_name: str, user_id: str, session_id: str | None) -> ArtifactVersion:
    filename, version = view.extra["key"], view.extra["version"]
    part = types.Part.model_validate(view.extra["part"])
    mime_type: str | None = "text/plain"
    for data in (part.inline_data, part.file_data):
        if data is not None:
            mime_type = data.mime_type
    session = None if filename.startswith(USER) else session_id
    return ArtifactVersion(
        version=version,
        canonical_uri=artifact_util.get_artifact_uri(app_name, user_id, filename, version, session),
        custom_metadata=view.extra["custom_metadata"],
        create_time=view.created.timestamp(),
        mime_type=mime_type,
    )
