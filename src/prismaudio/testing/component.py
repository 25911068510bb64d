"""Judges one component of a plugin, in a process of its own: ``python -m prismaudio.testing.component KIND TARGET``."""

from __future__ import annotations

import importlib
import inspect
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from prismaudio.errors import PrismAudioError
from prismaudio.hookspecs import CONTRACTS

HEAVY = ("torch", "lightning", "transformers", "torchaudio", "torchvision", "timm", "scipy", "librosa", "pandas")
"""Packages whose import is worth a line in the report."""
CHECKS = {
    "rewards": "check_reward",
    "metrics": "check_metric",
    "encoders": "check_encoder",
    "samplers": "check_sampler",
}
"""What of :mod:`prismaudio.testing` judges a component of a kind."""


class NetworkUseError(OSError):
    """A component reached for the network."""


def judge(kind: str, target: str, declared: str = "null") -> dict[str, str]:
    """Check a component; importing and building it must not need the network.

    Args:
        kind: What it is, one of :data:`prismaudio.hookspecs.CONTRACTS`.
        target: ``"package.module:ClassName"``.
        declared: The :class:`prismaudio.Stream` that its plugin declares, as JSON.

    Returns:
        For each check what was found; a failure begins with ``"FAIL "``.
    """
    block_network()
    module_name, _, name = target.partition(":")
    start_s = time.perf_counter()
    try:
        found = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # noqa: BLE001  (a plugin's import may fail in any way)
        return {"import": f"FAIL {type(error).__name__}: {error}"}
    took_s = time.perf_counter() - start_s
    pulled = ", ".join(package for package in HEAVY if package in sys.modules) or "nothing heavy"
    report = {"import": f"{took_s:.1f} s, pulls in {pulled}"}
    if kind == "commands":
        return report | {"function": "takes arguments" if callable(found) else f"FAIL {target} is no function"}
    if not isinstance(found, type):
        return report | {"base class": f"FAIL {target} is a {type(found).__name__}, not a class"}
    report["base class"] = judge_base(kind, found)
    report["docstring"] = judge_docstring(found)
    report["arguments"] = judge_arguments(found)
    report["offline"], made = judge_offline(found)
    if kind == "encoders":
        report["stream"] = judge_stream(json.loads(declared), made)
    if made is not None and kind in CHECKS:
        report["contract"] = judge_contract(kind, made)
    return report


def judge_base(kind: str, found: type) -> str:
    """Whether a class keeps its kind's contract."""
    module, _, name = CONTRACTS[kind].partition(":")
    if not issubclass(found, getattr(importlib.import_module(module), name)):
        return f"FAIL it must be a subclass of {CONTRACTS[kind]}"
    missing: set[str] = getattr(found, "__abstractmethods__", set())
    return f"FAIL it does not define {', '.join(sorted(missing))}" if missing else name


def judge_docstring(found: type) -> str:
    """Whether a class says what it is, and what each argument means."""
    text = found.__dict__.get("__doc__") or ""
    if not text.strip():
        return "FAIL there is none; its first line is shown in --help"
    arguments = [p for p in parameters(found) if f"{p}:" not in text and f"{p} (" not in text]
    first = text.strip().splitlines()[0]
    return f"FAIL 'Args:' does not mention {', '.join(arguments)}" if arguments else first


def judge_arguments(found: type) -> str:
    """Whether every argument has a type that a recipe can be checked against."""
    untyped = [name for name, p in parameters(found).items() if p.annotation is p.empty]
    return f"FAIL no type: {', '.join(untyped)}" if untyped else f"{len(parameters(found))}, all typed"


def judge_offline(found: type) -> tuple[str, object]:
    """Whether a class can be built without the network, or says what it lacks; and what was built, or None."""
    required = [name for name, p in parameters(found).items() if p.default is p.empty]
    if required:
        return f"imports without the network; not built, for it needs {', '.join(required)}", None
    try:
        return "works without the network", found()
    except PrismAudioError as error:
        return f"says what it lacks: {error}", None
    except NetworkUseError as error:
        return f"FAIL {error}; raise a PrismAudioError that says how to get what is missing", None
    except Exception as error:  # noqa: BLE001  (a stranger's constructor may fail in any way)
        return f"FAIL its defaults do not work: {type(error).__name__}: {error}", None


def judge_stream(declared: dict[str, Any] | None, made: Any) -> str:
    """Whether what a plugin declares of an encoder's stream is so, as far as it could be built with its defaults."""
    if declared is None:
        return "FAIL its Component declares no stream; give it stream=Stream(name, dim, rate_hz)"
    name, dim, rate_hz = declared["name"], declared["dim"], declared["rate_hz"]
    if made is not None and (dim, rate_hz) != (made.dim, made.rate_hz):
        return f"FAIL it declares dim {dim} and rate_hz {rate_hz}; its features have {made.dim} and {made.rate_hz}"
    return f"{name}, dim {dim}, " + ("not along time" if rate_hz is None else f"{rate_hz:g} a second")


def judge_contract(kind: str, made: object) -> str:
    """Whether a component, made with its defaults, does what its kind's contract says."""
    from prismaudio import testing

    try:
        getattr(testing, CHECKS[kind])(made)
    except testing.NotTriedError as error:
        return f"not tried: {error}"
    except testing.NonconformingError as error:
        return f"FAIL {error}"
    except PrismAudioError as error:
        return f"says what it lacks: {error}"
    return "kept, as far as one example shows"


def parameters(found: type) -> dict[str, inspect.Parameter]:
    """The named arguments of a class."""
    given = inspect.signature(found).parameters
    return {name: p for name, p in given.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def block_network() -> None:
    """Make every use of the network in this process an error."""

    def refuse(*args: Any, **_: Any) -> Any:
        raise NetworkUseError(f"it reached for the network: {args[-1] if args else ''}")

    blocked: Callable[..., Any] = refuse
    socket.socket.connect = blocked  # type: ignore[method-assign]
    socket.getaddrinfo = blocked
    socket.create_connection = blocked


if __name__ == "__main__":
    print(json.dumps(judge(*sys.argv[1:])))  # noqa: T201  (read by prismaudio plugins check)
