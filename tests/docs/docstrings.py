"""What the documentation site understands differently in our docstrings: a griffe extension, named in mkdocs.yml."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|meth|attr|data|func|mod):`~?([^`]+)`")
CODE = re.compile(r"^( *)\.\. code-block:: (\w+)\n\n((?:\1 {4}[^\n]*\n|\n)+)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Makes sections of examples, fenced blocks of code blocks, and plain code of roles."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """A docstring as the site understands it.

    Example:
        >>> print(rewritten("A :class:`Box`.\\n\\nExample:\\n    >>> 1"))
        A `Box`.
        <BLANKLINE>
        Examples:
            >>> 1
    """
    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    return ROLE.sub(r"`\1`", CODE.sub(_fenced, f"{text}\n")).rstrip("\n")


def _fenced(match: re.Match[str]) -> str:
    body = textwrap.indent(textwrap.dedent(match[3]).strip(), match[1])
    return f"{match[1]}```{match[2]}\n{body}\n{match[1]}```\n"
