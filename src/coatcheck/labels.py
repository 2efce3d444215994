"""Changes of what a lease says of its artifact: content type, tags, and metadata of the caller's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .arguments import check_content_type, check_flag, check_tags
from .encoding import encode_extra, read_extra
from .errors import InvalidArtifactError

TagsOrChange = Mapping[str, str] | Callable[[dict[str, str]], Mapping[str, str]]
"""Tags, or a function that makes the new ones of the old ones."""

ExtraOrChange = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]
"""The same for `extra`."""


class Labels(NamedTuple):
    """What a lease says of its artifact; `extra` as JSON."""

    content_type: str
    tags: dict[str, str]
    extra: str


class Change:
    """A change of labels, checked as far as can be without the old ones.

    Args:
        content_type: The new one; `None`: as it is.
        tags: Added to the old ones, or a function of them; `None`: as they are.
        extra: Likewise, by the names at its top.
        replace: Mappings take the place of the old ones.

    Attributes:
        computed: Whether a function of the caller's has its part in it: twice is not the same as once then.

    Raises:
        InvalidArtifactError: Something of it makes no sense, or there is nothing to change.
    """

    def __init__(
        self, content_type: str | None, tags: TagsOrChange | None, extra: ExtraOrChange | None, *, replace: bool
    ) -> None:
        if content_type is None and tags is None and extra is None:
            raise InvalidArtifactError("nothing to change: give content_type, tags or extra")
        self._content_type = None if content_type is None else check_content_type(content_type)
        self._tags = tags if callable(tags) else check_tags(tags)
        self._extra = extra if callable(extra) else read_extra("" if extra is None else encode_extra(extra))
        self._keeps_tags = tags is None
        self._keeps_extra = extra is None
        self._replace = check_flag(replace, "replace")
        self.computed = callable(tags) or callable(extra)

    def of(self, old: Labels) -> Labels:
        """The new labels.

        Raises:
            InvalidArtifactError: They are too many or too long together.
        """
        tags, extra = old.tags, old.extra
        if not self._keeps_tags:
            tags = check_tags(self._changed(self._tags, dict(tags)))
        if not self._keeps_extra:
            extra = encode_extra(self._changed(self._extra, read_extra(extra)))
        return Labels(self._content_type or old.content_type, tags, extra)

    def _changed(self, change: Any, old: dict[str, Any]) -> Any:
        if callable(change):
            new = change(old)
            if not isinstance(new, Mapping):  # as of one that changes the old ones in place
                raise InvalidArtifactError(f"the function has to return the new mapping, not {type(new).__name__}")
            return new
        return change if self._replace else {**old, **change}
