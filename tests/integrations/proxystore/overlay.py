"""Put in the place of ProxyStore's own connectors while its tests run."""

from __future__ import annotations

import os
import uuid

import proxystore.connectors.file
import proxystore.connectors.local
import pytest
from proxystore.store import Store, store_registration

from coatcheck.integrations.proxystore import CoatcheckConnector


class LocalConnector(CoatcheckConnector):
    def __init__(self, include_data_in_config: bool = False, **config) -> None:
        super().__init__(**(config or {"url": os.environ["SUITE_URL"], "namespace": os.environ["SUITE_NAMESPACE"]}))


class FileConnector(LocalConnector):
    def __init__(self, store_dir: str | None = None, **config) -> None:
        super().__init__(**config)
        self.store_dir = store_dir  # where the tests look whether their files are gone


proxystore.connectors.local.LocalConnector = LocalConnector
proxystore.connectors.file.FileConnector = FileConnector


@pytest.fixture
def connectors():
    with LocalConnector() as connector:
        yield connector


@pytest.fixture
def store():
    with Store(str(uuid.uuid4()), LocalConnector(), cache_size=0) as store, store_registration(store):
        yield store
