"""The Responses API, which one engine answers whole."""

import json

import openai
import pydantic
import pytest

from conftest import MODEL, chat, text

CREATE = "responses.create"


class City(pydantic.BaseModel):
    name: str
    people: int


def test_streamed_and_whole_answers_agree(client):
    answer = client.call(CREATE, model=MODEL, input="hello", max_output_tokens=20)
    assert answer.output_text
    assert answer.usage.output_tokens == len(answer.output_text.split())
    events = client.events(CREATE, model=MODEL, input="hello", max_output_tokens=20)
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == answer.output_text
    assert events[-1].response.output_text == answer.output_text


def test_the_text_is_the_one_of_a_chat(client):
    answer = client.call(CREATE, model=MODEL, input=[{"role": "user", "content": "hello"}])
    want = text(client.call("chat.completions.create", model=MODEL, messages=chat("hello")["messages"]))
    assert answer.output_text == want


def test_a_function_call(client):
    tool = {
        "type": "function",
        "name": "find_city",
        "strict": True,
        "parameters": City.model_json_schema(),
    }
    asked = {"model": MODEL, "input": "use find_city", "tools": [tool]}
    (call,) = client.call(CREATE, **asked).output
    assert (call.type, call.name) == ("function_call", "find_city")
    City.model_validate(json.loads(call.arguments))
    events = client.events(CREATE, **asked)
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments


def test_a_parsed_answer(client):
    parsed = client.call("responses.parse", model=MODEL, input="where?", text_format=City).output_parsed
    assert isinstance(parsed, City)
    _, stream = client.helper("responses.stream", model=MODEL, input="where?", text_format=City)
    assert client.result(stream.get_final_response).output_parsed == parsed


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_errors(client, stream):
    with pytest.raises(openai.NotFoundError) as caught:
        client.call(CREATE, model="other", input="hello", stream=stream)
    assert caught.value.request_id
    with pytest.raises(openai.NotFoundError):
        client.call(CREATE, model=MODEL, input="hello", previous_response_id="resp_unknown", stream=stream)
