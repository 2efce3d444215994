"""Templates: every text that they show is escaped, and made visible where a browser would obey it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import Response

from . import words
from .links import Links

if TYPE_CHECKING:
    from starlette.requests import Request


def _shown(value: Any) -> Any:
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _text(value: str) -> Markup:
    """Text of several lines."""
    return escape(words.visible(value.replace("\r\n", "\n"), keep="\n\t"))


def _when(moment: str | None, now: datetime | None = None) -> Markup:
    """A time from now, the exact one on hover; what ends within the hour is marked."""
    if moment is None:
        return Markup('<span class="quiet">never</span>')
    now = now or datetime.now(UTC)
    away = (words.moment(moment) - now).total_seconds()
    mark = Markup(' class="soon"') if 0 < away < 3600 else ""
    return Markup('<time datetime="{}" title="{}"{}>{}</time>').format(
        moment, words.exact(moment), mark, words.relative(moment, now)
    )


def _size(count: int) -> Markup:
    """Bytes, the exact number on hover."""
    return Markup('<data value="{}" title="{:,} bytes">{}</data>').format(count, count, words.size(count))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_environment: Final = Environment(
    loader=PackageLoader("coatcheck.ui"),
    autoescape=True,
    finalize=_shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(when=_when, size=_size, text=_text, visible=words.visible, count="{:,}".format, json=_json)


def page(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page.

    Args:
        request: What it answers.
        template: Its name, without `.html`.
        status: HTTP status.
        **values: What the template shows.
    """
    state = request.app.state
    html = _environment.get_template(f"{template}.html").render(
        to=Links.of(request), store_name=state.name, allow_delete=state.allow_delete, **values
    )
    return Response(html.encode("utf-8", "replace"), status, media_type="text/html; charset=utf-8")
