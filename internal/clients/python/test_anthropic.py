"""Anthropic's SDK on /v1/messages, as far as the engine serves it."""

import anthropic
import pytest

from conftest import MODEL, TIMEOUT, url

ASK = {"model": MODEL, "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def sdk():
    with anthropic.Anthropic(base_url=url("main"), api_key="none", max_retries=0, timeout=TIMEOUT) as sdk:
        yield sdk


def test_streamed_and_whole_answers_agree(sdk):
    answer = sdk.messages.create(**ASK)
    assert answer.role == "assistant" and answer.content[0].text
    assert answer.usage.output_tokens == len(answer.content[0].text.split())
    with sdk.messages.stream(**ASK) as stream:
        assert "".join(stream.text_stream) == answer.content[0].text
        final = stream.get_final_message()
    assert final.stop_reason == answer.stop_reason
    assert final.usage.output_tokens == answer.usage.output_tokens


def test_a_tool_call(sdk):
    schema = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
    asked = {
        "model": MODEL,
        "max_tokens": 200,
        "messages": [{"role": "user", "content": "use get_time"}],
        "tools": [{"name": "get_time", "input_schema": schema}],
    }
    (block,) = [b for b in sdk.messages.create(**asked).content if b.type == "tool_use"]
    assert block.name == "get_time" and isinstance(block.input["zone"], str)
    with sdk.messages.stream(**asked) as stream:
        (streamed,) = [b for b in stream.get_final_message().content if b.type == "tool_use"]
    assert (streamed.name, streamed.input) == (block.name, block.input)


def test_an_unknown_model(sdk):
    with pytest.raises(anthropic.NotFoundError) as caught:
        sdk.messages.create(**(ASK | {"model": "other"}))
    assert "`other` does not exist" in str(caught.value)
