"""The original that scores are compared with comes from the hub that was chosen."""

import pytest

from m3e_eval import encoder
from m3e_eval.evaluate import _loaders
from m3e_eval.request import EvaluationRequest
from m3e_export import HubUnreachableError
from m3e_runtime.bundle import Bundle

pytest.importorskip("sentence_transformers")


def test_the_reference_is_looked_for_on_the_hub_that_was_chosen(tiny_bundle, monkeypatch):
    def fetch(checkpoint, hub):
        raise HubUnreachableError(f"{checkpoint} on {hub}")

    monkeypatch.setattr(encoder, "fetch", fetch)
    bundle = Bundle.open(tiny_bundle)
    request = EvaluationRequest(tiny_bundle, reference="owner/name", hub="modelscope")
    with pytest.raises(HubUnreachableError, match="owner/name on modelscope"):
        next(_loaders(request, bundle, ()))()
