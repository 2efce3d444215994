"""Airflow finds the file system by itself, and keeps its XComs there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from types import SimpleNamespace
from airflow.providers.common.io.xcom.backend import XComObjectStorageBackend as XCom
from airflow.sdk import ObjectStoragePath

base = ObjectStoragePath(sys.argv[1])
value = {"rows": list(range(1000))}
stored = XCom.serialize_value(value, key="return_value", dag_id="dag", run_id="run", task_id="task")
small = XCom.serialize_value("small", key="x", dag_id="dag", run_id="run", task_id="task")
files = sorted(str(path) for path in base.rglob("*") if path.is_file())
back = XCom.deserialize_value(SimpleNamespace(value=stored))
XCom.purge(SimpleNamespace(value=stored))
left = [str(path) for path in base.rglob("*") if path.is_file()]
print(json.dumps([back == value, files == [stored], small, left]))
"""


@pytest.mark.parametrize("connection", [None, "store"])
def test_xcoms(valkey, leaks, namespace: str, tmp_path: Path, connection: str | None) -> None:
    leaks.own("coatcheck")  # the namespace where none is said
    options = {"url": valkey.url, "namespace": namespace, "ttl": 3600}
    base = "coatcheck://xcom" if connection is None else "coatcheck://store@xcom"
    environment = {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": base,
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "100",
        "AIRFLOW_CONN_STORE": json.dumps({"conn_type": "generic", "extra": options}),
        "COATCHECK_URL": valkey.url if connection is None else "redis://nobody.invalid",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, base],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [True, True, "small", []]
