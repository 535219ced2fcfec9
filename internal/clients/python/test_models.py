"""What there is beside chat: models and embeddings."""

import pytest

from conftest import MODEL


def test_models(client):
    assert [m.id for m in client.call("models.list").data] == [MODEL]
    model = client.call("models.retrieve", model=MODEL)  # its id has a slash
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "vllm")


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings(client, form):
    first, second = client.call("embeddings.create", model=MODEL, input=["one", "two"], encoding_format=form).data
    assert (first.index, second.index) == (0, 1)
    assert first.embedding != second.embedding
    assert client.call("embeddings.create", model=MODEL, input="one").data[0].embedding == first.embedding
