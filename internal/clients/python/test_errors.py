"""Each kind of failure as the SDK shows it: which exception, what is in it, and what is tried again."""

import openai
import pytest

from conftest import chat, streamed_text, text, until_in_flight, url

CHAT = "chat.completions.create"
STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def failure(client, kind, status, method=CHAT, **arguments):
    """The exception of a call that must fail so."""
    with pytest.raises(kind) as caught:
        client.call(method, **arguments)
    err = caught.value
    assert type(err) is kind
    assert err.status_code == status
    assert err.request_id and err.request_id == err.response.headers["x-request-id"]
    assert err.message and err.type
    return err


@STREAMS
@pytest.mark.parametrize(
    ("param", "arguments"),
    [
        ("temperature", {"temperature": -1}),
        ("top_p", {"top_p": 0}),
        ("messages", {"messages": []}),
        ("stop", {"stop": [1]}),
        ("kv_transfer_params", {"extra_body": {"kv_transfer_params": {"do_remote_prefill": True}}}),
    ],
)
def test_400_names_the_member(client, stream, param, arguments):
    err = failure(client, openai.BadRequestError, 400, **chat("hello", stream=stream, **arguments))
    assert err.param == param


@STREAMS
def test_400_of_the_engine(client, stream):
    err = failure(client, openai.BadRequestError, 400, **chat("x" * 4 * 524288, stream=stream))
    assert "maximum context length is 524288 tokens" in err.message


@STREAMS
def test_404(client, stream):
    err = failure(client, openai.NotFoundError, 404, **chat("hello", model="other/model", stream=stream))
    assert err.param == "model"
    assert "`other/model` does not exist" in err.message
    failure(client, openai.NotFoundError, 404, "models.retrieve", model="other/model")
    failure(client, openai.NotFoundError, 404, "files.list")


@STREAMS
def test_413(client_of, stream):
    client = client_of("narrow", max_retries=0)
    err = failure(client, openai.APIStatusError, 413, **chat("x" * 70_000, stream=stream))
    assert "65536" in err.message
    assert text(client.call(CHAT, **chat("x" * 60_000)))


@STREAMS
def test_422_of_the_engine_is_passed_on(client_of, stream):
    client = client_of("refusing")
    err = failure(client, openai.UnprocessableEntityError, 422, **chat("hello", stream=stream))
    assert err.body == {"message": "injected fault", "type": "Unprocessable Entity", "param": None, "code": 422}
    assert len(client.answers) == 1


@STREAMS
@pytest.mark.parametrize(("deployment", "status"), [("failing", 500), ("garbling", 502)])
def test_what_baton_has_tried_is_not_tried_again(client_of, deployment, status, stream):
    client = client_of(deployment, max_retries=2)
    failure(client, openai.InternalServerError, status, **chat("hello", stream=stream))
    assert len(client.answers) == 1


@STREAMS
def test_503_is_tried_again(client_of, stream):
    client = client_of("empty", max_retries=1)
    failure(client, openai.InternalServerError, 503, **chat("hello", stream=stream))
    first, second = client.answers
    assert 1 <= int(first.headers["retry-after"]) <= 60
    assert second.request.headers["x-stainless-retry-count"] == "1"


def test_504_is_not_tried_again(client_of):
    client = client_of("late", max_retries=2)
    failure(client, openai.InternalServerError, 504, **chat("hello", max_completion_tokens=1000))
    assert len(client.answers) == 1
    until_in_flight("late", 0)


@pytest.mark.parametrize(("deployment", "code"), [("late", 504), ("cutting", 502)])
def test_a_stream_that_breaks_off_is_an_error(client_of, deployment, code):
    client = client_of(deployment, max_retries=2)
    seen = []
    with pytest.raises(openai.APIError) as caught:
        client.events(CHAT, seen=seen, **chat("hello", max_completion_tokens=1000))
    assert caught.value.body["code"] == code
    assert streamed_text(seen)
    assert len(client.answers) == 1


def full(narrow):
    """Takes all the places of a deployment that has two; returns what gives them back."""
    until_in_flight("narrow", 0)
    streams = [narrow.chat.completions.create(stream=True, **chat(f"{i}", max_completion_tokens=10_000)) for i in range(2)]

    def leave(*_):
        for stream in streams:
            stream.close()

    return leave


@pytest.fixture
def narrow():
    """A client beside the one under test, which has made the deployment know its own speed."""
    with openai.OpenAI(base_url=url("narrow") + "/v1", api_key="none", max_retries=0) as sdk:
        for i in range(20):
            sdk.chat.completions.create(**chat(f"warm up {i}", max_completion_tokens=1))
        yield sdk


@STREAMS
def test_429_says_when_to_come_again(client_of, narrow, stream):
    client = client_of("narrow", max_retries=0)
    leave = full(narrow)
    err = failure(client, openai.RateLimitError, 429, **chat("hello", stream=stream))
    leave()
    after = int(err.response.headers["retry-after"])
    assert 1 <= after <= 60
    assert int(err.response.headers["retry-after-ms"]) == 1000 * after


def test_429_is_tried_again(client_of, narrow):
    want = text(narrow.chat.completions.create(**chat("hello")))
    client = client_of("narrow", max_retries=5, on_answer=full(narrow))
    assert text(client.call(CHAT, **chat("hello"))) == want
    assert [a.status_code for a in client.answers] == [429, 200]
    assert client.answers[1].request.headers["x-stainless-retry-count"] == "1"


def test_a_request_id_of_the_client_comes_back(client):
    named = {"extra_headers": {"X-Request-Id": "mine-1"}}
    assert client.call(CHAT, **chat("hello"), **named)._request_id == "mine-1"
    err = failure(client, openai.NotFoundError, 404, **chat("hello", model="other"), **named)
    assert err.request_id == "mine-1"
