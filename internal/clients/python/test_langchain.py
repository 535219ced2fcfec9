"""LangChain's client, which is another user of the OpenAI SDK with habits of its own."""

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from conftest import MODEL, TIMEOUT, url


@tool
def get_time(zone: str) -> str:
    """Tells the time."""
    return f"noon in {zone}"


@pytest.fixture
def model():
    return ChatOpenAI(base_url=url("main") + "/v1", api_key="none", model=MODEL, timeout=TIMEOUT, max_retries=0)


def test_streamed_and_whole_answers_agree(model):
    answer = model.invoke("hello")
    assert answer.content
    assert answer.usage_metadata["output_tokens"] == len(answer.content.split())
    assert "".join(chunk.content for chunk in model.stream("hello")) == answer.content


def test_a_tool_call(model):
    answer = model.bind_tools([get_time]).invoke("use get_time")
    (call,) = answer.tool_calls
    assert call["name"] == "get_time"
    assert get_time.invoke(call["args"]).startswith("noon in ")
