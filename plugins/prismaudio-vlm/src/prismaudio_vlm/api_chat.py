"""Questions to a model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import base64
import copy
import difflib
import email.utils
import io
import ipaddress
import json
import logging
import math
import os
import random
import re
import time
from concurrent import futures
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx2
import soundfile
from PIL import Image

from prismaudio.errors import PrismAudioError, one_line, truncated
from prismaudio.untrusted import load_json
from prismaudio_vlm.chat import AUDIO_RATE_HZ, Answer, Chat, Question, View, without_thinking
from prismaudio_vlm.planner import ChatPlanner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from torch import Tensor

LOG = logging.getLogger("prismaudio.vlm")

OPENAI_URL = "https://api.openai.com/v1"
CONNECT_TIMEOUT_S = 10.0
"""Maximum time to open a connection."""
MAX_BODY_BYTES = 8 << 20
"""Maximum size of a response."""
FIRST_WAIT_S = 1.0
"""Upper bound of the wait before the first retry; it doubles with each further one."""
MAX_WAIT_S = 300.0
"""Maximum wait before a retry. An endpoint that asks for a longer one is not waited for."""
INTERRUPT_S = 0.2
"""Maximum time until an interrupt takes effect."""
LONG_WAIT_S = 10.0
"""A wait from which on the user is told of it."""
MAX_ERROR_CHARACTERS = 4_000
"""Maximum length of what is searched of an endpoint's error message."""
MAX_QUOTED_CHARACTERS = 300
"""Maximum length of what is quoted of an endpoint's error message."""
_NO_IMAGES = re.compile(
    r"not support(?:ed)? (?:image|vision)|images? (?:input )?(?:is|are) not supported|not a multimodal model"
    r"|image_url is only supported|unsupported content[^.]{0,20}image_url|support image input"
    r"|compiled for multimodal|required for image input",
    re.IGNORECASE,
)
"""Errors of llama.cpp, llamafile, LM Studio, Ollama, OpenAI, OpenRouter and vLLM for a model without image input."""
_NO_MODEL = re.compile(
    r"not a valid model|\b(?:invalid|unknown) model\b|\bmodel\b.*(?:not found|not exist)", re.IGNORECASE
)
_NO_FIELD = re.compile(r"unsupported (?:parameter|value)|unknown name|unrecognized", re.IGNORECASE)
"""Errors of OpenAI and Gemini for a field of the request, or the value of one, that is not supported."""
_TOO_MUCH = re.compile(r"context|too (?:large|big|long|many)|maximum|exceed", re.IGNORECASE)
_RETRY_DELAY = re.compile(r'"retryDelay":\s*"([\d.]+)s"')
"""The wait of a rate limit in the body of Gemini's endpoint, which sends no Retry-After."""


class EndpointError(PrismAudioError):
    """A question that an endpoint did not answer."""


class UnusableEndpointError(EndpointError):
    """An endpoint that answers no question: no key, a refused one, no connection, or a model that does not fit."""


