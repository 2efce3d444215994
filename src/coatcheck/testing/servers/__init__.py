"""Real servers for tests: each in a temporary directory, on free loopback ports, stopped with the test run.

`servers.tls` needs the package `trustme` and is imported by those who have it.
"""

from .cluster import Cluster, Node
from .engines import ENGINES, Engine
from .sentinels import Sentinels
from .server import Server

__all__ = ["ENGINES", "Cluster", "Engine", "Node", "Sentinels", "Server"]
