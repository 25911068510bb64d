"""Questions to an endpoint: what is sent, what an answer may be, every failure, and where the key goes."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import anyio.lowlevel
import chat_server
import numpy as np
import pytest
import soundfile
import torch
from chat_server import MODEL, Fault, completion, serving
from PIL import Image

from prismaudio.plan import CORE, Plan
from prismaudio_vlm.api_chat import MAX_BODY_BYTES, ApiChat, EndpointError, Pacing, UnusableEndpointError
from prismaudio_vlm.chat import Answer, Question, View

KEY = "sk-Zq7/secret+9"


class Clock:
    """A clock that waiting sets forward."""

    def __init__(self):
        self.now_s = 0.0
        self.waits = []

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now_s += seconds
        await anyio.lowlevel.checkpoint()

    def pacing(self, jitter=1.0):
        return Pacing(lambda: self.now_s, self.sleep, lambda: jitter)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server():
    with serving(lambda messages: f"answer to {chat_server.texts_of(messages)[-1]}") as running:
        yield running


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def chat(server, clock):
    """Makes a chat with the server."""

    def made(**options):
        chat = ApiChat(**{"model": MODEL, "base_url": server.url, **options})
        chat.pacing = clock.pacing()
        return chat

    return made


def gradient(n_frames, height=48, width=64):
    """Smooth frames, each of another colour."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    frames = [torch.stack([x * y, (x + 0 * y) * n / n_frames, (y + 0 * x)]) for n in range(1, n_frames + 1)]
    return (torch.stack(frames) * 255).to(torch.uint8)


def ask(text="what?", **fields):
    return Question(**{"system": "You listen.", "views": (), "text": text, **fields})


def asked(text="what?"):
    return Answer(f"answer to {text}", 100, 2 + len(text.split()))


# What is sent --------------------------------------------------------------------------------------------------------
def test_frames_are_sent_in_order_after_their_times(server, chat):
    frames = gradient(5)
    whole = View(frames[:3], (0.0, 0.5, 1.0), "The whole clip")
    moment = View(frames[3:], (0.62, 0.745), "A moment of change")
    assert chat().answer([ask("When does it sound?", views=(whole, moment))]) == [asked("When does it sound?")]
    system, user = server.questions[0]["messages"]
    assert system == {"role": "system", "content": "You listen."}
    parts = user["content"]
    texts = ["The whole clip:", "0.00 s:", None, "0.50 s:", None, "1.00 s:", None]
    texts += ["A moment of change:", "0.62 s:", None, "0.74 s:", None, "When does it sound?"]
    assert [part.get("text") for part in parts] == texts
    assert [part["type"] for part in parts] == ["text" if text else "image_url" for text in texts]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    for url, frame in zip(urls, frames, strict=True):
        head, data = url.split(",")
        assert head == "data:image/jpeg;base64"
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 48))
        difference = np.abs(np.asarray(image, dtype=float).transpose(2, 0, 1) - frame.numpy())
        assert difference.mean() < 2  # frames differ from each other by 17 and more
        assert difference.max() < 24


def test_the_quality_determines_the_size_of_images(server, chat):
    view = View(torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8), (0.0,))
    chat(jpeg_quality=95).answer([ask(views=(view,))])
    chat(jpeg_quality=20).answer([ask(views=(view,))])
    large, small = (len(json.dumps(question)) for question in server.questions)
    assert large > 2 * small


def test_audio_is_sent_as_wav(server, chat):
    audio = torch.sin(torch.arange(16_000) * 0.05) * 0.5
    chat().answer([ask(audio=audio)])
    label, sound, text = server.questions[0]["messages"][1]["content"]
    assert label["text"] == "The audio of the clip:"
    assert text["text"] == "what?"
    assert (sound["type"], sound["input_audio"]["format"]) == ("input_audio", "wav")
    samples, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(sound["input_audio"]["data"])), dtype="float32")
    assert (rate_hz, samples.shape) == (16_000, (16_000,))
    assert np.abs(samples - audio.numpy()).max() < 1e-4