class _TemporaryError(EndpointError):
    """A failure after which a question is asked again.

    Args:
        text: The message.
        wait_s: How long the endpoint asks to wait; None if it does not say.
        is_rate_limit: Whether the wait is for all requests.
        max_retries: Number of retries after which further ones are not worth it.
        is_unusable: Whether no question is answered when the last retry fails too.
    """

    def __init__(
        self,
        text: str,
        *,
        wait_s: float | None = None,
        is_rate_limit: bool = False,
        max_retries: float = math.inf,
        is_unusable: bool = False,
    ) -> None:
        super().__init__(text)
        self.wait_s = wait_s
        self.is_rate_limit = is_rate_limit
        self.max_retries = max_retries
        self.is_unusable = is_unusable


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Pacing:
    """When requests are sent: a wait before each retry, and one of all requests after a rate limit.

    Args:
        now: The current time in seconds.
        sleep: Waits for some seconds.
        jitter: A random number between 0 and 1, so that processes that failed together do not retry together.

    Attributes:
        n_requests: Number of requests so far.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._now, self._sleep, self._jitter = now, sleep, jitter
        self._held_until_s = -math.inf
        self.n_requests = 0

    async def admit(self) -> None:
        """Wait until the end of a rate limit, if there is one."""
        while (left_s := self._held_until_s - self._now()) > 0:
            await self._sleep(left_s)

    async def after(self, error: _TemporaryError, n_retries: int, host: str) -> None:
        """Wait after a failure, or let all requests wait.

        Args:
            error: The failure.
            n_retries: Number of retries of this question so far.
            host: The host of the endpoint, for the log.
        """
        backoff_s = min(FIRST_WAIT_S * 2**n_retries, MAX_WAIT_S) * (0.5 + 0.5 * self._jitter())
        wait_s = backoff_s if error.wait_s is None else error.wait_s
        if error.is_rate_limit:
            self._held_until_s = max(self._held_until_s, self._now() + wait_s)
            level = logging.WARNING if wait_s >= LONG_WAIT_S else logging.INFO
            LOG.log(level, "%s limits the rate of requests: waiting %.1f s", host, wait_s)
        else:
            await self._sleep(wait_s)


class ApiChat(Chat):
    """Asks a model behind an endpoint that speaks the chat completions API of OpenAI.

    Such endpoints are vLLM, the server of llama.cpp, Ollama, LM Studio, OpenAI, OpenRouter, and Gemini's compatible
    one. Frames are sent as JPEG images, each after its time; the model must take several images.

    The key is read from an environment variable when questions are asked, and sent to the host of ``base_url`` alone.

    Args:
        model: Name of the model, as the endpoint lists it.
        base_url: URL of the API, which usually ends in ``/v1``: ``http://localhost:8000/v1`` for vLLM on this machine.
            Without it the environment variable ``OPENAI_BASE_URL``, else that of OpenAI.
        key_variable: Name of the environment variable with the key. An endpoint on this machine or in its network needs
            none.
        timeout_s: Maximum time of a request, from the connection to the last byte of the answer.
        max_retries: How often a request is repeated after a rate limit, an error of the server or a lost connection,
            each time after twice the wait; after a timeout it is repeated once.
        max_requests: Maximum number of questions that this process sends, retries included; None for no limit. Those
            beyond it fail.
        parallel: Number of requests that are sent at once.
        max_tokens: Maximum length of an answer.
        temperature: Sampling temperature; 0 takes the most likely token, None leaves it to the endpoint.
        seed: Seed of the sampling; None leaves it to the endpoint.
        jpeg_quality: Quality of the images, 1 to 95.
        extra: Further fields of each request, such as ``{chat_template_kwargs: {enable_thinking: false}}`` for vLLM;
            null removes a field, such as ``{max_tokens: null, max_completion_tokens: 512}``.

    Raises:
        UnusableEndpointError: An argument is out of its range, or ``base_url`` is not one to send a key to.
    """

    not_in_folders = frozenset({"base_url", "key_variable"})

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        timeout_s: float = 120.0,
        max_retries: int = 7,
        max_requests: int | None = None,
        parallel: int = 4,
        max_tokens: int = 1024,
        temperature: float | None = 0.0,
        seed: int | None = None,
        jpeg_quality: int = 90,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        ranges = {
            "model": (bool(model), "a name"),
            "timeout_s": (timeout_s > 0, "a positive number"),
            "max_retries": (max_retries >= 0, "0 or more"),
            "max_requests": (max_requests is None or max_requests > 0, "1 or more"),
            "parallel": (parallel > 0, "1 or more"),
            "max_tokens": (max_tokens > 0, "1 or more"),
            "temperature": (temperature is None or 0 <= temperature < math.inf, "0 or more"),
            "jpeg_quality": (1 <= jpeg_quality <= 95, "1 to 95"),
        }
        for name, (is_valid, expected) in ranges.items():
            if not is_valid:
                raise UnusableEndpointError(f"{name} is {locals()[name]!r}; expected {expected}")
        if not re.fullmatch("[A-Z_][A-Z0-9_]*", key_variable):
            # It is not quoted: it may be the key.
            raise UnusableEndpointError(
                "key_variable is not the name of an environment variable, in capitals, such as OPENAI_API_KEY; "
                "the key itself is no argument, set it in that variable"
            )
        self.model = model
        self.base_url = str(_checked_url(base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL))
        self.key_variable = key_variable
        self.timeout_s = timeout_s
        self.max_retries = max_retries
        self.max_requests = max_requests
        self.parallel = self.batch_size = parallel
        self.jpeg_quality = jpeg_quality
        self.fields = _fields(model, max_tokens, temperature, seed, extra or {})
        self.pacing = Pacing()
        self.is_reached = False  # whether the endpoint has sent any response
        self.is_accepted = False  # whether it has answered a question

    @property
    def identity(self) -> str:
        """The endpoint, the model, the settings of the generation and the quality of the images."""
        fields = json.dumps(self.fields, sort_keys=True)
        return f"{self.base_url} {fields} jpeg_quality={self.jpeg_quality}"

    def resampled(self, temperature: float) -> Self:
        """The same with another seed, and with the same budget of requests; see the base class."""
        other, sampling = copy.copy(self), self.other_sampling(temperature)
        max_tokens, extra = self.config["max_tokens"], self.config["extra"] or {}
        other.fields = _fields(self.model, max_tokens, sampling["temperature"], sampling["seed"], extra)
        return other

    def answer(self, questions: Sequence[Question]) -> list[Answer | PrismAudioError]:
        """Answer questions, several at a time.

        Returns:
            The answer to each question, or an :class:`EndpointError`.

        Raises:
            UnusableEndpointError: The endpoint answers no question. If it has answered some of these, the others get
                this error instead.
        """
        if not questions:
            return []
        key = self._key()
        # An event loop of its own thread works in a notebook too, and an interrupt cancels what runs in it.
        with anyio.from_thread.start_blocking_portal() as portal:
            asked = portal.start_task_soon(_Requests(self, key).answer, questions)
            while not futures.wait([asked], INTERRUPT_S).done:  # a wait without an end may miss the interrupt
                pass
            return asked.result()

    def _key(self) -> str:
        """The key; empty for none."""
        key = os.environ.get(self.key_variable, "").strip()
        host = httpx2.URL(self.base_url).host
        if not key and not _is_local(host):
            raise UnusableEndpointError(
                f"no key for {host}: the environment variable {self.key_variable} is not set; "
                f"set it, or name another by key_variable"
            )
        if not re.fullmatch("[!-~]*", key):
            raise UnusableEndpointError(
                f"the key in {self.key_variable} has spaces, line breaks or characters other than ASCII; copy it again"
            )
        return key

    def spend(self, last: EndpointError | None) -> None:
        """Count a request.

        Args:
            last: The failure after which it is a retry.

        Raises:
            EndpointError: The budget is used up.
        """
        if self.max_requests is not None and self.pacing.n_requests >= self.max_requests:
            why = f" ({last})" if last else ""
            raise EndpointError(
                f"the {self.max_requests} requests of max_requests are used up{why}; run again to go on, or raise it"
            )
        self.pacing.n_requests += 1

    def body(self, question: Question) -> bytes:
        """The body of the request that asks a question."""
        return json.dumps({**self.fields, "messages": _messages(question, self.jpeg_quality)}).encode()


# Requests ------------------------------------------------------------------------------------------------------------
class _Requests:
    """The requests for some questions.

    Args:
        chat: The settings and counters.
        key: The key; empty for none.
    """

    def __init__(self, chat: ApiChat, key: str) -> None:
        self._chat = chat
        self._key = key
        self._host = httpx2.URL(chat.base_url).host
        self._limit = anyio.CapacityLimiter(chat.parallel)
        self._unusable: UnusableEndpointError | None = None

    async def answer(self, questions: Sequence[Question]) -> list[Answer | PrismAudioError]:
        results: list[Answer | PrismAudioError] = [EndpointError("not asked")] * len(questions)

        async def ask(index: int) -> None:
            async with self._limit:
                try:
                    results[index] = await self._ask(questions[index])
                except EndpointError as error:
                    error.__context__ = None
                    results[index] = error.with_traceback(None)  # its frames hold the images of the question
                    if isinstance(error, UnusableEndpointError):
                        self._unusable = self._unusable or error

        local = self._chat.base_url.startswith("http:")  # a host of this machine or its network: not through a proxy
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeout = httpx2.Timeout(None, connect=min(CONNECT_TIMEOUT_S, self._chat.timeout_s))
        client = httpx2.AsyncClient(headers=headers, timeout=timeout, follow_redirects=False, trust_env=not local)
        async with client as self._client, anyio.create_task_group() as group:
            for index in range(len(questions)):
                group.start_soon(ask, index)
        if self._unusable and not any(isinstance(result, Answer) for result in results):
            raise self._unusable
        return results

    async def _ask(self, question: Question) -> Answer:
        body = await anyio.to_thread.run_sync(self._chat.body, question) if self._unusable is None else b""
        n_retries, last = 0, None
        while True:
            await self._chat.pacing.admit()
            if self._unusable is not None:
                raise self._unusable
            self._chat.spend(last)
            try:
                response = await self._send("POST", "chat/completions", body)
                if response.status != httpx2.codes.OK:
                    raise await self._failure(response)
                answer = self._answer(response.body)
            except _TemporaryError as error:
                if n_retries >= min(self._chat.max_retries, error.max_retries):
                    kind = UnusableEndpointError if error.is_unusable else EndpointError
                    raise kind(f"{error}{f'; asked {n_retries + 1} times' if n_retries else ''}") from None
                await self._chat.pacing.after(error, n_retries, self._host)
                n_retries, last = n_retries + 1, error
            else:
                self._chat.is_accepted = True
                return answer

    async def _send(self, method: str, path: str, body: bytes | None = None) -> _Response:
        """Send a request and read the response, within the limits of time and size."""
        chat, received = self._chat, bytearray()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with anyio.fail_after(chat.timeout_s):
                url = f"{chat.base_url}/{path}"
                async with self._client.stream(method, url, content=body, headers=headers) as response:
                    chat.is_reached = True
                    async for chunk in response.aiter_bytes():
                        received += chunk
                        if len(received) > MAX_BODY_BYTES:
                            raise EndpointError(f"{self._host} sent more than {MAX_BODY_BYTES >> 20} MiB")
                    return _Response(response.status_code, response.headers, bytes(received))
        except TimeoutError:
            raise _TemporaryError(
                f"{self._host} did not answer within {chat.timeout_s:g} s (timeout_s)",
                max_retries=1,
                is_unusable=not chat.is_accepted,
            ) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _TemporaryError(
                f"cannot connect to {self._host} ({self._quoted(str(error))}); "
                f"expected a running server at base_url {chat.base_url}",
                max_retries=math.inf if chat.is_reached else 0,
                is_unusable=True,
            ) from None
        except httpx2.RequestError as error:
            raise _TemporaryError(f"{self._host} broke off ({self._quoted(str(error))})") from None

    async def _failure(self, response: _Response) -> EndpointError:
        """The error of a response that is not an answer."""
        status, host, model = response.status, self._host, self._chat.model
        message = truncated(self._redacted(_error_message(response.body)), MAX_ERROR_CHARACTERS)
        detail = f"({status}: {self._quoted(message)})" if message else f"({status})"
        if 300 <= status < 400:
            to = self._quoted(response.headers.get("Location", "nowhere"))
            return UnusableEndpointError(f"{host} redirects to {to}, where the key is not sent; base_url must name it")
        if _NO_IMAGES.search(message):
            return UnusableEndpointError(f"{model} at {host} takes no images {detail}; name a vision-language model")
        if status == 401 or (status == 403 and not self._chat.is_accepted):
            key = f"the key in {self._chat.key_variable}" if self._key else "a request without a key"
            return UnusableEndpointError(f"{host} refused {key} {detail}")
        if status == 402 or (status == 429 and "insufficient_quota" in message):
            return UnusableEndpointError(f"the credit at {host} is used up {detail}")
        if status == 404 or (status == 400 and _NO_MODEL.search(message)):
            return UnusableEndpointError(f"{host} has no model {model!r} {detail}; {await self._models()}")
        if status == 400 and _NO_FIELD.search(message):
            return UnusableEndpointError(
                f"{model} at {host} does not take a field of the request {detail}; remove or replace it by extra, "
                "such as {max_tokens: null, max_completion_tokens: 1024}"
            )
        if status in {408, 425, 429} or status >= 500:
            return self._temporary(response, detail)
        hint = "; show fewer or smaller frames" if status == 413 or _TOO_MUCH.search(message) else ""
        return EndpointError(f"{host} refused the question {detail}{hint}")

    def _temporary(self, response: _Response, detail: str) -> EndpointError:
        """The error of a response after which the question may be asked again."""
        delay = _RETRY_DELAY.search(response.body.decode("utf-8", "replace"))
        wait_s = _retry_after_s(response.headers.get("Retry-After", delay[1] if delay else ""))
        is_rate_limit = response.status == 429 or wait_s is not None
        what = "limits the rate of requests" if response.status == 429 else "failed"
        if wait_s is not None and wait_s > MAX_WAIT_S:
            return UnusableEndpointError(f"{self._host} {what} for {wait_s:.0f} s {detail}; run again after that")
        return _TemporaryError(f"{self._host} {what} {detail}", wait_s=wait_s, is_rate_limit=is_rate_limit)

    async def _models(self) -> str:
        """The names of the models that the endpoint has, the most similar first; it need not list them."""
        try:
            listed = load_json((await self._send("GET", "models")).body)["data"]
            names = [name for model in listed if isinstance(name := model["id"], str)]
        except (EndpointError, ValueError, LookupError, TypeError):
            return "its models cannot be listed; expected a base_url such as http://localhost:8000/v1"
        wanted = difflib.SequenceMatcher(b=self._chat.model)

        def likeness(name: str) -> float:
            wanted.set_seq1(name)
            return wanted.ratio()

        return f"it has {self._quoted(', '.join(sorted(names, key=likeness, reverse=True)) or 'none')}"

    def _answer(self, body: bytes) -> Answer:
        """The answer in the body of a response.

        Raises:
            EndpointError: There is none.
        """
        try:
            value = load_json(body.decode())
            if isinstance(value.get("error"), (dict, str)) and not value.get("choices"):  # as OpenRouter does
                raise _TemporaryError(f"{self._host} failed ({self._quoted(_error_message(body))})")
            choice = value["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
            content, refusal = message.get("content"), message.get("refusal")
            text = content if isinstance(content, str) else _joined(content or [])
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            shown = self._quoted(_error_message(body)) or "nothing"
            raise EndpointError(
                f"{self._host} sent no chat completion ({type(error).__name__}): {shown}; "
                "expected an OpenAI-compatible base_url, which usually ends in /v1"
            ) from None
        if refusal:
            raise EndpointError(f"{self._chat.model} refused to answer: {self._quoted(str(refusal))}")
        if reason in {"content_filter", "error"}:
            raise EndpointError(f"{self._host} withheld the answer (finish_reason {reason})")
        usage = value.get("usage")
        text = self._redacted(without_thinking(text))
        return Answer(
            text.encode("utf-8", "replace").decode(),  # JSON may hold half a surrogate pair
            _n_tokens(usage, "prompt_tokens"),
            _n_tokens(usage, "completion_tokens"),
            is_complete=reason != "length",
        )

    def _redacted(self, text: str) -> str:
        """A text of the endpoint without the key."""
        return text.replace(self._key, "[key]") if self._key else text

    def _quoted(self, text: str) -> str:
        """A text of the endpoint for an error message, in one line."""
        return truncated(self._redacted(" ".join(text.split())), MAX_QUOTED_CHARACTERS)


# What is sent --------------------------------------------------------------------------------------------------------
def _checked_url(text: str) -> httpx2.URL:
    """The URL of an API.

    Raises:
        UnusableEndpointError: It is not valid, or a key sent there could be read by others.
    """
    if any(mark in text for mark in "@?#"):  # neither is quoted: base_url is kept in recipes and outputs, a key is not
        raise UnusableEndpointError("base_url has a user, a password, a query or a fragment; expected https://host/v1")
    try:
        url = httpx2.URL(text.rstrip("/"))
    except httpx2.InvalidURL as error:
        raise UnusableEndpointError(f"base_url is {text!r} ({one_line(error)}); expected https://host/v1") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise UnusableEndpointError(f"base_url is {text!r}; expected https://host/v1 or http://localhost:port/v1")
    if url.scheme == "http" and not _is_local(url.host):
        raise UnusableEndpointError(
            f"base_url {text} would send the key and the frames unencrypted over the internet; expected https"
        )
    return url


def _is_local(host: str) -> bool:
    """Whether a host is this machine, or one in its network, by its name or address.

    Example:
        >>> _is_local("127.0.0.1"), _is_local("gpu-box"), _is_local("192.168.1.4"), _is_local("vllm.internal")
        (True, True, True, True)
        >>> _is_local("api.openai.com"), _is_local("8.8.8.8"), _is_local("134744072")
        (False, False, False)
    """
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        local = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
        return host[:1].isalpha() and ("." not in host or host.endswith(local))


def _fields(
    model: str, max_tokens: int, temperature: float | None, seed: int | None, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of each request but for the messages."""
    fields = {"model": model, "max_tokens": max_tokens, "temperature": temperature, "seed": seed, **extra}
    if taken := sorted({"model", "messages", "stream", "n"} & set(extra)):
        raise UnusableEndpointError(f"extra has {', '.join(taken)}, which the planner sets; leave it out")
    try:
        return load_json(
            json.dumps({name: value for name, value in fields.items() if value is not None}, allow_nan=False)
        )
    except (TypeError, ValueError) as error:
        raise UnusableEndpointError(f"extra cannot be written as JSON ({one_line(error)})") from None


