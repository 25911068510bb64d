"""Checks one component of a plugin in its own process: ``python -m prismaudio.testing.component KIND TARGET``."""

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
from prismaudio.signatures import parameters

HEAVY = ("torch", "lightning", "transformers", "torchaudio", "torchvision", "timm", "scipy", "librosa", "pandas")
"""Slow-to-import packages that the report lists."""
PLANNERS = [f"prismaudio.planners.base:{name}" for name in ("Planner", "Annotator", "Decoupler")]
"""The base classes of planners, of which a class has at least one."""
CHECKS = {
    "rewards": "check_reward",
    "metrics": "check_metric",
    "encoders": "check_encoder",
    "samplers": "check_sampler",
    "planners": "check_planner",
    "autoencoders": "check_autoencoder",
    "gates": "check_gate",
}
"""The contract check in :mod:`prismaudio.testing` for each kind."""


class NetworkUseError(OSError):
    """A component tried to use the network."""


def check_component(kind: str, target: str, declared: str = "null") -> dict[str, str]:
    """Check a component; importing and constructing it must not need the network.

    Args:
        kind: Kind of the component, one of :data:`prismaudio.hookspecs.CONTRACTS`.
        target: Its class as ``"package.module:ClassName"``.
        declared: The :class:`prismaudio.Stream` that its plugin declares, as JSON.

    Returns:
        The result of each check by name; a failure begins with ``"FAIL "``.
    """
    block_network()
    module_name, _, name = target.partition(":")
    start_s = time.perf_counter()
    try:
        found = getattr(importlib.import_module(module_name), name)
    except Exception as error:  # noqa: BLE001  (a plugin's import may fail in any way)
        return {"import": f"FAIL {type(error).__name__}: {error}"}
    took_s = time.perf_counter() - start_s
    imported = ", ".join(package for package in HEAVY if package in sys.modules) or "no heavy package"
    report = {"import": f"{took_s:.1f} s, imports {imported}"}
    if kind == "commands":
        return report | {"function": "takes arguments" if callable(found) else f"FAIL {target} is not a function"}
    if not isinstance(found, type):
        return report | {"base class": f"FAIL {target} is a {type(found).__name__}, not a class"}
    report["base class"] = check_base_class(kind, found)
    report["docstring"] = check_docstring(found)
    report["arguments"] = check_arguments(found)
    report["offline"], made = check_offline(found)
    if kind == "encoders":
        report["stream"] = check_stream(json.loads(declared), made)
    if made is not None and kind in CHECKS:
        report["contract"] = check_contract(kind, made)
    return report


def check_base_class(kind: str, found: type) -> str:
    """Whether a class is a concrete subclass of the base class of its kind."""
    targets = PLANNERS if kind == "planners" else [CONTRACTS[kind]]
    bases = {
        name: getattr(importlib.import_module(module), name) for module, _, name in (t.partition(":") for t in targets)
    }
    name = next((name for name, base in bases.items() if issubclass(found, base)), "")
    if not name:
        return f"FAIL it must be a subclass of {' or '.join(targets)}"
    missing: set[str] = getattr(found, "__abstractmethods__", set())
    return f"FAIL it does not define {', '.join(sorted(missing))}" if missing else name


def check_docstring(found: type) -> str:
    """Whether a class has a docstring that documents every argument."""
    text = found.__dict__.get("__doc__") or ""
    if not text.strip():
        return "FAIL there is none; the first line is shown in --help"
    texts = text + "".join(inspect.getdoc(base) or "" for base in inspect.getmro(found)[1:-1])  # arguments passed on
    arguments = [p for p in parameters(found) if f"{p}:" not in texts and f"{p} (" not in texts]
    first = text.strip().splitlines()[0]
    return f"FAIL 'Args:' does not mention {', '.join(arguments)}" if arguments else first


def check_arguments(found: type) -> str:
    """Whether every argument has a type, which recipes are checked against."""
    untyped = [name for name, p in parameters(found).items() if p.annotation is p.empty]
    return f"FAIL no type: {', '.join(untyped)}" if untyped else f"{len(parameters(found))}, all typed"


def check_offline(found: type) -> tuple[str, object]:
    """Whether a class can be constructed without the network or reports what is missing; the instance, or None."""
    required = [name for name, p in parameters(found).items() if p.default is p.empty]
    if required:
        return f"imports without the network; not constructed, since it requires {', '.join(required)}", None
    try:
        return "works without the network", found()
    except PrismAudioError as error:
        return f"reports what is missing: {error}", None
    except NetworkUseError as error:
        return f"FAIL {error}; raise a PrismAudioError that states how to get the missing file", None
    except Exception as error:  # noqa: BLE001  (a third-party constructor may fail in any way)
        return f"FAIL it cannot be constructed with its defaults: {type(error).__name__}: {error}", None


def check_stream(declared: dict[str, Any] | None, made: Any) -> str:
    """Whether the declared stream matches the encoder, if that can be constructed with its defaults."""
    if declared is None:
        return "FAIL its Component declares no stream; give it stream=Stream(name, dim, rate_hz)"
    name, dim, rate_hz = declared["name"], declared["dim"], declared["rate_hz"]
    if made is not None and (dim, rate_hz) != (made.dim, made.rate_hz):
        return f"FAIL it declares dim {dim} and rate_hz {rate_hz}; its features have {made.dim} and {made.rate_hz}"
    return f"{name}, dim {dim}, " + ("no time axis" if rate_hz is None else f"{rate_hz:g} per second")


def check_contract(kind: str, made: object) -> str:
    """Whether a component with its defaults fulfils the contract of its kind."""
    from prismaudio import testing
    from prismaudio.planners.base import Described, Planner, TrainablePlanner

    if isinstance(made, Described) and not isinstance(made, Planner):
        return "not checked: it writes no plans by itself"
    options = {"is_trained": False} if isinstance(made, TrainablePlanner) else {}
    try:
        getattr(testing, CHECKS[kind])(made, **options)
    except testing.NotTriedError as error:
        return f"not checked: {error}"
    except testing.NonconformingError as error:
        return f"FAIL {error}"
    except PrismAudioError as error:
        return f"reports what is missing: {error}"
    return "fulfilled for one example"


def block_network() -> None:
    """Make every network access in this process an error."""

    def refuse(*args: Any, **_: Any) -> Any:
        raise NetworkUseError(f"it accessed the network: {args[-1] if args else ''}")

    blocked: Callable[..., Any] = refuse
    socket.socket.connect = blocked  # type: ignore[method-assign]
    socket.getaddrinfo = blocked
    socket.create_connection = blocked


if __name__ == "__main__":
    print(json.dumps(check_component(*sys.argv[1:])))  # noqa: T201  (read by prismaudio plugins check)
