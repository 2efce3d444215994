"""A store as a file system: for everything that opens files by fsspec (pandas, Dask, Airflow, …)."""

try:
    from .system import CoatcheckFileSystem
except ImportError as error:
    raise ImportError("fsspec is not installed: pip install 'coatcheck[fsspec]'") from error

__all__ = ["CoatcheckFileSystem"]
