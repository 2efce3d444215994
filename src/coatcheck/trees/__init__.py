"""Directories under one ticket: `store_tree` stores each file once and a manifest that names them all.

`open_tree` reads the manifest alone; files are fetched when they are asked for, or all at once by `restore`.
"""

from ..ids import TREE_TYPE
from .manifest import TreeEntry
from .opened import AsyncTree, Tree, aopen_run, aopen_tree, open_run, open_tree
from .storing import astore_tree, store_tree

__all__ = [
    "TREE_TYPE",
    "AsyncTree",
    "Tree",
    "TreeEntry",
    "aopen_run",
    "aopen_tree",
    "astore_tree",
    "open_run",
    "open_tree",
    "store_tree",
]
