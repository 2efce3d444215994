"""Celery: large task bodies and results lie in a coatcheck store; a ticket goes through broker and result backend.

    from celery import Celery
    from coatcheck.integrations.celery import register

    app = Celery("app", broker="redis://…", backend="redis://…")
    register(app, "redis://…", ttl=86_400)

It is kombu's serializer `coatcheck`, found by its entry point too: then it uses `$COATCHECK_URL`, with nothing to call.
What is small travels as JSON, as ever. Nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

try:
    from kombu.utils import json as kombu_json
except ImportError as error:
    raise ImportError("Celery is not installed: pip install 'coatcheck[celery]'") from error

from coatcheck import ArtifactDecodeError, ArtifactError, InvalidArtifactError, get_artifact_id

from .opening import LazyStore

if TYPE_CHECKING:
    from coatcheck import ArtifactStore

NAME: Final = "coatcheck"
CONTENT_TYPE: Final = "application/x-coatcheck"
THRESHOLD: Final = 64 * 1024
TTL: Final = timedelta(days=7)

_MARK: Final = "@"  # JSON never begins with it
_VERSION: Final = 1
_PARTS: Final = 3  # of a task's body: arguments, keyword arguments, and its links to other tasks
_SMALL: Final = 4096  # characters of links that travel beside the ticket, too


class Serializer:
    """What is at least so large becomes a ticket; everything else is JSON.

    Args:
        store: Where large bodies lie.
        threshold: Bytes.
        ttl: How long they stay there, from when they were last sent.
        run_id: Who leases them.
    """

    def __init__(self, store: LazyStore, *, threshold: int, ttl: float | timedelta | None, run_id: str | None) -> None:
        self._store = store
        self._threshold = _checked(threshold)
        self._keywords: dict[str, Any] = {"ttl": ttl, "run_id": run_id}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    def encode(self, body: Any) -> str:
        """A body as JSON, or as a ticket."""
        text: str = kombu_json.dumps(body)
        content = text.encode()
        if len(content) < self._threshold:
            return text
        stored = self._store.get().store(content, content_type="application/json", **self._keywords)
        ticket = {"version": _VERSION, **stored.ref, "task": _is_task(body)}
        if ticket["task"]:
            links = kombu_json.dumps(body[-1])
            ticket["links"] = json.loads(links) if len(links) < _SMALL else {}
        return _MARK + json.dumps(ticket)

    def decode(self, message: str | bytes) -> Any:
        """The body.

        A worker drops messages that it cannot decode. So where the body of a task cannot be loaded, it is one whose
        arguments raise the error when the task is called with them: then the task fails, and whoever waits is told.

        Raises:
            ArtifactDecodeError: It is no message of ours, or what it names is no result.
            ArtifactNotFoundError: A result has expired.
        """
        text = message if isinstance(message, str) else bytes(message).decode()
        if not text.startswith(_MARK):
            return kombu_json.loads(text)
        try:
            ticket = json.loads(text[1:])
            version, is_task, artifact_id = ticket["version"], ticket["task"], get_artifact_id(ticket)
            links = kombu_json.loads(json.dumps(ticket["links"])) if is_task else None
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ArtifactDecodeError(f"{text!r:.100} is no message of coatcheck's") from None
        if version != _VERSION:
            what = f"a message of version {version!r:.20}"
            raise ArtifactDecodeError(f"{what}; this coatcheck reads version {_VERSION}: upgrade it")
        try:
            body = self._load(artifact_id)
            if is_task and not _is_task(body):
                raise ArtifactDecodeError(f"artifact {artifact_id} is no body of a task")
        except ArtifactError as error:
            if is_task:
                return [Missing(error), {}, links]
            raise
        return body

    def _load(self, artifact_id: str) -> Any:
        artifact = self._store.get().load(artifact_id, required=True)
        try:
            return kombu_json.loads(artifact.content)
        except Exception as error:  # kombu's decoders of types raise what they like
            raise ArtifactDecodeError(f"artifact {artifact_id} is no body of Celery's: {error}") from error


class Missing:
    """Arguments that could not be loaded; whoever wants them gets the error."""

    def __init__(self, error: ArtifactError) -> None:
        self._error = error

    def __iter__(self) -> Iterator[Any]:
        raise self._error

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._error}>"


def _is_task(body: Any) -> bool:
    return isinstance(body, list | tuple) and len(body) == _PARTS


def _checked(threshold: Any) -> int:
    if isinstance(threshold, bool) or not isinstance(threshold, int) or threshold < 1:
        raise InvalidArtifactError(f"threshold must be a number of bytes, 1 or more, not {threshold!r}")
    return threshold


def register(
    app: Any = None,
    store: str | ArtifactStore | None = None,
    *,
    threshold: int = THRESHOLD,
    ttl: float | timedelta | None = TTL,
    run_id: str | None = "celery",
    **options: Any,
) -> None:
    """Let the serializer `coatcheck` use a store, in this process and those forked from it.

    Args:
        app: A Celery app that is to send tasks and results by it, and to accept them beside JSON. Left out: that is
            configured elsewhere (`task_serializer`, `result_serializer`, `accept_content`).
        store: A URL as `coatcheck.open_store` takes it, or an open store; `None`: `$COATCHECK_URL`.
        threshold: Bodies of so many bytes as JSON become tickets.
        ttl: Seconds or a `timedelta` that they stay in the store: longer than any message waits in a queue, and than
            any result is asked for. `None`: for ever.
        run_id: Who leases them: `store.delete_by_run(run_id)` gives all up.
        **options: For `open_store`: `namespace`, `compression`, …

    Raises:
        InvalidArtifactError: An argument makes no sense.
    """
    from kombu import serialization  # noqa: PLC0415  # its import asks for our entry point: this module has to be whole

    made = Serializer(LazyStore(store, **options), threshold=threshold, ttl=ttl, run_id=run_id)
    serialization.register(NAME, made.encode, made.decode, CONTENT_TYPE, "utf-8")
    if app is not None:
        app.conf.update(
            task_serializer=NAME,
            result_serializer=NAME,
            accept_content=["json", NAME],
            result_accept_content=["json", NAME],
        )


_DEFAULT: Final = Serializer(LazyStore(), threshold=THRESHOLD, ttl=TTL, run_id="celery")
serializer: Final = (_DEFAULT.encode, _DEFAULT.decode, CONTENT_TYPE, "utf-8")
"""What kombu's entry point takes."""
