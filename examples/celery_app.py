"""A Celery app whose documents never pass through the broker: `python examples/celery_app.py [redis://…]`.

Needs a server that runs; starts a worker of its own, sends documents through a chain of two tasks, and shows how little
travelled.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from celery import Celery, chain

from coatcheck import ArtifactError, open_store
from coatcheck.integrations.celery import register

URL = os.environ.setdefault("BROKER_URL", (sys.argv[1:] or ["redis://localhost:6379/0"])[0])
NAMESPACE = "celery-example"

app = Celery("celery_app", broker=URL, backend=URL, broker_connection_retry_on_startup=True)
register(app, URL, namespace=NAMESPACE, threshold=10_000, ttl=3600)


@app.task(name="read")  # type: ignore[untyped-decorator]
def read(page: int) -> dict[str, Any]:
    return {"page": page, "text": f"all is well on page {page}. " * 10_000}


@app.task(name="count")  # type: ignore[untyped-decorator]
def count(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "words": len(document["text"].split())}


def work() -> None:
    app.worker_main(["worker", "--concurrency=2", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])


def main() -> None:
    with open_store(URL, namespace=NAMESPACE) as store:
        store.delete_by_run("celery")  # what an interrupted run left; the first call is told if there is no server
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    try:
        sent = [chain(read.s(page), count.s())() for page in range(4)]
        for result in sent:
            document = result.get(timeout=60)
            kept = app.backend.get(app.backend.get_key_for_task(result.id))
            print(f"page {document['page']}: {document['words']} words, {len(kept)} bytes in the result backend")
            result.forget()
    finally:
        worker.terminate()
        worker.join()
    with open_store(URL, namespace=NAMESPACE) as store:
        print(f"{store.delete_by_run('celery')} bodies and results given up")


if __name__ == "__main__":
    try:
        main()
    except ArtifactError as error:
        sys.exit(f"error: {error}")
