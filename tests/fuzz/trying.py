"""What all fuzzers share: chance with a seed, things to hand in, and what is counted."""

from __future__ import annotations

import datetime
import hashlib
import random
import string
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from coatcheck import Artifact, ArtifactError
from coatcheck.ids import ID_LENGTH, is_default_id

from ..sizes import FUZZ, SEED


class Fuzzer:
    """One run of a fuzzer, its chance and its tally.

    Args:
        name: It has a chance of its own, so that others don't change it.
        most: What it tries in `make test`.

    Attributes:
        tried: How often something was tried.
        refused: By kind of error, how often that ended in one of ours.
        raw: Errors that are not ours, with the last lines that led there; each kind once.
        forged: Contents that came back and are not what their name says.
    """

    def __init__(self, name: str, most: int) -> None:
        self.chance = random.Random(f"{name} {SEED}")
        self.most = most * FUZZ
        self.tried = 0
        self.refused: Counter[str] = Counter()
        self.raw: dict[str, str] = {}
        self.forged: list[str] = []
        print(f"{name}: COATCHECK_SEED={SEED}", flush=True)

    @property
    def goes_on(self) -> bool:
        return self.tried < self.most

    def attempt(self, what: str, call: Callable[[], Any], *told: type[Exception]) -> Any:
        """Try something; what it returns. `told`: other errors that its documentation names."""
        self.tried += 1
        try:
            result = call()
        except ArtifactError as error:
            self.refused[type(error).__name__] += 1
            assert str(error)
        except told:
            pass
        except Exception as error:  # noqa: BLE001  # that is the question
            self.note(what, error)
        else:
            for one in result if isinstance(result, list) else [result]:
                if isinstance(one, Artifact):
                    self.compare(one.artifact_id, one.content, one.metadata.digest)
            return result
        return None

    def note(self, what: str, error: Exception) -> None:
        """Note an error that is not ours."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        trace = "".join(traceback.format_exception(error, limit=-4))
        self.raw.setdefault(f"{type(error).__name__} in {where.name}", f"{what}: {error!r}\n{trace}")

    def compare(self, artifact_id: str, content: bytes, digest: str | None) -> None:
        """Note content that is not what its name says."""
        found = hashlib.sha256(content).hexdigest()
        if found != digest or (is_default_id(artifact_id) and found[:ID_LENGTH] != artifact_id):
            self.forged.append(artifact_id)

    def judge(self) -> None:
        """Fail where anything was raw or forged."""
        print(f"  {self.tried} tried; {dict(self.refused)}", flush=True)
        assert not self.raw, "\n\n".join(self.raw.values())
        assert not self.forged, self.forged
        assert self.tried >= self.most

    def junk(self, most: int = 40) -> bytes:
        """Any bytes."""
        return self.chance.randbytes(self.chance.randrange(most + 1))

    def text(self) -> str:
        """Any text, most of it of letters that mean something somewhere."""
        letters = (
            string.ascii_letters + string.digits + "_-.:/\\{}*?[]%~ \n\t\0\x1b\x7f\xa0é\u202e\u2100\ud800\U0001f600"
        )
        kind = self.chance.random()
        if kind < 0.1:
            return self.chance.choice(["", "x" * 201, "0" * 32, "f" * 64, "..", "a" * 1025, "A" * 70_000, "NaN", "-1"])
        return "".join(self.chance.choices(letters, k=self.chance.randrange(1, 12)))

    def value(self, depth: int = 0) -> Any:
        """Anything that could be handed in."""
        chance = self.chance
        makers: list[Callable[[], Any]] = [
            lambda: None,
            lambda: chance.random() < 0.5,
            lambda: chance.choice([0, 1, -1, 2**31, 2**63, -(2**63), 10**400, chance.randrange(1000)]),
            lambda: chance.choice([0.0, -0.5, 1e308, float("inf"), float("nan"), chance.random()]),
            self.text,
            self.text,
            self.junk,
            lambda: bytearray(self.junk()),
            lambda: memoryview(self.junk()),
            lambda: datetime.datetime.max,
            lambda: datetime.datetime.min.replace(tzinfo=datetime.UTC),
            lambda: datetime.timedelta(chance.choice([0, -1, 1, 999_999_999])),
            lambda: {"$artifact": self.text()},
            lambda: object(),
            lambda: int,
            lambda: iter([self.text()]),
            lambda: chance.choice([Loud(), Text(self.text())]),
        ]
        if depth < 2:
            makers += [
                lambda: [self.value(depth + 1) for _ in range(chance.randrange(4))],
                lambda: tuple(self.value(depth + 1) for _ in range(chance.randrange(3))),
                lambda: {self.text(): self.value(depth + 1) for _ in range(chance.randrange(3))},
                lambda: {self.text() for _ in range(chance.randrange(3))},
            ]
        return chance.choice(makers)()


class Text(str):
    """A text of a class of the caller's."""

    __slots__ = ()


class Loud:
    """Says nothing of itself without raising."""

    def __repr__(self) -> str:
        return "<loud>"

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]
