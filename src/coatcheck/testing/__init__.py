"""For those who implement or use stores: the contract suite, servers and fakes for tests (extra `testing`).

A backend of your own runs the suite like this:

    class TestMyStore(ArtifactStoreContract):
        @pytest.fixture
        def harness(self, tmp_path):
            return MyHarness(tmp_path)

where `MyHarness` is a `StoreHarness`.
"""

from ..errors import MissingExtraError
from .blocking import Blocking
from .clock import Clock, amemory_store, memory_store

try:
    from .contract import ArtifactStoreContract, StoreHarness
except ModuleNotFoundError as error:
    raise MissingExtraError(f"{error.name} is missing: pip install 'coatcheck[testing]'") from error
from .fake import afake_store, fake_store
from .servers import ENGINES, Cluster, Engine, Node, Sentinels, Server
from .waiting import eventually

__all__ = [
    "ENGINES",
    "ArtifactStoreContract",
    "Blocking",
    "Clock",
    "Cluster",
    "Engine",
    "Node",
    "Sentinels",
    "Server",
    "StoreHarness",
    "afake_store",
    "amemory_store",
    "eventually",
    "fake_store",
    "memory_store",
]
