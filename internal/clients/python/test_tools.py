"""Tools and structured output. A simulated engine calls the functions that the user's message names."""

import json

import pydantic
import pytest

from conftest import MODEL, chat, streamed_text, text

CHAT = "chat.completions.create"


def function(name, **properties):
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [
    function("get_weather", city={"type": "string"}, days={"type": "integer", "minimum": 1, "maximum": 9}),
    function("get_time", zone={"type": "string", "enum": ["UTC", "CET"]}),
]


def ask(prompt, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "tools": TOOLS} | more


def calls(answer):
    """The calls of an answer: names and parsed arguments."""
    message = answer.choices[0].message
    found = [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or []]
    for name, arguments in found:
        if name == "get_weather":
            assert isinstance(arguments["city"], str) and 1 <= arguments["days"] <= 9
        else:
            assert arguments["zone"] in ["UTC", "CET"]
    assert len({c.id for c in message.tool_calls or []}) == len(found)
    return found


def streamed_calls(chunks):
    """The same of a streamed answer, put together as the API's documents say."""
    parts = {}
    for delta in (d for c in chunks for choice in c.choices for d in choice.delta.tool_calls or []):
        if delta.index not in parts:
            assert delta.id and delta.type == "function" and delta.function.name
            parts[delta.index] = [delta.function.name, ""]
        parts[delta.index][1] += delta.function.arguments or ""
    return [(name, json.loads(arguments)) for name, arguments in parts.values()]


NAMED = {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize(
    ("prompt", "more", "names", "finish"),
    [
        ("call get_weather", {}, ["get_weather"], "tool_calls"),
        ("call get_time", {"tool_choice": "auto"}, ["get_time"], "tool_calls"),
        ("get_time and get_weather", {}, ["get_weather", "get_time"], "tool_calls"),
        ("get_time and get_weather", {"parallel_tool_calls": False}, ["get_weather"], "tool_calls"),
        ("hello", {"tool_choice": "required"}, ["get_weather"], "tool_calls"),
        ("hello", {"tool_choice": NAMED}, ["get_time"], "stop"),
        ("hello", {}, [], "stop"),
        ("call get_weather", {"tool_choice": "none"}, [], "stop"),
    ],
)
def test_tool_choice(client, prompt, more, names, finish):
    answer = client.call(CHAT, **ask(prompt, **more))
    assert [name for name, _ in calls(answer)] == names
    assert answer.choices[0].finish_reason == finish
    assert bool(text(answer)) == (names == [])
    chunks = client.events(CHAT, **ask(prompt, **more))
    assert streamed_calls(chunks) == calls(answer)
    assert streamed_text(chunks) == (text(answer) or "")
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == finish
    _, stream = client.helper("chat.completions.stream", **ask(prompt, **more))
    assert calls(client.result(stream.get_final_completion)) == calls(answer)


def test_the_answer_of_a_tool_goes_back(client):
    first = client.call(CHAT, **ask("call get_time")).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "noon"}
    messages = [{"role": "user", "content": "call get_time"}, first, result]
    asked = {"model": MODEL, "messages": messages, "tools": TOOLS}
    answer = client.call(CHAT, **asked)
    assert text(answer) and not calls(answer)
    assert streamed_text(client.events(CHAT, **asked)) == text(answer)


def test_large_numbers_in_a_schema_arrive_as_they_are(client):
    def answer(most):
        tools = [function("count", up_to={"type": "integer", "maximum": most})]
        return text(client.call(CHAT, **chat("hello", tools=tools)))

    assert answer(2**53 + 1) != answer(2**53)  # tools are a part of the prompt


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: list[str]


def test_a_parsed_answer(client):
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "who?"}]}
    answer = client.call("chat.completions.parse", response_format=Person, **asked)
    assert isinstance(answer.choices[0].message.parsed, Person)
    assert answer.choices[0].finish_reason == "stop"
    _, stream = client.helper("chat.completions.stream", response_format=Person, **asked)
    assert client.result(stream.get_final_completion).choices[0].message.parsed == answer.choices[0].message.parsed


def test_a_schema(client):
    schema = {"name": "person", "schema": Person.model_json_schema(), "strict": True}
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "who?"}],
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    answer = client.call(CHAT, **asked)
    Person.model_validate_json(text(answer))
    assert streamed_text(client.events(CHAT, **asked)) == text(answer)
    asked["response_format"] = {"type": "json_object"}
    assert isinstance(json.loads(text(client.call(CHAT, **asked))), dict)
