"""Typed values: what is stored comes back as it was, or is refused; what lies in the store runs no code."""

from __future__ import annotations

import asyncio
import io
import pickle
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Annotated, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy
import pytest
from hypothesis import example, given
from PIL import Image, ImageChops
from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel, field_serializer

from coatcheck import (
    ArtifactDecodeError,
    ArtifactError,
    ArtifactNotFoundError,
    AsyncInMemoryArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    MissingExtraError,
    artifact_ref,
)
from coatcheck.values import (
    CODECS,
    TYPED_JSON,
    Codec,
    PickleCodec,
    aload_value,
    astore_value,
    load_value,
    store_value,
)

from ..anything import SETTINGS, exactly, json_values, values


@pytest.fixture
def store() -> InMemoryArtifactStore:
    return InMemoryArtifactStore()


def put(store, value, **how) -> str:
    return store_value(store, value, **how).artifact_id


class Colour(Enum):
    RED = "red"


class Level(StrEnum):
    HIGH = "high"


@dataclass
class Point:
    x: int
    y: tuple[int, ...] = ()


class Tags(RootModel[set[str]]):
    """A model that is one value."""


class Report(BaseModel, extra="allow"):
    title: str = Field(alias="Title", serialization_alias="TITLE")
    body: bytes = Field(validation_alias=AliasChoices(AliasPath("parts", 0), "content"), exclude=True)
    tags: Tags = Tags({"x"})
    at: datetime
    points: list[Point]
    colour: Colour
    parent: Report | None = None


class Special(Report):
    more: tuple[int, ...] = ()

    @field_serializer("more")
    def shorten(self, more: tuple[int, ...]) -> str:
        return f"{len(more)} numbers"


REPORT = Report(
    Title="t", content=b"\xff", at=datetime(2026, 1, 2, tzinfo=UTC), points=[Point(1, (2,))], colour=Colour.RED
)


# There and back -----------------------------------------------------------------------------------------------------


@SETTINGS
@given(values)
@example({"$type": "dict", "value": {}})
@example({"$artifact": "a" * 32})
@example("\ud800")
@example([{"$type": {"$artifact": {"$type": 1}}}])
def test_every_value_comes_back_as_it_was(value) -> None:
    store = InMemoryArtifactStore()
    assert exactly(load_value(store, put(store, value))) == exactly(value)


@SETTINGS
@given(json_values)
def test_what_json_can_say_is_stored_as_anyone_would(value) -> None:
    store = InMemoryArtifactStore()
    stored = store_value(store, value)
    if stored.content_type == "application/json":
        assert store.load_json(stored.artifact_id) == value
    assert (stored.content_type == "text/plain") <= isinstance(value, str)


def test_the_content_type_says_how(store) -> None:
    expected = {
        "application/octet-stream": b"x",
        "text/plain": "x",
        "application/json": {"x": [1, None]},
        TYPED_JSON: {"x": (1,)},
        "application/x-npy": numpy.zeros(3),
        "image/png": Image.new("L", (1, 1)),
    }
    assert [store_value(store, value).content_type for value in expected.values()] == list(expected)
    assert store_value(store, {"x": 1}, codec="msgpack").content_type == "application/msgpack"
    assert put(store, {"é": [1.5]}) == store.store_json({"é": [1.5]}).artifact_id


def test_equal_sets_are_one_content(store) -> None:
    one, other = set([0, 8]), set([8, 0])
    assert list(one) != list(other)
    assert put(store, one) == put(store, other)


def test_models_and_dataclasses_come_back_where_a_type_is_named(store) -> None:
    special = Special(**dict(REPORT), Title="s", content=b"", more=(1, 2), extra=(3,))
    nested = REPORT.model_copy(update={"parent": special})
    assert load_value(store, put(store, special), Special) == special
    assert load_value(store, put(store, nested))["parent"]["more"] == (1, 2)
    assert load_value(store, put(store, [REPORT]), tuple[Report, ...]) == (REPORT,)
    assert load_value(store, put(store, [Point(1), Point(2, (3,))]), list[Point]) == [Point(1), Point(2, (3,))]
    assert load_value(store, put(store, Point(1, (2,)))) == {"x": 1, "y": (2,)}
    assert load_value(store, put(store, Colour.RED), Colour) is Colour.RED


