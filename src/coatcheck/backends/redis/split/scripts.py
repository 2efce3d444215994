"""The scripts of the split form, in `lua/split/`; each touches the keys it declares, all of one slot, and no others."""

from __future__ import annotations

from typing import Final

from ..scripts import Script


def _script(name: str) -> Script:
    return Script(f"split/{name}", library="split/lib")


READ: Final = _script("read")
COMMIT: Final = _script("commit")
TOUCH: Final = _script("touch")
RELEASE: Final = _script("release")
DELETE: Final = _script("delete")
LIST_RUNS: Final = _script("list_runs")
LOOK: Final = _script("look")
CLAIM_RUN: Final = _script("claim_run")
UNCLAIM_RUN: Final = _script("unclaim_run")
CLAIM_CATALOG: Final = _script("claim_catalog")
UNCLAIM_CATALOG: Final = _script("unclaim_catalog")
CLAIM_CONTENT: Final = _script("claim_content")
UNCLAIM_CONTENT: Final = _script("unclaim_content")
INSPECT: Final = _script("inspect")
JUDGE: Final = _script("judge")
CHECK_RUNS: Final = _script("check_runs")
CHECK_CATALOG: Final = _script("check_catalog")
CHECK_CONTENT: Final = _script("check_content")
ALL: Final = tuple(value for value in list(vars().values()) if isinstance(value, Script))