def test_corrections_follow_as_further_messages(server, chat):
    chat().answer([ask(system="", corrections=(("At 12 s.", "The clip lasts 9 s."), ("", "It is empty.")))])
    messages = server.questions[0]["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert [message["content"] for message in messages[1:]] == [
        *("At 12 s.", "The clip lasts 9 s."),
        *("(nothing)", "It is empty."),
    ]


def test_fields_of_a_request(server, chat):
    chat().answer([ask()])
    chat(
        temperature=None,
        seed=3,
        max_tokens=9,
        extra={"max_tokens": None, "max_completion_tokens": 7, "chat_template_kwargs": {"enable_thinking": False}},
    ).answer([ask()])
    first, second = ({name: q[name] for name in q if name != "messages"} for q in server.questions)
    assert first == {"model": MODEL, "max_tokens": 1024, "temperature": 0.0}
    assert second == {
        "model": MODEL,
        "seed": 3,
        "max_completion_tokens": 7,
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_the_endpoint_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    assert ApiChat(MODEL).answer([ask()]) == [asked()]
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert ApiChat(MODEL).base_url == "https://api.openai.com/v1"


def test_identity_names_what_determines_an_answer(server, chat):
    first = chat().identity
    assert first == chat(timeout_s=1, max_retries=0, max_requests=9, parallel=1).identity
    others = [
        *({"model": "other"}, {"base_url": "http://localhost:1/v1"}, {"temperature": 0.7}, {"seed": 1}),
        *({"max_tokens": 5}, {"jpeg_quality": 50}, {"extra": {"top_k": 1}}),
    ]
    assert len({first, *(chat(**other).identity for other in others)}) == 1 + len(others)
    assert server.url in first
    assert MODEL in first


# Answers -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (completion("  The dog barks. \n"), Answer("The dog barks.", 100, 3)),
        (completion("The dog", "length"), Answer("The dog", 100, 2, is_complete=False)),
        (completion(""), Answer("", 100, 0)),
        (completion(None), Answer("", 100, 0)),
        (completion("<think>A dog?\nYes.</think>\n\nA dog."), Answer("A dog.", 100, 5)),
        (completion("A dog? Yes.</think>A dog."), Answer("A dog.", 100, 4)),
        (completion("<think>A dog or a", "length"), Answer("", 100, 4, is_complete=False)),
        (completion("A dog.", reasoning_content="It barks.", refusal=None), Answer("A dog.", 100, 2)),
        (
            completion([{"type": "thinking", "thinking": []}, {"type": "text", "text": "A "}, {"text": "dog."}]),
            Answer("A dog.", 100, 0),
        ),
        (completion("half \ud83d pair"), Answer("half ? pair", 100, 3)),
        (completion("um " * 10_000), Answer(("um " * 10_000).strip(), 100, 10_000)),
        ({"choices": [{"message": {"content": "A dog."}}]}, Answer("A dog.")),
        ({"choices": [{"message": {"content": "A dog."}}], "usage": {"prompt_tokens": "x"}}, Answer("A dog.")),
        ({"choices": [{"message": {"content": "A dog."}}], "usage": None, "error": None}, Answer("A dog.")),
    ],
)
def test_answers(server, chat, response, expected):
    server.faults = [Fault(body=response)]
    assert chat().answer([ask()]) == [expected]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nonsense", r"sent no chat completion \(JSONDecodeError\): nonsense; expected an OpenAI-compatible base_url"),
        (b"", r"sent no chat completion \(JSONDecodeError\): nothing"),
        (b"[" * 100_000, "sent no chat completion"),
        (b"<html><head><title>Log in</title></head></html>", "sent no chat completion .*: Log in; expected"),
        (b'{"choices": [{"message": {"content": "\xff\xfe"}}]}', r"sent no chat completion \(UnicodeDecodeError\)"),
        ({}, r"sent no chat completion \(KeyError\)"),
        ([], r"sent no chat completion \(AttributeError\)"),
        ({"choices": []}, r"sent no chat completion \(IndexError\)"),
        ({"choices": [{}]}, r"sent no chat completion \(KeyError\)"),
        ({"choices": [{"message": None}]}, r"sent no chat completion \(AttributeError\)"),
        ({"choices": [{"message": {"content": 3}}]}, r"sent no chat completion \(TypeError\)"),
        ({"choices": [{"message": {"content": [{"text": 3}]}}]}, r"sent no chat completion \(TypeError\)"),
        (completion(None, refusal="I cannot watch\nthis."), "test-vlm refused to answer: I cannot watch this."),
        (completion("", "content_filter"), r"withheld the answer \(finish_reason content_filter\)"),
        (completion("Generation failed", "error"), r"withheld the answer \(finish_reason error\)"),
        (b"x" * (MAX_BODY_BYTES + 1), "sent more than 8 MiB"),
    ],
)
def test_what_is_no_answer_is_an_error_of_its_question(server, chat, clock, body, message):
    server.faults = [Fault(body=body)]
    bad, good = chat(parallel=1).answer([ask("one"), ask("two")])
    assert isinstance(bad, EndpointError)
    assert re.search(message, str(bad))
    assert "\n" not in str(bad)
    assert good == asked("two")
    assert len(server.questions) == 2  # it was not asked again
    assert clock.waits == []


