"""API keys: a deployment that wants one."""

import os

import anthropic
import openai
import pytest

from conftest import MODEL, TIMEOUT, chat, text, url
from test_errors import CHAT, STREAMS, failure


def test_a_good_key(client_of):
    client = client_of("guarded", api_key=os.environ["CLIENTS_KEY"])
    assert text(client.call(CHAT, **chat("hello")))
    assert [m.id for m in client.call("models.list").data] == [MODEL]


@STREAMS
def test_401_is_not_tried_again(client_of, stream):
    client = client_of("guarded", api_key="not-a-key-of-this-server")
    err = failure(client, openai.AuthenticationError, 401, **chat("hello", stream=stream))
    assert err.response.headers["www-authenticate"] == "Bearer"
    failure(client, openai.AuthenticationError, 401, "models.list")
    assert len(client.answers) == 2


@STREAMS
def test_403_is_not_tried_again(client_of, stream):
    client = client_of("guarded", api_key=os.environ["CLIENTS_BATCH_KEY"])
    better = {"X-Baton-Class": "interactive"}  # than the key's
    failure(client, openai.PermissionDeniedError, 403, **chat("hello", stream=stream, extra_headers=better))
    assert len(client.answers) == 1
    assert text(client.call(CHAT, **chat("hello")))


def test_anthropics_header():
    ask = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}
    with anthropic.Anthropic(base_url=url("guarded"), api_key=os.environ["CLIENTS_KEY"], timeout=TIMEOUT) as sdk:
        assert sdk.messages.create(**ask).content
    with anthropic.Anthropic(base_url=url("guarded"), api_key="not-a-key-of-this-server", timeout=TIMEOUT) as sdk:
        with pytest.raises(anthropic.AuthenticationError):
            sdk.messages.create(**ask)
