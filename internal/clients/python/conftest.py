"""One way to use the synchronous and the asynchronous client, and the deployments to use them on."""

import concurrent.futures
import contextlib
import functools
import itertools
import operator
import os
import time
import urllib.request

import anyio
import openai
import pytest
from anyio.from_thread import start_blocking_portal

MODEL = os.environ["CLIENTS_MODEL"]
TIMEOUT = 30  # seconds without a byte; no request may take so long


def url(name):
    """The base URL of a deployment that the runner has started."""
    return os.environ["CLIENTS_" + name.upper()]


class Sync:
    """The SDK's client, and each HTTP answer that it got, in order."""

    sdk_class, http_class = openai.OpenAI, staticmethod(openai.DefaultHttpx2Client)

    def __init__(self, base, on_answer=None, **options):
        self.answers = []
        self.on_answer = on_answer or (lambda answer: None)
        http = self.http_class(event_hooks={"response": [self._note()]}, timeout=TIMEOUT)
        self.sdk = self.sdk_class(**{"base_url": base + "/v1", "api_key": "none", "http_client": http} | options)

    def _note(self):
        def note(answer):
            self.answers.append(answer)
            self.on_answer(answer)

        return note

    def call(self, method, **arguments):
        """Calls a method of the SDK's client by its name, such as chat.completions.create."""
        return operator.attrgetter(method)(self.sdk)(**arguments)

    def events(self, method, most=None, seen=None, **arguments):
        """The events of a stream, also in seen as they come; after `most` of them the client leaves."""
        seen = [] if seen is None else seen
        with self.call(method, stream=True, **arguments) as stream:
            seen.extend(itertools.islice(stream, most))
        return seen

    def helper(self, method, **arguments):
        """The events of one of the SDK's streaming helpers, and the helper when it is done."""
        with self.call(method, **arguments) as stream:
            return list(stream), stream

    def result(self, function):
        """What a method of such a helper returns."""
        return function()

    def many(self, function, requests):
        """function of each of the requests, all at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(function, requests))

    def close(self):
        self.sdk.close()


class Async(Sync):
    """The same with the asynchronous client, whose loop runs in a thread of its own."""

    sdk_class, http_class = openai.AsyncOpenAI, staticmethod(openai.DefaultAsyncHttpx2Client)

    def __init__(self, base, portal, **options):
        self.portal = portal
        super().__init__(base, **options)

    def _note(self):
        note = super()._note()

        async def awaited(answer):
            note(answer)

        return awaited

    def call(self, method, **arguments):
        return self.portal.call(functools.partial(super().call, method, **arguments))

    def events(self, method, most=None, seen=None, **arguments):
        return self.portal.call(self._events, method, most, [] if seen is None else seen, arguments)

    async def _events(self, method, most, seen, arguments):
        async with await super().call(method, stream=True, **arguments) as stream:
            async for event in stream:
                seen.append(event)
                if len(seen) == most:
                    break
        return seen

    def helper(self, method, **arguments):
        return self.portal.call(self._helper, method, arguments)

    async def _helper(self, method, arguments):
        async with super().call(method, **arguments) as stream:
            return [event async for event in stream], stream

    def result(self, function):
        return self.portal.call(function)

    def close(self):
        self.portal.call(self.sdk.close)


@pytest.fixture(scope="session")
def portal():
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="session", params=[Sync, Async], ids=["sync", "async"])
def client_of(request, portal):
    """Makes clients of deployments: client_of("main", max_retries=0)."""
    with contextlib.ExitStack() as opened:

        def make(name, **options):
            arguments = (url(name), portal) if request.param is Async else (url(name),)
            return opened.enter_context(contextlib.closing(request.param(*arguments, **options)))

        yield make


@pytest.fixture(scope="session")
def client(client_of):
    return client_of("main", max_retries=0)


def chat(prompt, **more):
    """The arguments of a chat whose answer has 20 tokens, unless more says otherwise."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt}],
        "max_completion_tokens": 20,
        "extra_body": {"ignore_eos": True},
    } | more


def text(answer, index=0):
    return answer.choices[index].message.content


def streamed_text(chunks, index=0):
    """The text of one choice of a streamed chat."""
    return "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices if c.index == index)


def in_flight(name):
    """How many requests the deployment says are in flight."""
    with urllib.request.urlopen(url(name) + "/metrics", timeout=TIMEOUT) as page:
        for line in page.read().decode().splitlines():
            if line.startswith("baton_requests_in_flight "):
                return float(line.split()[1])
    raise AssertionError("no baton_requests_in_flight among the metrics")


def until_in_flight(name, want, seconds=10):
    """Waits until so many requests are in flight."""
    end = time.monotonic() + seconds
    while (now := in_flight(name)) != want:
        assert time.monotonic() < end, f"{now} requests are in flight after {seconds} s, want {want}"
        time.sleep(0.02)