# Failures ------------------------------------------------------------------------------------------------------------
def error(status, message, **fields):
    return Fault(status, {"error": {"message": message, **fields}})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (error(400, "Image too large: 25 MB"), r"refused the question \(400: Image too large: 25 MB\); show fewer"),
        (error(400, "This model's maximum context length is 8192 tokens"), "show fewer or smaller frames"),
        (Fault(413, b"<html><title>413 Payload Too Large</title></html>"), r"\(413: 413 Payload Too Large\); show"),
        (error(422, "extra fields"), r"refused the question \(422: extra fields\)$"),
        (Fault(400, {"object": "error", "message": "bad", "code": 400}), r"\(400: bad\)"),
        (Fault(422, {"detail": [{"msg": "field required"}]}), r"\(422: \[\{\"msg\": \"field required\"\}\]\)"),
        (Fault(400, [{"error": {"message": "Bad image.", "status": "INVALID"}}]), r"\(400: Bad image.\)$"),
        (Fault(400, {"error": "model " * 1_000_000}), r"\(400: model .*model\)"),
        (Fault(400, b"<title>" * 1_000_000), r"\(400: <title>"),
        (Fault(400, b"\xff" * 5000), r"\(400: \ufffd"),
        (Fault(418), r"refused the question \(418\)$"),
    ],
)
def test_a_refused_question_does_not_stop_the_others(server, chat, clock, fault, message):
    server.faults = [fault]
    bad, *good = chat(parallel=1).answer([ask("one"), ask("two"), ask("three")])
    assert type(bad) is EndpointError
    assert re.search(message, str(bad))
    assert good == [asked("two"), asked("three")]
    assert len(server.questions) == 3
    assert clock.waits == []


