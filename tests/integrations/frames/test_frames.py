"""Typed values of pandas, PyArrow and Polars: what is stored comes back as it was, or is refused."""

from __future__ import annotations

from datetime import date

import pandas
import polars
import pyarrow
import pytest

from coatcheck import ArtifactDecodeError, InMemoryArtifactStore, InvalidArtifactError
from coatcheck.values import load_value, store_value


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


def test_data_frames_come_back_as_they_were(store) -> None:
    frame = pandas.DataFrame(
        {"a": [1, 2], "b": ["x", None], "c": pandas.to_datetime(["2026-01-01", None], utc=True)}, index=["p", "q"]
    )
    frame["d"] = frame["b"].astype("category")
    pandas.testing.assert_frame_equal(load_value(store, store_value(store, frame)), frame)
    with pytest.raises(InvalidArtifactError, match="cannot be kept as pandas"):
        store_value(store, pandas.DataFrame({"a": [object()]}))
    with pytest.raises(ArtifactDecodeError, match="cannot be read as pandas"):
        load_value(store, store.store(b"PAR1", content_type="application/vnd.apache.parquet").artifact_id)


def test_arrow_tables_come_back_as_they_were(store) -> None:
    table = pyarrow.table({"a": [1, None], "b": [["x"], []]}).replace_schema_metadata({"k": "v"})
    stored = store_value(store, table)
    back = load_value(store, stored)
    assert back.equals(table, check_metadata=True)
    content = load_value(store, stored, bytes)
    for cut in (b"", content[:-20], content[:100] + b"\xff" * 50 + content[150:]):
        with pytest.raises(ArtifactDecodeError, match="cannot be read as arrow"):
            load_value(store, store.store(cut, content_type="application/vnd.apache.arrow.stream").artifact_id)


def test_polars_frames_come_back_as_they_were(store, leaks) -> None:
    frame = polars.DataFrame({"a": [1, None], "b": [["x"], []], "c": [date(2026, 1, 1), None]})
    with leaks.lasting():  # its threads
        assert load_value(store, store_value(store, frame)).equals(frame)
    with pytest.raises(InvalidArtifactError, match="cannot be kept as polars"):
        store_value(store, polars.DataFrame({"a": [object()]}))
    with pytest.raises(ArtifactDecodeError, match="cannot be read as polars"):
        load_value(store, store.store(b"ARROW1", content_type="application/vnd.apache.arrow.file").artifact_id)
