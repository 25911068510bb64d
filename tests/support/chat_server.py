"""An OpenAI-compatible endpoint on 127.0.0.1: its answers come from a function, and it fails as real ones do.

``python tests/support/chat_server.py --port 8000`` serves one that writes plans.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prismaudio.plan import CORE
from prismaudio.plan.sections import tag
from prismaudio.plan.story import Source, Story
from prismaudio.plan.writing import describe

MODEL = "test-vlm"
Messages = list[dict[str, Any]]


def completion(text: Any, reason: str = "stop", **message: Any) -> dict[str, Any]:
    """A response with one answer.

    Args:
        text: The content of its message.
        reason: Why it ends.
        message: Further fields of the message.
    """
    words = len(text.split()) if isinstance(text, str) else 0
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
    usage = {"prompt_tokens": 100, "completion_tokens": words, "total_tokens": 100 + words}
    return {"id": "chatcmpl-1", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}


# Plans ---------------------------------------------------------------------------------------------------------------
def texts_of(messages: Messages) -> list[str]:
    """The text parts of the first question, which is the last one of them, and the labels and times before it."""
    content = next(message["content"] for message in messages if message["role"] == "user")
    return [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]


def times_of(messages: Messages) -> list[float]:
    """The times of the frames in seconds, in the order in which they were sent."""
    return [float(match[1]) for text in texts_of(messages) if (match := re.fullmatch(r"(\d+\.\d+) s:", text))]


def write_plan(messages: Messages) -> str:
    """Valid sections of the core dimensions: a dog on the right at the frames one and three quarters into the clip.

    A question that names one dimension is answered by the text of its section, one that names none or several by
    sections with tags, and one for a text without tags by such a text.
    """
    times = sorted(set(times_of(messages)) or {0.0})
    onsets = sorted({times[len(times) // 4], times[3 * len(times) // 4]})
    sections = describe(Story((Source("dog", tuple(onsets), None, (24, 24), "small"),), "clean", "dry"))
    question = texts_of(messages)[-1].lower()
    if "without tags" in question:
        return " ".join(sections.values())
    named = [name for name in CORE if name in question] or list(CORE)
    return sections[named[0]] if len(named) == 1 else " ".join(f"{tag(name)} {sections[name]}" for name in named)


# The server ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Fault:
    """A response that is no answer.

    Args:
        status: Its status.
        body: Its body: bytes, or a value to be written as JSON. ``KEY`` in it becomes the key of the request.
        headers: Further headers.
        sends: Share of the body that is sent before the connection is closed.
        stalls: Whether it stops there instead until ``resume`` is set.
        drip_s: Seconds between the bytes of the body.
    """

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sends: float = 1.0
    stalls: bool = False
    drip_s: float = 0.0


@dataclass(frozen=True)
class Request:
    """A request that the server has received.

    Args:
        path: Its path.
        headers: Its headers, with names in lower case.
        body: Its body.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ChatServer(ThreadingHTTPServer):
    """The server.

    Args:
        script: Gives the answer, or a whole response, to the messages of a request.
        port: Its port; 0 for a free one.

    Attributes:
        faults: Responses to the next requests; those after them are answered.
        always: Response to every request; None to answer.
        key: The key that requests must have; None for any.
        models: Names of its models; None if it does not list them.
        requests: The requests so far.
        max_in_flight: Maximum number of questions that were being answered at once.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, script: Callable[[Messages], Any] = write_plan, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.script = script
        self.faults: list[Fault] = []
        self.always: Fault | None = None
        self.key: str | None = None
        self.models: tuple[str, ...] | None = (MODEL,)
        self.requests: list[Request] = []
        self.in_flight = self.max_in_flight = 0
        self.lock = threading.Lock()
        self.stalled, self.resume = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def questions(self) -> list[Any]:
        """Bodies of the questions so far."""
        return [request.json for request in self.requests if request.path == "/v1/chat/completions"]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: ChatServer

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self.record(b"")
        if self.path == "/v1/models" and self.server.models is not None:
            self.send(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.server.models]})
        else:
            self.send(404, b"<html><title>404 Not Found</title></html>")

    def do_POST(self) -> None:
        server, n_bytes = self.server, int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(n_bytes)
        if len(body) < n_bytes:  # the client went away
            self.close_connection = True
            return
        with server.lock:
            self.record(body)
            server.in_flight += 1
            server.max_in_flight = max(server.max_in_flight, server.in_flight)
            fault = server.always or (server.faults.pop(0) if server.faults else None)
        try:
            self.fail(fault) if fault else self.answer(body)
        finally:
            with server.lock:
                server.in_flight -= 1

    def record(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(self.path, headers, body))

    @property
    def given_key(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def answer(self, body: bytes) -> None:
        request = json.loads(body)
        if self.path != "/v1/chat/completions":
            self.send(404, {"detail": "Not Found"})
        elif self.server.key is not None and self.given_key != self.server.key:
            self.send(401, {"error": {"message": f"Incorrect API key provided: {self.given_key}"}})
        elif self.server.models is not None and request["model"] not in self.server.models:
            self.send(404, {"error": {"message": f"The model `{request['model']}` does not exist.", "code": 404}})
        else:
            answer = self.server.script(request["messages"])
            self.send(200, completion(answer) if isinstance(answer, str) else answer)

    def fail(self, fault: Fault) -> None:
        body = fault.body if isinstance(fault.body, bytes) else json.dumps(fault.body).encode()
        body = body.replace(b"KEY", self.given_key.encode())
        self.send(fault.status, body, fault.headers, fault)

    def send(
        self, status: int, body: Any, headers: Mapping[str, str] | None = None, fault: Fault | None = None
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/html" if data.startswith(b"<") else "application/json"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault is None or (fault.sends == 1.0 and not fault.drip_s):
            self.wfile.write(data)
            return
        for byte in data if fault.drip_s else ():
            self.wfile.write(bytes([byte]))
            time.sleep(fault.drip_s)
        if not fault.drip_s:
            self.wfile.write(data[: int(fault.sends * len(data))])
        self.close_connection = True
        if fault.stalls:
            self.server.stalled.set()
            self.server.resume.wait(60)


@contextmanager
def serving(script: Callable[[Messages], Any] = write_plan, port: int = 0) -> Iterator[ChatServer]:
    """A running server."""
    with ChatServer(script, port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.resume.set()
            server.shutdown()


def main() -> None:
    """Serve plans until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 for a free one")
    with serving(port=parser.parse_args().port) as server:
        print(f"serving {MODEL} at {server.url}", flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    main()