def _messages(question: Question, jpeg_quality: int) -> list[dict[str, Any]]:
    """A question as messages: frames after their times, the audio, the text, then earlier answers with corrections."""
    content = [part for view in question.views for part in _shown(view, jpeg_quality)]
    if question.audio is not None:
        content += [_text("The audio of the clip:"), _audio(question.audio)]
    messages: list[dict[str, Any]] = [{"role": "system", "content": question.system}] if question.system else []
    messages.append({"role": "user", "content": [*content, _text(question.text)]})
    for answer, problem in question.corrections:
        messages.append({"role": "assistant", "content": answer or "(nothing)"})
        messages.append({"role": "user", "content": problem})
    return messages


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _shown(view: View, jpeg_quality: int) -> list[dict[str, Any]]:
    """The label of a view, then each frame after its time."""
    parts = [_text(f"{view.label}:")] if view.label else []
    for time_s, frame in zip(view.times_s, view.frames, strict=True):
        parts += [_text(f"{time_s:.2f} s:"), _image(frame, jpeg_quality)]
    return parts


def _image(frame: Tensor, jpeg_quality: int) -> dict[str, Any]:
    """A frame, uint8 ``(3, height, width)``."""
    file = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).contiguous().cpu().numpy()).save(file, "JPEG", quality=jpeg_quality)
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def _audio(audio: Tensor) -> dict[str, Any]:
    """Mono audio, float32 ``(samples,)``."""
    file = io.BytesIO()
    soundfile.write(file, audio.cpu().numpy(), AUDIO_RATE_HZ, format="WAV", subtype="PCM_16")
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