TEMPORARY = {
    "408": error(408, "timeout"),
    "429": error(429, "slow down"),
    "500": error(500, "internal error"),
    "502": Fault(502, b"<html><title>502 Bad Gateway</title></html>"),
    "529": error(529, "overloaded"),
    "200 with an error": Fault(body={"error": {"message": "provider failed", "code": 502}}),
    "cut in the middle": Fault(body=completion("never seen"), sends=0.5),
    "cut before the body": Fault(body=completion("never seen"), sends=0.0),
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_temporary_failure_is_asked_again(server, chat, clock, name):
    server.faults = [TEMPORARY[name]] * 3
    assert chat().answer([ask()]) == [asked()]
    assert len(server.questions) == 4
    assert clock.waits == [1, 2, 4]
    assert len({json.dumps(question) for question in server.questions}) == 1


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_lasting_failure_is_an_error_of_its_question(server, chat, clock, name):
    server.faults = [TEMPORARY[name]] * 3
    bad, good = chat(max_retries=2, parallel=1).answer([ask("one"), ask("two")])
    assert type(bad) is EndpointError
    assert "; asked 3 times" in str(bad)
    assert good == asked("two")
    assert len(server.questions) == 4
    assert clock.waits[:2] == [1, 2]
    assert (bad.__traceback__, bad.__context__, bad.__cause__) == (None, None, None)  # they would hold all images


def test_no_retries(server, chat, clock):
    server.faults = [error(500, "internal error")]
    (bad,) = chat(max_retries=0).answer([ask()])
    assert str(bad) == "127.0.0.1 failed (500: internal error)"
    assert len(server.questions) == 1
    assert clock.waits == []


def test_waits_are_bounded_and_spread(server, chat, clock):
    server.always = error(503, "loading")
    patient = chat(max_retries=11)
    patient.pacing = clock.pacing(jitter=0.5)
    patient.answer([ask()])
    assert clock.waits == [0.75 * min(2**n, 300) for n in range(11)]
    assert len(server.questions) == 12


@pytest.mark.parametrize("stop", ["at the start", "in the middle", "byte by byte"])
def test_a_timeout_is_of_the_whole_request(server, chat, clock, stop):
    body = completion("A dog.")
    slow = {
        "at the start": Fault(body=body, sends=0.0, stalls=True),
        "in the middle": Fault(body=body, sends=0.5, stalls=True),
        "byte by byte": Fault(body=body, drip_s=0.02),
    }[stop]
    asking = chat(timeout_s=0.3, parallel=1)
    told = "127.0.0.1 did not answer within 0.3 s (timeout_s); asked 2 times"
    started = time.monotonic()
    server.faults = [slow, slow]
    with pytest.raises(UnusableEndpointError) as raised:  # nothing has been answered yet
        asking.answer([ask("one"), ask("two")])
    assert str(raised.value) == told
    assert len(server.questions) == 2
    server.faults = [Fault(body=completion("A dog.")), slow, slow]
    first, bad, last = asking.answer([ask("one"), ask("two"), ask("three")])
    assert (type(bad), str(bad)) == (EndpointError, told)
    assert (first.text, last) == ("A dog.", asked("three"))
    assert time.monotonic() - started < 10
    assert clock.waits == [1, 1]


def retry_after(header):
    """The header; for a time such as ``in 30 s``, as a date."""
    if match := re.fullmatch(r"in (\d+) s", header):
        moment = datetime.now(UTC) + timedelta(seconds=int(match[1]))
        return {"Retry-After": email.utils.format_datetime(moment, usegmt=True)}
    return {"Retry-After": header}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("header", "low_s", "high_s"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
        ("in 30 s", 28, 30),
        ("soon", 1, 1),
        ("nan", 1, 1),
        ("", 1, 1),
        (f"Wed, 21 Oct {10**20} 07:28:00 GMT", 1, 1),
    ],
)
def test_retry_after(server, chat, clock, status, header, low_s, high_s):
    server.faults = [Fault(status, b"", retry_after(header))]
    assert chat().answer([ask()]) == [asked()]
    assert low_s <= sum(clock.waits) <= high_s
    assert len(server.questions) == 2


def test_retry_delay_of_gemini(server, chat, clock):
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
    server.faults = [Fault(429, [{"error": {"code": 429, "message": "check your billing", "details": [info]}}])]
    assert chat().answer([ask()]) == [asked()]
    assert clock.waits == [37.5]


@pytest.mark.parametrize("header", ["3600", "1e99", "in 7200 s"])
def test_a_long_rate_limit_is_not_waited_for(server, chat, clock, header):
    server.faults = [Fault(429, {"error": {"message": "daily limit"}}, retry_after(header))]
    with pytest.raises(UnusableEndpointError, match=r"limits the rate .* s \(429: daily limit\); run again after that"):
        chat(parallel=1).answer([ask("one"), ask("two")])
    assert len(server.questions) == 1
    assert clock.waits == []


def test_a_rate_limit_holds_all_requests(server, chat, clock, caplog):
    caplog.set_level(logging.WARNING)
    asking, sent_s = chat(parallel=2), []

    def script(messages):
        sent_s.append(clock.now_s)
        while asking.pacing._held_until_s < 0:  # the first one is answered after the second has met the limit
            time.sleep(0.005)
        return "A dog."

    server.script = script
    server.faults = [None, Fault(429, b"", {"Retry-After": "20"})]
    results = asking.answer([ask(str(n)) for n in range(6)])
    assert [result.text for result in results] == ["A dog."] * 6
    assert sent_s == [0, 20, 20, 20, 20, 20]
    assert len(server.questions) == 7
    assert sum(clock.waits) in {20, 40}  # one request waits, or both before either has set the clock forward
    assert "127.0.0.1 limits the rate of requests: waiting 20.0 s" in caplog.text