def test_what_is_a_kind_of_something_known_comes_back_as_that(store) -> None:
    class Named(NamedTuple):
        a: int

    value = [Level.HIGH, Named(1), OrderedDict(a=True), bytearray(b"x"), memoryview(b"y"), numpy.float64(0.5)]
    assert exactly(load_value(store, put(store, value))) == exactly(["high", (1,), {"a": True}, b"x", b"y", 0.5])


def test_tickets_and_ids_name_a_value(store) -> None:
    stored = store_value(store, (1, 2), run_id="a", tags={"k": "v"}, artifact_id="pair", ttl=60)
    assert (stored.run_id, stored.tags, stored.artifact_id) == ("a", {"k": "v"}, "pair")
    assert load_value(store, "pair") == load_value(store, artifact_ref("pair")) == load_value(store, stored) == (1, 2)


def test_asyncio_stores_do_the_same() -> None:
    async def there_and_back() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            stored = await astore_value(store, REPORT, run_id="a")
            assert await aload_value(store, stored.artifact_id, Report) == REPORT
            assert await aload_value(store, "nothing", default=None) is None
            with pytest.raises(ArtifactNotFoundError):
                await aload_value(store, "nothing")

    asyncio.run(there_and_back())


# Types --------------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_an_error_unless_there_is_a_default(store) -> None:
    assert load_value(store, put(store, None)) is None
    assert load_value(store, "nothing", default=0) == 0
    with pytest.raises(ArtifactNotFoundError, match="nothing"):
        load_value(store, "nothing")


def test_bytes_are_the_content_as_it_is(store) -> None:
    stored = store.store(b"\x89PNG, or not", content_type="image/png")
    assert load_value(store, stored.artifact_id, bytes) == b"\x89PNG, or not"


@pytest.mark.parametrize(
    ("value", "type", "message"),
    [
        ("secret", int, "is not a int"),
        ({"Title": "secret"}, Report, r"is not a Report: \$\.parts\[0\] Field required"),
        ([1, 2], numpy.ndarray, "is not a ndarray"),
        (-1, Annotated[int, Field(gt=0)], "is not a .*greater than 0"),
        ({"x": "secret"}, list[Point], "is not a list"),
    ],
)
def test_a_value_of_another_type_is_refused_without_showing_it(store, value, type, message) -> None:
    with pytest.raises(ArtifactDecodeError, match=message) as refused:
        load_value(store, put(store, value), type)
    assert "secret" not in str(refused.value)


# What cannot be kept ------------------------------------------------------------------------------------------------


class Looped(BaseModel):
    around: list = []


def loop() -> Looped:
    model = Looped()
    model.around.append({"a": model})
    return model


