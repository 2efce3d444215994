"""What a diagnosis is: findings, each with the command that cures it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["critical", "warning", "note", "good"]
"""How grave a finding is, the gravest first."""

LEVELS: Final[tuple[Level, ...]] = ("critical", "warning", "note", "good")


class Finding(BaseModel):
    """One thing that was looked at.

    Attributes:
        level: `"critical"`: artifacts are lost, refused or open to others, or will be; `"warning"`: something to change
            before it is; `"note"`: something to know; `"good"`: as it should be.
        name: What it is about, such as `eviction`; `docs/operations.md` explains each.
        text: What was found.
        cure: What to type, or to do; empty where there is nothing.
        server: Which one; empty where it concerns all.
    """

    model_config = ConfigDict(frozen=True)

    level: Level
    name: str
    text: str
    cure: str = ""
    server: str = ""


class Diagnosis(BaseModel):
    """All findings, the gravest first."""

    model_config = ConfigDict(frozen=True)

    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether there is nothing to do."""
        return not any(finding.level in ("critical", "warning") for finding in self.findings)


def found(level: Level, name: str, text: str, cure: str = "", server: str = "") -> Finding:
    """A finding, in one line."""
    return Finding(level=level, name=name, text=text, cure=cure, server=server)