UNUSABLE = {
    "401": (error(401, "Incorrect API key"), "127.0.0.1 refused the key in OPENAI_API_KEY (401: Incorrect API key)"),
    "403": (error(403, "no access"), "127.0.0.1 refused the key in OPENAI_API_KEY (403: no access)"),
    "402": (error(402, "Insufficient credits"), "the credit at 127.0.0.1 is used up (402: Insufficient credits)"),
    "quota": (
        error(429, "You exceeded your current quota", code="insufficient_quota"),
        "the credit at 127.0.0.1 is used up (429: You exceeded your current quota (insufficient_quota))",
    ),
    "a field in OpenAI": (
        error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", code="unsupported_parameter"),
        "remove or replace it by extra, such as {max_tokens: null, max_completion_tokens: 1024}",
    ),
    "a field in Gemini": (
        Fault(400, [{"error": {"code": 400, "message": 'Unknown name "seed": Cannot find field.'}}]),
        "remove or replace it by extra, such as {max_tokens: null, max_completion_tokens: 1024}",
    ),
    "no images in vLLM": (
        Fault(400, {"object": "error", "message": "qwen is not a multimodal model", "code": 400}),
        "test-vlm at 127.0.0.1 takes no images (400: qwen is not a multimodal model); name a vision-language model",
    ),
    "no images in llama.cpp": (
        error(500, "image input is not supported - hint: you may need to provide the mmproj"),
        "(500: image input is not supported - hint: you may need to provide the mmproj); name a vision-language model",
    ),
    "no images in OpenRouter": (
        error(404, "No endpoints found that support image input"),
        "(404: No endpoints found that support image input); name a vision-language model",
    ),
    "no images in Ollama": (
        error(400, "this model does not support image input"),
        "(400: this model does not support image input); name a vision-language model",
    ),
    "no model in Mistral": (
        error(400, "Invalid model: test-vlm"),
        "127.0.0.1 has no model 'test-vlm' (400: Invalid model: test-vlm); it has test-vlm",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_concerns_all_questions_is_raised_once(server, chat, clock, name):
    fault, message = UNUSABLE[name]
    server.always = fault
    with pytest.raises(UnusableEndpointError) as raised:
        chat(parallel=1).answer([ask("one"), ask("two"), ask("three")])
    assert str(raised.value).endswith(message)
    if "images" in name:
        assert str(raised.value).startswith("test-vlm at 127.0.0.1 takes no images (")
    assert len(server.questions) == 1
    assert clock.waits == []


def test_answers_are_kept_when_the_endpoint_becomes_unusable(server, chat):
    asking = chat(parallel=1)

    def script(messages):
        server.always = error(402, "Insufficient credits")
        return "A dog."

    server.script = script
    kept, *others = asking.answer([ask("one"), ask("two"), ask("three")])
    assert kept.text == "A dog."
    assert [type(other) for other in others] == [UnusableEndpointError] * 2
    assert len(server.questions) == 2
    with pytest.raises(UnusableEndpointError, match="credit"):
        asking.answer([ask("two")])


def test_a_question_may_be_forbidden_when_the_key_is_accepted(server, chat):
    server.faults = [Fault(body=completion("A dog.")), error(403, "flagged by moderation")]
    first, bad, last = chat(parallel=1).answer([ask("one"), ask("two"), ask("three")])
    assert first.text == "A dog."
    assert type(bad) is EndpointError
    assert str(bad) == "127.0.0.1 refused the question (403: flagged by moderation)"
    assert last == asked("three")


def test_an_unknown_model_is_told_the_ones_that_there_are(server, chat):
    server.models = ("llama-3b", "qwen3-vl-8b-instruct", "qwen3-8b")
    with pytest.raises(UnusableEndpointError) as raised:
        chat(model="qwen3-vl-8b").answer([ask()])
    assert str(raised.value) == (
        "127.0.0.1 has no model 'qwen3-vl-8b' (404: The model `qwen3-vl-8b` does not exist.); "
        "it has qwen3-8b, qwen3-vl-8b-instruct, llama-3b"
    )
    assert [request.path for request in server.requests] == ["/v1/chat/completions", "/v1/models"]


def test_a_wrong_path_is_told_what_a_base_url_is(server, chat):
    with pytest.raises(UnusableEndpointError, match=r"404: Not Found.*cannot be listed; expected a base_url such as"):
        chat(base_url=server.url.removesuffix("/v1")).answer([ask()])


def unused_url():
    with serving() as stopped:
        return stopped.url


@pytest.mark.parametrize("url", [None, "http://no-such-host-of-ours:8000/v1"])
def test_an_endpoint_that_does_not_exist_is_not_waited_for(chat, clock, url):
    url = url or unused_url()
    started = time.monotonic()
    with pytest.raises(
        UnusableEndpointError, match=r"^cannot connect to .*; expected a running server at base_url " + url
    ):
        chat(base_url=url, timeout_s=5).answer([ask()] * 3)
    assert time.monotonic() - started < 20
    assert clock.waits == []


def test_an_endpoint_that_goes_away_is_waited_for(chat, clock):
    with serving() as other:
        asking = chat(base_url=other.url, max_retries=2)
        assert isinstance(asking.answer([ask()])[0], Answer)
    with pytest.raises(UnusableEndpointError, match=r"cannot connect to .*; asked 3 times"):
        asking.answer([ask()])
    assert clock.waits == [1, 2]


# Budget, order, parallel requests ------------------------------------------------------------------------------------
def test_the_budget_counts_every_request(server, chat):
    server.faults = [error(500, "internal error")]
    asking = chat(max_requests=3, parallel=1)
    *good, third, fourth = asking.answer([ask("one"), ask("two"), ask("three"), ask("four")])
    assert good == [asked("one"), asked("two")]
    told = "the 3 requests of max_requests are used up; run again to go on, or raise it"
    assert [str(third), str(fourth)] == [told, told]
    assert len(server.questions) == 3
    assert [str(result) for result in asking.answer([ask("three"), ask("four")])] == [told, told]
    assert len(server.questions) == 3


def test_a_budget_that_ends_among_retries_says_what_failed(server, chat):
    server.always = error(500, "internal error")
    (bad,) = chat(max_requests=2).answer([ask()])
    assert str(bad) == (
        "the 2 requests of max_requests are used up (127.0.0.1 failed (500: internal error)); "
        "run again to go on, or raise it"
    )
    assert len(server.questions) == 2


def test_answers_come_in_the_order_of_questions_and_at_once(server, chat):
    together = threading.Barrier(3)

    def script(messages):
        together.wait(10)  # passed by three requests at a time
        number = int(chat_server.texts_of(messages)[-1])
        time.sleep(0.02 * (number % 3))
        return str(number)

    server.script = script
    answers = chat(parallel=3).answer([ask(str(n)) for n in range(9)])
    assert [answer.text for answer in answers] == [str(n) for n in range(9)]
    assert server.max_in_flight == 3


def test_nothing_is_sent_for_no_questions(server, chat):
    assert chat().answer([]) == []
    assert server.requests == []


def test_within_a_running_event_loop_as_in_a_notebook(chat):
    async def cell():
        return chat().answer([ask()])

    assert asyncio.run(cell()) == [asked()]


def test_an_interrupt_stops_at_once(server, chat):
    server.always = Fault(body=completion("A dog."), sends=0.5, stalls=True)
    n_threads = sum(thread.name.startswith("asyncio-portal") for thread in threading.enumerate())

    def interrupt():
        server.stalled.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    started = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest-xdist ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            chat().answer([ask()] * 8)
    finally:
        signal.signal(signal.SIGINT, before)
    interrupter.join()
    assert time.monotonic() - started < 5
    assert sum(thread.name.startswith("asyncio-portal") for thread in threading.enumerate()) == n_threads
    assert len(server.questions) <= 4


# The key -------------------------------------------------------------------------------------------------------------
ECHOES = {
    "refused": Fault(401, {"error": {"message": "Incorrect API key provided: KEY."}}),
    "question": Fault(400, {"error": {"message": "Authorization: Bearer KEY is fine, the image is not"}}),
    "temporary": Fault(500, b"<html><title>Bearer KEY crashed</title></html>"),
    "no JSON": Fault(200, b"the header was Bearer KEY"),
    "answer": Fault(200, completion("A dog says KEY.")),
    "refusal": Fault(200, completion(None, refusal="I do not take KEY.")),
    "redirect": Fault(307, b"", {"Location": f"http://localhost:1/v1?key={KEY}"}),
    "long": Fault(400, {"error": {"message": "x" * 140 + "KEY" + "y" * 200}}),
    "models": Fault(404, {"error": {"message": "no model for KEY"}}),
}


@pytest.mark.parametrize("name", ECHOES)
def test_the_key_is_sent_and_never_told(server, chat, caplog, capfd, name):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.INFO, "httpcore2")  # below, it logs the headers of responses, not those of requests
    server.always = ECHOES[name]
    server.models = (f"model-of-{KEY}",)
    asking = chat(max_retries=1)
    try:
        told = [asking.answer([ask()])[0]]
    except UnusableEndpointError as raised:
        told = [raised, raised.__cause__]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert not any(KEY.encode() in request.body or KEY in request.path for request in server.requests)
    texts = [caplog.text, *capfd.readouterr(), *map(repr, told), *map(str, told), asking.identity, repr(asking)]
    asking.pacing = Pacing()
    texts += [repr(vars(asking)), repr(pickle.dumps(asking))]
    for text in texts:
        assert "secret" not in text
    if name != "redirect":
        assert "[key]" in str(told[0]) or name == "long"


def test_a_redirect_is_not_followed(server, chat):
    with serving() as other:
        server.always = Fault(308, b"", {"Location": other.url + "/chat/completions"})
        with pytest.raises(UnusableEndpointError, match=f"redirects to {other.url}.*, where the key is not sent"):
            chat().answer([ask()])
        assert other.requests == []
    assert len(server.requests) == 1


def test_a_local_endpoint_needs_no_key(server, chat, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert chat().answer([ask()]) == [asked()]
    assert "authorization" not in server.requests[0].headers
    server.key = "other"
    with pytest.raises(UnusableEndpointError, match="refused a request without a key"):
        chat().answer([ask()])


def test_the_key_is_read_when_a_question_is_asked(server, chat, monkeypatch):
    asking = chat(key_variable="OTHER_KEY")
    monkeypatch.setenv("OTHER_KEY", "first\n")
    asking.answer([ask()])
    monkeypatch.setenv("OTHER_KEY", "second")
    asking.answer([ask()])
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("value", ["two words", "schlüssel", "a\nb", "a\x00b".replace("\x00", "\x7f")])
def test_a_key_that_no_header_can_hold(server, chat, monkeypatch, value):
    monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(UnusableEndpointError, match="the key in OPENAI_API_KEY has spaces") as raised:
        chat().answer([ask()])
    assert value not in str(raised.value)
    assert server.requests == []


@pytest.mark.parametrize("value", ["", " "])
def test_another_endpoint_needs_a_key(monkeypatch, value):
    monkeypatch.setenv("OPENROUTER_API_KEY", value)
    asking = ApiChat("m", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY")
    with pytest.raises(UnusableEndpointError, match=r"no key for openrouter.ai: .* OPENROUTER_API_KEY is not set"):
        asking.answer([ask()])


def test_a_local_endpoint_is_asked_directly(server, chat, monkeypatch):
    with serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert chat().answer([ask()]) == [asked()]
        assert proxy.requests == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://api.example.com/v1", "http://8.8.8.8/v1", "http://134744072/v1", "http://0x8080808/v1"),
        *("http://[::ffff:8.8.8.8]/v1", "http://[2001:4860:4860::8888]/v1", "http://localhost.example.com/v1"),
    ],
)
def test_unencrypted_only_within_the_own_network(url):
    with pytest.raises(UnusableEndpointError, match="unencrypted over the internet; expected https"):
        ApiChat("m", url)


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost:8000/v1", "http://[::1]:8000/v1", "http://10.0.0.3/v1", "http://192.168.7.7:11434/v1"),
        *("http://gpu-box:8000/v1", "http://vllm.internal/v1", "http://100.100.1.2/v1", "https://8.8.8.8/v1"),
    ],
)
def test_local_and_encrypted_endpoints(url):
    assert ApiChat("m", url).base_url == url


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": f"https://user:{KEY}@host/v1"}, "has a user, a password, a query or a fragment"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "has a user, a password, a query or a fragment"),
        ({"base_url": "localhost:8000"}, "expected https://host/v1 or http://localhost:port/v1"),
        ({"base_url": "ftp://host/v1"}, "expected https://host/v1"),
        ({"base_url": "http://"}, "expected https://host/v1"),
        ({"base_url": "http://[::1/v1"}, "base_url is 'http://[::1/v1' ("),
        ({"base_url": "http://host:port/v1"}, "base_url is 'http://host:port/v1' ("),
        ({"key_variable": KEY}, "not the name of an environment variable"),
        ({"key_variable": "gsk_secretsecret"}, "not the name of an environment variable"),
        ({"model": ""}, "model is ''; expected a name"),
        ({"timeout_s": 0}, "timeout_s is 0; expected a positive number"),
        ({"timeout_s": float("nan")}, "timeout_s is nan; expected a positive number"),
        ({"max_retries": -1}, "max_retries is -1; expected 0 or more"),
        ({"max_requests": 0}, "max_requests is 0; expected 1 or more"),
        ({"parallel": 0}, "parallel is 0; expected 1 or more"),
        ({"max_tokens": 0}, "max_tokens is 0; expected 1 or more"),
        ({"temperature": -0.1}, "temperature is -0.1; expected 0 or more"),
        ({"jpeg_quality": 96}, "jpeg_quality is 96; expected 1 to 95"),
        ({"extra": {"stream": True, "model": "x"}}, "extra has model, stream, which the planner sets; leave it out"),
        ({"extra": {"top_p": float("nan")}}, "extra cannot be written as JSON"),
        ({"extra": {"stop": {1, 2}}}, "extra cannot be written as JSON"),
    ],
)
def test_arguments_out_of_their_range(options, message):
    with pytest.raises(UnusableEndpointError) as raised:
        ApiChat(**{"model": "m", "base_url": "http://localhost:1/v1", **options})
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)


