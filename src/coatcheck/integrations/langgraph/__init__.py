"""LangGraph on a store: a checkpointer, a cache for nodes, a serializer that keeps large values out of databases."""

try:
    from .cache import CoatcheckCache
    from .saver import CoatcheckSaver
    from .serializer import CoatcheckSerializer
except ImportError as error:
    raise ImportError("LangGraph is not installed: pip install 'coatcheck[langgraph]'") from error

__all__ = ["CoatcheckCache", "CoatcheckSaver", "CoatcheckSerializer"]