def cycle() -> list:
    value: list = [1]
    value.append({"back": value})
    return value


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [object()]}, r"\$\.a\[0\] is of type object, which has no JSON"),
        ({"a b": Fraction(1)}, r'\$\["a b"\] is of type fractions.Fraction'),
        ([1, {2: 3}], r"\$\[1\] has the key 2: keys must be strings"),
        ([float("nan")], r"\$\[0\] is nan, which JSON cannot say"),
        (-float("inf"), r"\$ is -inf"),
        ([Decimal("sNaN")], r"\$\[0\] is no decimal that can be kept"),
        ([time(1, tzinfo=ZoneInfo("Europe/Berlin"))], "the offset of Europe/Berlin depends on the day"),
        (loop(), r"\$\.around\[0\]\.a\.around contains itself"),
        (cycle(), r"\$\[1\]\.back contains itself"),
        (nested(200), r"is nested more than 100 deep"),
        (nested(100_000), r"is nested more than 100 deep"),
        ([list(range(1000))] * 1001, r"is or follows value 1,000,\d{3}: raise limits.count"),
        ([10**5000], "cannot be written as JSON"),
        ([numpy.int64(1)], r"\$\[0\] is of type numpy.int64"),
        (Point, r"\$ is of type type"),
        (numpy.array([object()]), "a value of type numpy.ndarray cannot be kept as numpy: Object arrays"),
        (Image.new("CMYK", (1, 1)), "PNG has no mode CMYK"),
        (range(3), r"\$ is of type range"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(store, value, message) -> None:
    with pytest.raises(InvalidArtifactError, match=message):
        store_value(store, value)
    assert store.list_all() == []


# What does not fit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "content", "message"),
    [
        ("text/html; charset=latin-1", b"\xff", "cannot be read as text"),
        ("application/json", b"{", "cannot be read as json"),
        ("application/problem+json", b"[NaN]", "NaN is not JSON"),
        ("application/json", b"[" * 100_000, "it is nested too deep"),
        (TYPED_JSON, b'{"$type":"tuple"}', "was not written by coatcheck"),
        (TYPED_JSON, b'{"$type":"os.system","value":"true"}', "not of a type that this version of coatcheck knows"),
        (TYPED_JSON, b'{"$type":["dict"],"value":{}}', "was not written by coatcheck"),
        (TYPED_JSON, b'{"$type":"dict","value":[]}', "not of a type that this version"),
        (TYPED_JSON, b'{"a":{"$type":"uuid","value":7}}', r"\$\.a is no uuid: its value is a int"),
        (TYPED_JSON, b'[{"$type":"bytes","value":"*"}]', r"\$\[0\] is no bytes"),
        (TYPED_JSON, b'{"$type":"decimal","value":"NaN"}', "is no decimal: NaN is not a number"),
        (TYPED_JSON, b'{"$type":"datetime","value":"yesterday"}', "is no datetime"),
        (TYPED_JSON, b'{"$type":"timedelta","value":[1e99,0,0]}', "is no timedelta"),
        (TYPED_JSON, b'{"$type":"set","value":[[]]}', "is no set: .*unhashable"),
        (TYPED_JSON, b'{"$artifact":"x"}', "is a ticket"),
        ("application/msgpack", b"\xc1", "cannot be read as msgpack"),
        ("application/x-npy", b"\x93NUMPY\x01\x00", "cannot be read as numpy"),
        ("image/png", b"GIF89a", "cannot be read as pillow"),
        ("application/x-python-pickle", pickle.dumps(1), "run the code of whoever wrote them"),
    ],
)
def test_content_that_is_not_what_its_type_says_is_refused(store, content_type, content, message) -> None:
    stored = store.store(content, content_type=content_type)
    with pytest.raises(ArtifactDecodeError, match=message) as refused:
        load_value(store, stored.artifact_id)
    assert stored.artifact_id in str(refused.value)


def test_what_nobody_knows_is_bytes(store) -> None:
    assert load_value(store, store.store(b"%PDF", content_type="application/pdf").artifact_id) == b"%PDF"
    assert load_value(store, store.store(b"# x", content_type="Text/Markdown; variant=GFM").artifact_id) == "# x"
    assert load_value(store, store.store(b"[1]", content_type="application/geo+json").artifact_id) == [1]


class Explosive:
    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def test_no_pickle_is_opened_inside_an_array_either(store) -> None:
    buffer = io.BytesIO()
    numpy.save(buffer, numpy.array([Explosive()], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactDecodeError, match="allow_pickle=False"):
        load_value(store, store.store(buffer.getvalue(), content_type="application/x-npy").artifact_id)


# Codecs -------------------------------------------------------------------------------------------------------------


def test_pickle_is_for_those_who_say_whom_they_trust(store) -> None:
    with pytest.raises(InvalidArtifactError, match="trust_everyone_who_can_write=True"):
        store_value(store, Fraction(1, 3), codec="pickle")
    trusting = CODECS.extended(PickleCodec(trust_everyone_who_can_write=True))
    pickled = put(store, Fraction(1, 3), codec="pickle", codecs=trusting)
    assert load_value(store, pickled, codecs=trusting) == Fraction(1, 3)
    with pytest.raises(ArtifactDecodeError):
        load_value(store, pickled)
    with pytest.raises(InvalidArtifactError):
        store_value(store, Fraction(1, 3), codecs=trusting)  # not even then unless it is named


class FractionCodec(Codec):
    name = "fraction"
    content_types = ("text/x-fraction",)

    def accepts(self, value):
        return isinstance(value, Fraction)

    def encode(self, value):
        return str(value).encode()

    def decode(self, content, content_type):
        return Fraction(content.decode())


def test_codecs_of_ones_own_come_first(store) -> None:
    mine = CODECS.extended(FractionCodec())
    stored = store_value(store, Fraction(1, 3), codecs=mine)
    assert stored.content_type == "text/x-fraction"
    assert load_value(store, stored.artifact_id, codecs=mine) == Fraction(1, 3)
    assert load_value(store, stored.artifact_id) == "1/3"
    with pytest.raises(ArtifactDecodeError, match="cannot be read as fraction"):
        load_value(store, store.store(b"1/0", content_type="text/x-fraction").artifact_id, codecs=mine)
    with pytest.raises(InvalidArtifactError, match="no codec 'yaml'; known codecs: fraction, numpy"):
        store_value(store, 1, codec="yaml", codecs=mine)


def test_msgpack_keeps_what_it_can_and_refuses_the_rest(store) -> None:
    value = {"a": [b"\xff", 2**64 - 1, datetime(2026, 1, 2, tzinfo=UTC)], "": None}
    assert load_value(store, put(store, value, codec="msgpack")) == value
    for other in [(1,), 2**64, {1, 2}, datetime(2026, 1, 2)]:
        with pytest.raises(InvalidArtifactError, match="cannot be kept as msgpack"):
            store_value(store, [other], codec="msgpack")


# Other packages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6, dtype=">i2").reshape(2, 3),
        numpy.asfortranarray(numpy.eye(3)),
        numpy.array(1.5),
        numpy.array([], dtype="c16"),
        numpy.array(["2026-01-01", "NaT"], dtype="M8[D]"),
        numpy.array([(1, "é")], dtype=[("a", "i4"), ("b", "U2")]),
    ],
)
def test_arrays_come_back_as_they_were(store, array) -> None:
    back = load_value(store, put(store, array))
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_images_come_back_pixel_by_pixel(store, mode) -> None:
    image = Image.linear_gradient("L").resize((40, 30)).convert("I").convert(mode)
    back = load_value(store, put(store, image))
    assert (back.mode, back.size) == (image.mode, image.size)
    assert back.tobytes() == image.tobytes()


