"""Every command of the documentation is one that the command line takes: those that no test runs are parsed."""

from __future__ import annotations

import argparse
import re
import shlex

import doc_pages as pages
import pytest

from prismaudio.cli.fit import CommandLine
from prismaudio.cli.main import COMMANDS, main
from prismaudio.errors import PrismAudioError
from prismaudio.hookspecs import KINDS
from prismaudio.registry import OFFICIAL, discover

ROOT = pages.ROOT
RUN = sorted(pages.DOCS.rglob("*.md"))
"""Pages whose blocks are run, unless they say that they are not."""
OLD = pages.DOCS / "reference" / "renamed.md"  # commands as they were
ALL = [
    *(page for page in RUN if page != OLD),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("plugins/*/README.md")),
]
RECIPES = {
    path.relative_to(folder).with_suffix("").as_posix()
    for folder in [ROOT / "src/prismaudio/recipes", *ROOT.glob("plugins/*/src/*/recipes")]
    for path in folder.rglob("*.yaml")
}
INLINE = re.compile(r"`((?:\w+=\S+ )*prismaudio [a-z][^`\n]*)`")
BENCHMARKS = {
    name.removesuffix("Benchmark").lower() for names in OFFICIAL.values() for name in names if "Benchmark" in name
}
ELSEWHERE = {name for names in OFFICIAL.values() for name in names} | RECIPES | BENCHMARKS
"""What plugins provide, which need not be installed here."""
OF_PLUGINS = {"prompts", "studio"}
"""Commands of plugins of the repository, which need not be installed here."""
INCOMPLETE = re.compile(r"arguments? (are|is) required|expected (one|at least one) argument|no recipe is given")
"""A sentence may name a command, or an option, without what belongs to it."""
OPEN = re.compile(r"…|\.\.\.|\b[A-Z]{3,}\b(?!=)|\bX\b")
"""In a command inside a sentence: what stands for something else."""


class Parsed(Exception):  # noqa: N818 - it is no error
    """A command line that was taken."""


def commands_of(page):
    """(Line, words, whether it is in a sentence) of every command of a page that no test runs."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in pages.blocks(text):
        is_run = page in RUN and block.language in pages.RUN and not block.remark and not block.title
        if block.language in ("bash", "console", "sh") and not is_run:
            found += [(block.line, words, False) for words in in_shell(block.code)]
    for match in INLINE.finditer(re.sub(r"(?ms)^```.*?^```", lambda block: "\n" * block[0].count("\n"), text)):
        if not OPEN.search(match[1]):
            found += [(text.count("\n", 0, match.start()) + 1, words, True) for words in in_shell(match[1])]
    return found


def in_shell(code):
    """The words of each ``prismaudio`` in a script, with loop variables at their first value."""
    for name, first in re.findall(r"\bfor (\w+) in (\S+)", code):
        code = code.replace(f"${name}", first.rstrip(";"))
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="();<>|&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("();<>|&"):
                words.append(word)
                continue
            while words and (words[0] in ("do", "then", "if", "time") or re.match(r"\w+=", words[0])):
                del words[0]
            if words[:1] == ["prismaudio"]:
                yield words[1:]
            words = []


def taken(words, tmp_path):
    """Why the command line refuses words; None if it takes them."""
    if "--plugin" in words:
        at = words.index("--plugin")
        words = words[:at] + words[at + 2 :]
    if words[0] in ("fit", "validate"):
        for at, word in enumerate(words):
            if words[at - 1] == "--config" and word not in RECIPES:
                assert word.endswith(".yaml"), f"there is no recipe {word}"
                words[at] = "smoke/foundation"  # a reader's own
    try:
        main(words)
    except Parsed:
        return None
    except SystemExit as end:
        return None if not end.code else f"exit code {end.code}"
    except PrismAudioError as error:
        return str(error)
    return "it neither parsed its words nor failed"


@pytest.fixture
def only_parsing(monkeypatch, tmp_path):
    """Commands stop when their words are parsed, and errors are raised."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, args=None, namespace=None):
        options = parse(self, args, namespace)
        if self.prog.startswith("prismaudio") and not hasattr(options, "what"):
            raise Parsed
        return options

    def stop(_):
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(CommandLine, "instantiate_classes", stop)
    monkeypatch.setattr("prismaudio.cli.estimate.estimate", lambda *_: stop(None))
    monkeypatch.setattr("prismaudio.cli.main.fail", raise_error)
    monkeypatch.chdir(tmp_path)


def raise_error(error, text):
    raise error


@pytest.mark.slow
@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_that_are_not_run_are_taken(page, only_parsing, tmp_path):
    registry = discover()
    known = {*COMMANDS, *registry.names("commands")}
    elsewhere = ELSEWHERE - {name for kind in KINDS for name in registry.names(kind)}
    refused = []
    for line, words, in_sentence in commands_of(page):
        if not words or words[0] in OF_PLUGINS - known or (in_sentence and words[0].isupper()):
            continue
        reason = taken(words, tmp_path)
        named = set(re.findall(r"'([^']+)'", reason or ""))
        if reason and not (named & elsewhere) and not (in_sentence and INCOMPLETE.search(reason)):
            refused.append(f"{page.name}:{line}: prismaudio {shlex.join(words)}: {reason}")
    assert not refused, "\n".join(refused)


def test_a_wrong_command_is_found_out(only_parsing, tmp_path):
    assert "unrecognized" in taken(["generate", "a.mp4", "--stepps", "3"], tmp_path)
    assert taken(["generate", "a.mp4", "--steps", "3"], tmp_path) is None
    assert list(in_shell("for a in x y; do prismaudio plan $a.mp4 -o - | prismaudio score z > b; done")) == [
        ["plan", "x.mp4", "-o", "-"],
        ["score", "z"],
    ]
