"""A store as it might look on a working day: what the screenshots show."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path

from coatcheck import ArtifactStore, Payload, artifact_ref, ui
from coatcheck.trees import store_tree

from ..ui.test_ui import png

HOUR = 3600
DAY = 24 * HOUR
AGENT = "agent-2026-11-27-0417"
RUNS = ("nightly-report/eu-west", "nightly-report/us-east", "etl:orders:2026-11-26", "ci-4711", "ci-4712")


def fill(store: ArtifactStore) -> dict[str, str]:
    """Store it; ids by what their preview is."""
    chance = random.Random(7)
    ids = {}
    store.store_many(
        [Payload(b"line %d\n" % n, "text/plain", {"path": f"log/{n}.txt"}) for n in range(130)], run_id=AGENT, ttl=DAY
    )
    for run in RUNS:
        common = [
            b'{"day": "2026-11-26", "line": %d, "state": "paid", "amount": %d}\n' % (n, n * 7) for n in range(900)
        ]
        for part in range(chance.randint(18, 40)):
            shared = part % 3 == 0  # every run stores it
            content = b"".join(common[part * 20 :]) if shared else chance.randbytes(chance.randint(400, 60_000))
            store.store(
                content,
                content_type="application/x-ndjson" if shared else "application/octet-stream",
                run_id=run,
                tags={
                    "path": f"parts/{part:04}.{'ndjson' if shared else 'bin'}",
                    "step": chance.choice(["extract", "load"]),
                },
                ttl=chance.choice([15 * 60, 5 * HOUR, 2 * DAY, 9 * DAY, None]),
            )
    source = Path(__file__).read_bytes()
    for run in RUNS[2:]:
        ids["text"] = store.store(
            source, content_type="text/x-python", run_id=run, tags={"path": "src/gallery.py"}, ttl=DAY
        ).artifact_id
    ids["hex"] = store.store(
        chance.randbytes(300_000), run_id="ci-4711", tags={"path": "weights.bin"}, ttl=30 * DAY
    ).artifact_id
    ids["empty"] = store.store(b"", content_type="text/plain", artifact_id="latest-log", ttl=HOUR).artifact_id
    ids["image"] = store.store(
        png(640, 360),
        content_type="image/png",
        run_id=AGENT,
        tags={"path": "plots/throughput.png", "step": "render"},
        ttl=2 * HOUR,
    ).artifact_id
    templates = Path(ui.__file__).parent / "templates"
    ids["directory"] = store_tree(templates, store, run_id="ci-4711", ttl=30 * DAY).artifact_id
    rows = io.StringIO()
    writer = csv.writer(rows)
    writer.writerow(["worker", "stored", "loaded", "bytes", "p50 ms", "p99 ms"])
    for number in range(60):
        figures = [chance.randint(900, 9000), chance.randint(900, 9000), chance.randint(10**6, 10**9)]
        writer.writerow([f"worker-{number:02}", *figures, round(chance.random(), 3), round(9 * chance.random(), 3)])
    ids["table"] = store.store(
        rows.getvalue().encode(),
        content_type="text/csv",
        run_id=AGENT,
        tags={"path": "tables/workers.csv", "step": "measure"},
        ttl=3 * DAY,
    ).artifact_id
    answer = {
        "question": "Which invoices of March are unpaid?",
        "model": "large-2",
        "temperature": 0.2,
        "answer": {
            "unpaid": [
                {"invoice": "2026-0311", "customer": "Brandt & Söhne", "amount": 1240.5},
                {"invoice": "2026-0319", "customer": "Ada Ltd", "amount": 88},
            ],
            "certain": True,
            "note": None,
        },
        "sources": [artifact_ref(ids["table"]), artifact_ref(ids["image"])],
    }
    content = json.dumps(answer).encode()
    for run, ttl in (("nightly-report/eu-west", 30 * HOUR), ("ci-4712", 20 * 60), (AGENT, 3 * DAY)):
        ids["tree"] = store.store(
            content,
            content_type="application/json",
            run_id=run,
            tags={"path": "answer.json", "step": "answer", "kind": "llm"},
            extra={"tokens": 1840, "model": {"name": "large-2", "seed": 7}},
            ttl=ttl,
        ).artifact_id
    return ids
