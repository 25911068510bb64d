"""HTML pages with their script, style and data inside, which are opened as a file and need no server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence


def page(
    template: Path,
    generator: str,
    title: str,
    data: Any,
    media: str = "'none'",
    shared: Sequence[Path] = (),
    connect: str = "'none'",
    **parts: str,
) -> str:
    """A page: an HTML file with the style, the script and the data in their places.

    The page runs its own script and style only, and loads nothing but ``media``; ``{{name}}`` in the template is
    ``policy``, ``generator``, ``title``, ``style`` and ``script``, ``data``, or one of ``parts``. The style is
    ``pages.css`` with the ``.css`` beside the template; the script ``pages.js``, ``shared``, and the ``.js`` beside it.

    Args:
        template: The HTML file.
        generator: Marks the page, see :func:`is_page_of`.
        title: Its title, as plain text.
        data: What the script reads, as JSON types.
        media: Sources of video, audio and pictures, in the words of a content security policy.
        shared: Scripts that several pages have.
        connect: Where the script may send data, in the same words.
        **parts: HTML that stands in other places.
    """
    common = Path(__file__)
    script = "".join(map(_text, (common.with_suffix(".js"), *shared, template.with_suffix(".js"))))
    style = "".join(map(_text, (common.with_suffix(".css"), template.with_suffix(".css"))))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; media-src {media}; "
        f"img-src {media}; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    found = {
        "policy": policy,
        "generator": generator,
        "title": html_text(title),
        "style": style,
        "script": script,
        "data": json_for_script(data),
        **parts,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: found[match[1]], _text(template))


def is_page_of(path: Path, generator: str) -> bool:
    """Whether a file is a page that a generator wrote."""
    with path.open("rb") as file:
        return f'name="generator" content="{generator}"'.encode() in file.read(1024)


def relative_url(path: Path, folder: Path) -> str:
    """URL of a file, relative to the folder of the page.

    Example:
        >>> relative_url(Path("/clips/a dog#1.mp4"), Path("/clips/cot"))
        './../a%20dog%231.mp4'
    """
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:  # another drive
        return path.absolute().as_uri()
    return f"./{quote(os.fsencode(Path(relative).as_posix()))}"


def json_for_script(value: Any) -> str:
    r"""JSON that can be the content of a ``<script>`` element: no character of it ends the element or is not ASCII.

    Example:
        >>> print(json_for_script("</script>"))
        "\u003c/script\u003e"
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def html_text(text: str) -> str:
    """Text as the content of an element or an attribute; what cannot be printed is replaced.

    Example:
        >>> html_text("<b>")
        '&lt;b&gt;'
    """
    clean = "".join(char if char.isprintable() else "�" for char in text)
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"sha256-{digest}"
