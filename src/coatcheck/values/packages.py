"""Codecs for values of other packages, each in that package's own safe format, imported where it is needed."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any, ClassVar

from ..errors import MissingExtraError
from .codecs import Codec


class PackageCodec(Codec):
    """For one class of one package, and none of its subclasses, which may mean more than the format keeps.

    Attributes:
        package: Where the class is from.
        class_name: Its name there.
        needs: What is imported to encode and decode.
    """

    package: ClassVar[str]
    class_name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def accepts(self, value: object) -> bool:
        """A package that nobody has imported has made no value."""
        return type(value) is getattr(sys.modules.get(self.package), self.class_name, None)

    def _import(self) -> Any:
        try:
            package, *_ = [importlib.import_module(name) for name in (self.package, *self.needs)]
        except ImportError as error:
            raise MissingExtraError(
                f"values of type {self.content_types[0]!r} need {error.name}: pip install 'coatcheck[{self.name}]'"
            ) from error
        return package


class NumpyCodec(PackageCodec):
    """Arrays without Python objects, as `.npy`."""

    name = "numpy"
    content_types = ("application/x-npy",)
    package, class_name, needs = "numpy", "ndarray", ("numpy.lib.format",)

    def encode(self, value: Any) -> bytes:
        buffer = io.BytesIO()
        self._import().lib.format.write_array(buffer, value, allow_pickle=False)
        return buffer.getvalue()

    def decode(self, content: bytes, content_type: str) -> Any:
        return self._import().lib.format.read_array(io.BytesIO(content), allow_pickle=False)


class PandasCodec(PackageCodec):
    """Data frames with their index, as Parquet."""

    name = "pandas"
    content_types = ("application/vnd.apache.parquet",)
    package, class_name, needs = "pandas", "DataFrame", ("pyarrow",)

    def encode(self, value: Any) -> bytes:
        self._import()
        return bytes(value.to_parquet(engine="pyarrow"))

    def decode(self, content: bytes, content_type: str) -> Any:
        return self._import().read_parquet(io.BytesIO(content), engine="pyarrow")


class PolarsCodec(PackageCodec):
    """Data frames of Polars, as an Arrow file."""

    name = "polars"
    content_types = ("application/vnd.apache.arrow.file",)
    package, class_name = "polars", "DataFrame"

    def encode(self, value: Any) -> bytes:
        return bytes(value.write_ipc(None).getvalue())

    def decode(self, content: bytes, content_type: str) -> Any:
        return self._import().read_ipc(io.BytesIO(content))


class ArrowCodec(PackageCodec):
    """Tables of PyArrow, as an Arrow stream."""

    name = "arrow"
    content_types = ("application/vnd.apache.arrow.stream",)
    package, class_name, needs = "pyarrow", "Table", ("pyarrow.ipc",)

    def encode(self, value: Any) -> bytes:
        arrow = self._import()
        sink = arrow.BufferOutputStream()
        with arrow.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        return bytes(sink.getvalue().to_pybytes())

    def decode(self, content: bytes, content_type: str) -> Any:
        table = self._import().ipc.open_stream(content).read_all()
        table.validate(full=True)  # offsets that point elsewhere would be followed
        return table


class PillowCodec(PackageCodec):
    """Images, as PNG; those of modes that PNG keeps."""

    name = "pillow"
    content_types = ("image/png",)
    package, class_name = "PIL.Image", "Image"

    _MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})

    def accepts(self, value: object) -> bool:
        """Images that were read from a file are of a subclass for each format; their pixels are what is kept."""
        package = sys.modules.get(self.package)
        return package is not None and isinstance(value, package.Image)

    def encode(self, value: Any) -> bytes:
        if value.mode not in self._MODES:
            raise ValueError(f"PNG has no mode {value.mode}: convert it to one of {', '.join(sorted(self._MODES))}")
        if getattr(value, "n_frames", 1) != 1:
            raise ValueError(f"it has {value.n_frames} frames: take one of them")
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return buffer.getvalue()

    def decode(self, content: bytes, content_type: str) -> Any:
        with self._import().open(io.BytesIO(content), formats=("PNG",)) as image:
            return image.copy()
