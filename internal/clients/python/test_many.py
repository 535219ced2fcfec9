"""Many clients at once, clients that leave, and clients that are about to."""

import openai
import pytest

from conftest import chat, streamed_text, text, until_in_flight

CHAT = "chat.completions.create"


def test_two_hundred_streams(client):
    prompts = [f"question {i}: " + "why? " * (i % 50) for i in range(200)]
    streamed = client.many(lambda p: streamed_text(client.events(CHAT, **chat(p))), prompts)
    whole = client.many(lambda p: text(client.call(CHAT, **chat(p))), prompts)
    assert streamed == whole
    assert len(set(whole)) == len(prompts)


def test_a_client_that_leaves_a_stream_ends_its_request(client_of):
    client = client_of("narrow", max_retries=0)
    until_in_flight("narrow", 0)
    seen = client.events(CHAT, most=3, **chat("hello", max_completion_tokens=10_000))  # two minutes of tokens
    assert len(seen) == 3
    until_in_flight("narrow", 0)


def test_a_client_that_gives_up_ends_its_request(client_of):
    client = client_of("narrow", max_retries=0)
    until_in_flight("narrow", 0)
    with pytest.raises(openai.APITimeoutError):
        client.call(CHAT, **chat("hello", max_completion_tokens=10_000, timeout=0.5))
    until_in_flight("narrow", 0)


def test_keep_alives_hold_a_client_that_is_impatient(client_of):
    client = client_of("sleepy", max_retries=0, timeout=2.5)  # less than a token takes
    with pytest.raises(openai.APITimeoutError):
        client.call(CHAT, **chat("hello", max_completion_tokens=1))
    assert streamed_text(client.events(CHAT, **chat("hello", max_completion_tokens=1)))
