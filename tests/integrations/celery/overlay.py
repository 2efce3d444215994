"""Makes Celery's own tests send every body and every result as a ticket."""

from __future__ import annotations

import os

from celery.contrib.testing.app import DEFAULT_TEST_CONFIG

from coatcheck.integrations.celery import register

register(None, os.environ["SUITE_URL"], namespace=os.environ["SUITE_NAMESPACE"], threshold=1)
DEFAULT_TEST_CONFIG.update(
    task_serializer="coatcheck",
    result_serializer="coatcheck",
    accept_content={"json", "coatcheck"},
)
