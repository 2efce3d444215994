"""Airflow's object storage at `coatcheck://…`, and so its XComs: found by Airflow as a provider of a file system.

Airflow calls `provider` by its entry point, then `get_fs` for every path of one of `schemes`.
"""

from __future__ import annotations

from typing import Any

from .fsspec import CoatcheckFileSystem

schemes = ["coatcheck"]


def provider() -> dict[str, Any]:
    """What Airflow wants to know of a provider."""
    return {
        "package-name": "coatcheck",
        "name": "coatcheck",
        "description": "Object storage and XComs in a content-addressed store on Redis.",
        "filesystems": [__name__],
    }


def get_fs(conn_id: str | None, storage_options: dict[str, Any] | None = None) -> CoatcheckFileSystem:
    """The file system behind `coatcheck://path` or `coatcheck://conn_id@path`.

    Args:
        conn_id: An Airflow connection, whose extra has the arguments of `CoatcheckFileSystem`: `url`, `namespace` and
            so on. `None`: the store at `$COATCHECK_URL`.
        storage_options: Further arguments, which win.
    """
    options: dict[str, Any] = {}
    if conn_id is not None:
        from airflow.sdk import BaseHook  # noqa: PLC0415  # slow, and only needed here

        options = dict(BaseHook.get_connection(conn_id).extra_dejson)
    return CoatcheckFileSystem(**{**options, **(storage_options or {})})
