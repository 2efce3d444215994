"""An embedded engine: a Valkey server of one's own on a unix socket, for every process on one directory.

`users.lock` says whether anybody is left: each user holds it shared, and the keeper takes it exclusively
before it stops the server, so nobody attaches to a dying one. `server.lock` says whether a server may be
started: it passes from the process that starts one to the keeper and on to the server, so two servers never
write one directory. Both are `flock`s, which the kernel drops with their last holder, however that ends.
"""

from coatcheck.embedded.engine import EmbeddedEngine, start_engine
from coatcheck.embedded.places import default_directory, locate_server

__all__ = ["EmbeddedEngine", "default_directory", "locate_server", "start_engine"]
