"""The manifests of the guide, by the schemas of Kubernetes: no name is unknown, no value of the wrong kind."""

from __future__ import annotations

import kubernetes_validate as validation
import pytest

from ...test_kubernetes import MANIFESTS, YAML

EACH = list(YAML(typ="safe").load_all(MANIFESTS))


@pytest.mark.parametrize("manifest", EACH, ids=[each["kind"] for each in EACH])
def test_a_manifest_is_what_kubernetes_takes(manifest: dict) -> None:
    validation.validate(manifest, validation.latest_version(), strict=True)


def test_a_name_that_is_unknown_is_refused() -> None:
    manifest = {**EACH[0], "spec": {**EACH[0]["spec"], "selektor": {}}}
    with pytest.raises(validation.ValidationError, match="selektor"):
        validation.validate(manifest, validation.latest_version(), strict=True)
