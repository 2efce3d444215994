"""The page: what is in a store, whose it is and until when, in a browser. Needs the extra `ui`.

`app(store)` is an ASGI application, to serve alone or to mount in another one; `coatcheck ui` serves it.
"""

try:
    from .asgi import app
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "jinja2"):
        raise
    raise ModuleNotFoundError(f"the page needs {error.name}: pip install 'coatcheck[ui]'", name=error.name) from None

__all__ = ["app"]