def test_images_of_any_file_are_kept_and_of_several_frames_refused(store) -> None:
    frames = [Image.new("L", (2, 2), shade) for shade in (0, 255)]
    one, many = io.BytesIO(), io.BytesIO()
    frames[0].convert("RGB").save(one, "JPEG")
    frames[0].save(many, "GIF", save_all=True, append_images=frames[1:])
    image = Image.open(one)
    assert not ImageChops.difference(load_value(store, put(store, image)), image).getbbox()
    with pytest.raises(InvalidArtifactError, match="it has 2 frames"):
        store_value(store, Image.open(many))
    with pytest.raises(ArtifactDecodeError, match="cannot be read as pillow"):
        load_value(store, store.store(many.getvalue(), content_type="image/png").artifact_id)


@pytest.mark.parametrize(
    ("content_type", "extra"),
    [
        ("application/x-npy", "numpy"),
        ("application/vnd.apache.parquet", "pandas"),
        ("application/vnd.apache.arrow.file", "polars"),
        ("application/vnd.apache.arrow.stream", "arrow"),
        ("image/png", "pillow"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_extra(store, monkeypatch, content_type, extra) -> None:
    for name in ("numpy", "pandas", "polars", "pyarrow", "PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)
    stored = store.store(b"x", content_type=content_type)
    with pytest.raises(MissingExtraError, match=rf"pip install 'coatcheck\[{extra}\]'") as missing:
        load_value(store, stored.artifact_id)
    assert isinstance(missing.value, ImportError) and isinstance(missing.value, ArtifactError)
    assert load_value(store, stored.artifact_id, bytes) == b"x"
    assert load_value(store, put(store, [1])) == [1]  # whose type nobody imports a package for


def test_importing_it_imports_none_of_them() -> None:
    script = "import sys, coatcheck.offloading\nassert not {'numpy', 'pandas', 'polars', 'pyarrow', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    "type_",
    ["int", "\0", 17, b"int", {"a": 1}, [int], iter(())],
    ids=["name", "NUL", "number", "bytes", "dict", "list", "iterator"],
)
def test_a_type_that_is_none_is_refused(type_) -> None:
    store = InMemoryArtifactStore()
    with pytest.raises(InvalidArtifactError, match="type must be"):
        load_value(store, store_value(store, {"a": 1}), type_)


def test_a_type_may_have_no_hash() -> None:
    store = InMemoryArtifactStore()
    assert load_value(store, store_value(store, 3), Annotated[int, {"of": "pieces"}]) == 3


@pytest.mark.parametrize("codec", [17, ["json"], {"json"}, b"json"], ids=["number", "list", "set", "bytes"])
def test_a_codec_that_is_no_name_is_refused(codec) -> None:
    with pytest.raises(InvalidArtifactError, match="there is no codec"):
        store_value(InMemoryArtifactStore(), 1, codec=codec)
