"""Chat and text completions: what an answer holds, streamed and not."""

import openai
import pytest

from conftest import MODEL, chat, streamed_text, text

CHAT = "chat.completions.create"


def prompt_tokens(prompt):
    """A simulated engine has a token for each four bytes of a prompt."""
    return -(-len(prompt.encode()) // 4)


def test_streamed_and_whole_answers_agree(client):
    answer = client.call(CHAT, **chat("hello"))
    chunks = client.events(CHAT, **chat("hello"))
    assert len(text(answer).split()) == 20
    assert streamed_text(chunks) == text(answer)
    assert answer.choices[0].message.role == chunks[0].choices[0].delta.role == "assistant"
    assert answer.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "length"
    assert answer.model == chunks[0].model == MODEL
    assert len({c.id for c in chunks}) == 1


def test_texts_of_different_prompts_differ(client):
    assert text(client.call(CHAT, **chat("hello"))) != text(client.call(CHAT, **chat("hallo")))


def test_two_choices(client):
    answer = client.call(CHAT, **chat("hello", n=2))
    chunks = client.events(CHAT, **chat("hello", n=2))
    assert [c.index for c in answer.choices] == [0, 1]
    assert text(answer, 0) != text(answer, 1)
    assert [streamed_text(chunks, i) for i in range(2)] == [text(answer, i) for i in range(2)]


def test_logprobs(client):
    asked = chat("hello", logprobs=True, top_logprobs=3)
    answer = client.call(CHAT, **asked)
    tokens = answer.choices[0].logprobs.content
    assert "".join(t.token for t in tokens) == text(answer)
    assert bytes(b for t in tokens for b in t.bytes).decode() == text(answer)
    assert all(len(t.top_logprobs) == 3 and t.logprob < 0 for t in tokens)
    chunks = client.events(CHAT, **asked)
    streamed = [t for c in chunks for choice in c.choices if choice.logprobs for t in choice.logprobs.content]
    assert streamed == tokens


def test_stop(client):
    whole = text(client.call(CHAT, **chat("hello")))
    word = whole.split()[7]
    answer = client.call(CHAT, **chat("hello", stop=[word, "never said"]))
    chunks = client.events(CHAT, **chat("hello", stop=word))
    assert text(answer) == whole[: whole.index(word)]
    assert answer.choices[0].finish_reason == "stop"
    assert streamed_text(chunks) == text(answer)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_usage(client):
    usage = client.call(CHAT, **chat("hello")).usage
    assert usage.completion_tokens == 20
    assert usage.total_tokens == usage.prompt_tokens + 20
    *chunks, last = client.events(CHAT, **chat("hello", stream_options={"include_usage": True}))
    assert last.choices == []
    assert last.usage.completion_tokens == 20
    assert last.usage.prompt_tokens == usage.prompt_tokens
    assert all(c.choices and c.usage is None for c in chunks)


@pytest.mark.parametrize("method", [CHAT, "completions.create"])
def test_no_usage_that_nobody_asked_for(client, method):
    prompt = {"prompt": "hello", "model": MODEL} if method == "completions.create" else chat("hello")
    chunks = client.events(method, **prompt)
    assert chunks  # one, if the reader is slow
    assert all(c.choices and "usage" not in c.model_fields_set for c in chunks)


def test_the_largest_seed_arrives_as_it_is(client):
    assert text(client.call(CHAT, **chat("hello", seed=2**63 - 1)))
    with pytest.raises(openai.BadRequestError, match="seed"):  # so the engine does look at it
        client.call(CHAT, **chat("hello", seed=2**63))


def test_unicode_arrives_as_it_is(client):
    prompt = "Grüße, 世界! 🏳️‍🌈 e\u0301 \u202e \x7f \\u00e9 \"quoted\" \t\r\n"
    asked = {"model": MODEL, "prompt": prompt, "echo": True, "max_tokens": 5}
    answer = client.call("completions.create", **asked)
    assert answer.choices[0].text.startswith(prompt)
    assert "".join(c.choices[0].text for c in client.events("completions.create", **asked)) == answer.choices[0].text


def test_a_megabyte_of_prompt(client):
    prompt = "0123456789abcdé" * 2**16
    answer = client.call("completions.create", model=MODEL, prompt=prompt, max_tokens=5)
    assert answer.usage.prompt_tokens == prompt_tokens(prompt)
    chunks = client.events("completions.create", model=MODEL, prompt=prompt, max_tokens=5)
    assert "".join(c.choices[0].text for c in chunks) == answer.choices[0].text
    other = client.call("completions.create", model=MODEL, prompt=prompt[:-1] + "e", max_tokens=5)
    assert other.choices[0].text != answer.choices[0].text


def test_several_prompts(client):
    prompts = ["one", "two", "three"]
    answer = client.call("completions.create", model=MODEL, prompt=prompts, n=2, logprobs=2)
    assert [c.index for c in answer.choices] == list(range(6))
    assert len({c.text for c in answer.choices}) == 6
    assert answer.usage.prompt_tokens == sum(map(prompt_tokens, prompts))
    for prompt, choice in zip(prompts, answer.choices[::2]):
        assert client.call("completions.create", model=MODEL, prompt=prompt).choices[0].text == choice.text
        assert "".join(choice.logprobs.tokens) == choice.text
