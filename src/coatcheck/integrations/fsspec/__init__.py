"""A store as a file system: for everything that opens files by fsspec (pandas, Dask, Airflow, …)."""

from .system import CoatcheckFileSystem

__all__ = ["CoatcheckFileSystem"]