# The server as a planner's endpoint ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "question", ["Write all sections.", "Write <Semantic>, <Temporal>, <Aesthetic> and <Spatial>."]
)
def test_the_server_writes_plans_with_times_of_the_frames(question):
    view = View(gradient(8), tuple(n / 2 for n in range(8)), "The whole clip")
    with serving() as endpoint:
        (answer,) = ApiChat(MODEL, endpoint.url).answer([ask(question, views=(view,))])
    plan = Plan.parse(answer.text)
    assert list(plan) == list(CORE)
    plan.check(4.0)
    (dog,) = plan.story.sources
    assert (dog.what, dog.onsets_s, dog.azimuth_deg) == ("dog", (1.0, 3.0), (24.0, 24.0))


def test_the_server_answers_for_one_dimension():
    view = View(gradient(1), (0.04,))
    with serving() as endpoint:
        answers = ApiChat(MODEL, endpoint.url).answer(
            [ask(f"Write the {name} section.", views=(view,)) for name in CORE]
        )
    texts = {name: answer.text for name, answer in zip(CORE, answers, strict=True)}
    assert texts["temporal"] == "The dog sounds at 0.04 s."
    assert Plan(texts).story.sources[0].onsets_s == (0.04,)
    assert not any("<" in text for text in texts.values())


def test_the_server_as_a_process():
    command = [sys.executable, chat_server.__file__, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = re.fullmatch(rf"serving {MODEL} at (\S+)\n", process.stdout.readline())[1]
            (answer,) = ApiChat(MODEL, url).answer([ask("Write the temporal section.")])
        finally:
            process.kill()
    assert answer.text == "The dog sounds at 0.00 s."
