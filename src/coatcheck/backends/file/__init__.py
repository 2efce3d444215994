"""Artifacts in a directory: contents by digest, metadata by id, in the layout of AbstractRuntime.

    artifacts/refs/<id>.meta              JSON: what AbstractRuntime reads, and all leases
    artifacts/blobs/<digest>.bin          a content, once for all ids
    artifacts/runs/<hash of run>/<id>     index: what a run may lease
    artifacts/needs/<digest>/<id>         index: explicit ids that need a content
    artifacts/locks/<number>              who writes; readers take no lock

A file gets its name when it is whole and on the disk, and the name of `.meta` publishes a store, after its content and
its entries in the indexes. So a crash leaves the old artifact or the new one, and beside it at most what nothing names,
for `gc`. Truth is the metadata; indexes say where to look. Older directories (`artifacts/<id>.meta` and `.bin`) are
read; what is stored there again moves.
"""

from .backend import FileBackend

__all__ = ["FileBackend"]