# What is received ----------------------------------------------------------------------------------------------------
def _joined(parts: Sequence[Mapping[str, Any]]) -> str:
    """The text of a content that is a list of parts; those of other types, such as thinking, are left out."""
    return "".join(part["text"] for part in parts if part.get("type", "text") == "text")


def _n_tokens(usage: Any, name: str) -> int:
    """A count of the usage; 0 if it is not stated."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and count > 0 else 0


def _error_message(body: bytes) -> str:
    """The message of an error in any of the forms that servers have; the text of the body without one.

    Example:
        >>> _error_message(b'{"error": {"message": "no such model", "code": "model_not_found"}}')
        'no such model (model_not_found)'
        >>> _error_message(b"<html><head><title>502 Bad Gateway</title></head></html>")
        '502 Bad Gateway'
    """
    text = body.decode("utf-8", "replace")
    try:
        value = load_json(text)
    except ValueError:
        text = text[:MAX_ERROR_CHARACTERS]
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        value = title[1] if title else text
    if isinstance(value, list) and value:  # as Gemini's endpoint does
        value = value[0]
    code = None
    while isinstance(value, dict):
        code = value.get("code") or code
        inner = next((value[name] for name in ("error", "message", "detail") if value.get(name)), None)
        value = text if inner is None else inner
    message = value if isinstance(value, str) else json.dumps(value)
    return f"{message} ({code})" if isinstance(code, str) else message


def _retry_after_s(header: str) -> float | None:
    """The seconds that a Retry-After header states, as a number or a date (RFC 9110, section 10.2.3); None for neither.

    Example:
        >>> _retry_after_s("7"), _retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT"), _retry_after_s("soon")
        (7.0, 0.0, None)
    """
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


class ApiPlanner(ApiChat, ChatPlanner):
    """Asks a model behind an OpenAI-compatible endpoint about a clip: vLLM, llama.cpp, Ollama, or a hosted one.

    Example:
        >>> planner = ApiPlanner("qwen3-vl-8b", "http://localhost:8000/v1", max_requests=500)
    """
