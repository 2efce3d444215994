"""LangGraph on a store: a checkpointer, a cache for nodes, a serializer that keeps large values out of databases."""

from .cache import CoatcheckCache
from .saver import CoatcheckSaver
from .serializer import CoatcheckSerializer

__all__ = ["CoatcheckCache", "CoatcheckSaver", "CoatcheckSerializer"]
