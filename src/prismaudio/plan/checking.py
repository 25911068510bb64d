"""Checking plans: what is wrong with the text of a section, and where sections contradict each other.

The checks are for text of unknown origin, such as the answers of a language model. They never raise, and report nothing
for the sentences that :mod:`prismaudio.plan.writing` generates.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from prismaudio.errors import truncated
from prismaudio.plan import words
from prismaudio.plan.nouns import Nouns, clauses, lowered, noun_phrases
from prismaudio.plan.quantities import azimuths, times
from prismaudio.plan.reading import read, sentences
from prismaudio.plan.sections import CORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prismaudio.plan.story import Story

MAX_WORDS, MAX_WORDS_PER_S = 150, 10
"""Maximum number of words of a section: 150, and for clips of more than 15 s 10 per second.

The longest published section has 52 words. Text encoders read 77 to 512 tokens of a plan, and time-stamped lists of
events grow with the duration of the clip.
"""
MAX_WORD_LENGTH = 12
"""Average number of characters of a word, with its space, above which the length in characters is the limit."""
MAX_REPEATS = 3
"""Number of times that a sentence may occur in a section."""
TIME_TOLERANCE_S = 0.005
"""Times are rounded to 0.01 s."""
MAX_QUOTED = 40
"""Maximum number of characters that a problem quotes from the section."""

_QUOTED_SPEECH = re.compile(r"\"[^\"]*\"|“[^”]*”|«[^»]*»|(?<!\w)'[^']*'(?!\w)|(?<!\w)‘[^’]*’(?!\w)")

_MARKUP = {
    "a code fence": r"```|~~~",
    "a tag": r"</?[A-Za-z!|][^<>]*>",
    "JSON": r"^\s*[\[{](?=.*[\]}\"])|\"[\w ]+\"\s*:|'\w+'\s*:\s*['\[{\d]",
    "a heading": r"(?m:^\s*#{1,6}\s)|\s#{2,6}\s",
    "bold or italic text": r"\*\*|__|(?<![\w*])\*(?=\S)[^*\n]+\*|(?<!\w)_(?=\S)[^_\n]+_(?!\w)",
    "a list": r"(?m:^\s*(?:[-*+–]\s+|\d{1,2}[.)]\s+(?=[A-Za-z])))|[•▪‣◦●]",
    "a code span": r"`",
    "a table": r"\|[^|\n]+\|",
    "a formula": r"\\[A-Za-z(\[]|\$[^$\n]+\$",
    "a link": r"\bhttps?://|\bwww\.|\]\(",
}
"""Forms of markup and patterns of each, in the order in which they are reported; only the first one is."""
_MARKUP_PATTERNS = {what: re.compile(pattern, re.DOTALL) for what, pattern in _MARKUP.items()}

_SENSED = (
    r"(?:hear|listen|see|watch|view|determine|tell|provide|access|assist|help|analy[sz]e|process|identify|describe|"
    r"answer|comply|generate|create|fulfil\w*|assess|judge|estimate|infer|verify|confirm|say|do that|give)"
)
_REFUSAL = re.compile(
    rf"\bI(?:'m| am) (?:sorry|afraid|unable|not able|just an?|only an?)\b|\b(?:my|our) apologies\b|\bI apologi[sz]e\b"
    rf"|\bI (?:cannot|can ?not|can['’]t|could not|couldn['’]t|won['’]t|will not|do not|don['’]t|did not|didn['’]t)"
    rf"(?: \w+ly)? (?:{_SENSED}|have|know|possess|receive)\b"
    r"|\bas an? (?:AI|artificial intelligence|(?:large )?language model|(?:visual|virtual|AI|multimodal) \w+)\b"
    rf"|\b(?:unable|not able|impossible|not possible) to {_SENSED}\b"
    rf"|\b(?:can ?not|can['’]t|could not) be (?:determined|heard from|inferred|identified|assessed|known|described)\b"
    r"|\bno (?:audio|sound|video|image|frame|input|content|information|visual)s?(?: \w+)? "
    r"(?:(?:is|are|was|were|has been|have been) )?(?:provided|available|attached|given|uploaded|supplied|received)\b"
    r"|\b(?:please|could you|can you) (?:provide|upload|share|attach|give|specify|clarify)\b"
    r"|\b(?:against|violates?) (?:my|the|our) (?:guidelines|polic(?:y|ies))\b|^\W*sorry\b"
    r"|^\W*(?:n/?a|none|null|nil|unknown|not applicable|not available|not specified|undefined|todo|tbd|\.{2,}|…)\W*$",
    re.IGNORECASE,
)
_CHAT = re.compile(
    r"^\W*(?:sure|certainly|of course|absolutely|okay|ok|got it|understood)[,.!:]"
    r"|^\W*here(?:['’]s| is| are)\b[^.:]{0,60}?\b(?:section|plan|description|answer|response|summary|analysis|"
    r"breakdown|list|text|caption|sentence|json)s?\b"
    r"|\b(?:let me know|hope (?:this|that) helps|feel free to|happy to help|would you like|do you want)\b"
    r"|\bI(?:['’]ll| will| would| can| could| should| think| believe| assume| guess| see| hear| notice| need)\b",
    re.IGNORECASE,
)
_MEDIUM = re.compile(
    r"\ba video of\b|\b(?:this|the|these|that|provided|given)\s+(?:(?:short|silent|provided|given|input|uploaded|"
    r"entire|whole|full|attached|first|last|next|opening|final)\s+)?"
    r"(?:video(?!\s*-?\s*(?:gam|call|camera|arcade|record|conferenc|player|projector|tape|cassette|console))|footage|"
    r"screenshot|thumbnail|(?:image|picture|photo|photograph|clip|frame)s?\s+(?:clearly\s+)?(?:shows?|depicts?|contains?|"
    r"displays?|features?|illustrates?|presents?|(?:is|are) of))\b"
    r"|\b(?:in|of|from|throughout|during|on)\s+(?:this|these)\s+(?:clip|image|picture|photo|frame|video|still)s?\b"
    r"|\bin the (?:images?|photos?|pictures?|stills?)\b|\bframes?\s*#?\d|\b(?:image|picture|photo)\s*#?\d"
    r"|\bvideo(?:\s+(?:clip|file|frames?|shows?|depicts?)|s\b(?=\s+shows?))\b|\b(?:audio|media|sound|wav|mp4) file\b"
    r"|(?<![\w.-])[\w-]{1,200}\.(?:mp4|mov|avi|mkv|webm|wav|mp3|flac|m4a|ogg|jpe?g|png|gif|bmp|webp)\b",
    re.IGNORECASE,
)
_SPATIAL = re.compile(
    r"\b(?:stereo\w*|mono|monaural|pan(?:s|ned|ning)?|surround\w*|around|wide\w*|width|narrow\w*|spread\w*|spatial\w*|"
    r"spacious\w*|space|near(?:by|er|est)?|close(?:r|ly|-up)?|far|distan\w+|approach\w*|reced\w*|away|towards?|across|"
    r"mov(?:e|es|ed|ing|ement|ements)|travel\w*|pass(?:es|ing|ed)?(?: by)?|stationary|static|fixed|stays?|still|sides?|"
    r"middle|fields?|locali[sz]\w*|position\w*|locat\w*|environment|immersive|ambien\w+|everywhere|diffuse\w*|behind|"
    r"rear|front|back|above|below|overhead|beneath|beside|off-?(?:screen|center|centre)|background|foreground|"
    r"axis|horizon\w*|laterals?|laterally|azimuth|directions?|directional\w*|interaural|channels?|ears?|open air|"
    r"outdoors?)\b",
    re.IGNORECASE,
)
"""Words of directions, distances, movements and width, besides left, right and centre."""
_LABEL = re.compile(r"^[\W_]*(?P<label>[A-Za-z]+)(?: (?:section|description|dimension))?\s*[:：](?!\d)")
_LABELS = frozenset(
    (*CORE, "answer", "response", "output", "assistant", "user", "system", "section", "plan", "caption")
)
_NEGATIVE_TIME = re.compile(
    r"\b(?:at|from|since|around|about|between)\s*[-−]\s*\d+(?:[.,]\d+)?\s*(?:s|sec|secs|seconds?|ms|min|minutes?)\b",
    re.IGNORECASE,
)

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ENGLISH_WORDS = """
    a the and of with from are is then that this these those while its it to at by for as has have was were not or there
    be been being into onto over after before between until through throughout during near without no but also each both
    which who their they his her followed by sound sounds heard left right moves once twice times seconds second clear
    clean soft loud noise recording background
"""
"""Frequent English words of plans."""
_FOREIGN_WORDS = """
    der das und ist ein eine einen einem einer eines mit auf von zu im vom zum zur nicht auch nach bei dem des wird sind
    aus dann rechts für über hört sekunden kein keine sich wie nur
    le la les un une du et est dans sur avec qui que au puis sont pas gauche droite fois très il elle ce cette deux
    el los las una unos y en por para del se su es hacia izquierda derecha luego dos veces está suena más
    gli di che sono nel nella della delle dei uno sinistra destra dopo poi volte è più alla
    os uma da das em com não são pelo pela esquerda direita depois duas vezes é ao
    het een de voor niet zijn wordt naar aan bij hoort seconden rechts twee keer wordt
    och att det som på är med för ett og ikke fra af ikke vänster höger från två sekunder høres
    ja ei että kun joka sekä sitten kuuluu kaksi kertaa vasemmalla
    się jest nie przez oraz że jak dwa trzy po od lewej prawej potem słychać
    je že jsou pak není který která ve vlevo vpravo dvakrát
    bir ile için bu çok sonra olarak sesi gibi iki kez
    și este cu pe sunt unui unei apoi stânga dreapta două ori
    yang dengan dari untuk adalah suara pada sebuah kali
    az egy és hogy nem majd kétszer
    dolor amet consectetur
"""
"""Frequent words of other languages in Latin script that are no English words, and three of the filler text."""
_ENGLISH, _FOREIGN = frozenset(_ENGLISH_WORDS.split()), frozenset(_FOREIGN_WORDS.split())


def section_problems(name: str, text: str, duration_s: float) -> list[str]:
    """Find what is wrong with the text of a section of a plan.

    Args:
        name: The dimension of the section.
        text: Its text, before or after line breaks are removed.
        duration_s: Duration of the clip in seconds.

    Returns:
        Problems, each a clause about the section that can be shown to a user or told to a language model; empty if the
        section is valid.

    Example:
        >>> section_problems("temporal", "The dog sounds at 12.0 s.", 9.0)
        ['it has a sound at 12.00 s, but the clip lasts 9.00 s']
        >>> section_problems("spatial", "**The dog** barks.", 9.0)
        ['it has bold or italic text; only plain sentences are allowed', 'it states no direction, distance or movement']
    """
    return _size_problems(text, duration_s) or [
        *_form_problems(name, text),
        *leaks(text),
        *_time_problems(name, text, duration_s),
        *_direction_problems(name, text),
    ]


def form_problems(name: str, text: str, duration_s: float) -> list[str]:
    """The problems of :func:`section_problems` except for :func:`leaks`.

    Example:
        >>> form_problems("temporal", "In this video, a dog barks at 12 s.", 9.0)
        ['it has a sound at 12.00 s, but the clip lasts 9.00 s']
    """
    return _size_problems(text, duration_s) or [
        *_form_problems(name, text),
        *_time_problems(name, text, duration_s),
        *_direction_problems(name, text),
    ]


def leaks(text: str) -> list[str]:
    r"""Find what only the answer of a chat about a file has: refusals, words to the reader, mentions of the video.

    Args:
        text: The text of a section, or a whole chain of thought.

    Returns:
        Problems, each a clause about the text; empty if there are none.

    Example:
        >>> leaks("As an AI, I hear a dog."), leaks("A dog barks on the left.")
        (["it refuses or does not answer ('As an AI'); a description of the sound is expected"], [])
    """
    own, found = _QUOTED_SPEECH.sub(" ", text), []
    if refusal := _REFUSAL.search(own):
        found.append(f"it refuses or does not answer ({_quoted(refusal)}); a description of the sound is expected")
    elif chat := _CHAT.search(own):
        found.append(f"it talks to the reader ({_quoted(chat)}); only the text of the section is allowed")
    if medium := _MEDIUM.search(own):
        found.append(f"it mentions the video or a file ({_quoted(medium)}); only what is heard is described")
    return found


def _size_problems(text: str, duration_s: float) -> list[str]:
    """Find texts that are empty or too long; the patterns of other problems are not searched in these."""
    if not any(character.isalnum() for character in text):
        return ["it is empty"]
    max_words = round(max(MAX_WORDS, MAX_WORDS_PER_S * duration_s))
    n_words = len(text.split())
    if n_words > max_words or len(text) > MAX_WORD_LENGTH * max_words:
        return [f"it has {n_words} words or {len(text)} characters; at most {max_words} short words are allowed"]
    return []


def _form_problems(name: str, text: str) -> Iterator[str]:
    """Find problems of the wording: markup, labels, other languages, and repetition."""
    for what, pattern in _MARKUP_PATTERNS.items():
        if pattern.search(text):
            yield f"it has {what}; only plain sentences are allowed"
            break
    label = _LABEL.match(text)
    if label is not None and label["label"].lower() in _LABELS | {name.lower()}:
        yield f"it begins with the label {label['label']!r}; only the text of the section is allowed"
    if _is_foreign(_QUOTED_SPEECH.sub(" ", text)):
        yield "it is not in English"
    repeated, n_times = Counter(map(lowered, sentences(text))).most_common(1)[0]
    if n_times > MAX_REPEATS and len(repeated.split()) > 1:
        yield f"it repeats the same sentence {n_times} times"


def _quoted(match: re.Match[str]) -> str:
    return repr(truncated(match[0].strip(), MAX_QUOTED))


def _is_foreign(text: str) -> bool:
    """Return whether a text, or one of its sentences, is not in English."""
    if not re.search("[A-Za-z]{2}", text):
        return True
    n_other = sum(char.isalpha() and not unicodedata.name(char, "").startswith(("LATIN", "MICRO")) for char in text)
    if n_other > 2:
        return True
    foreign, english, accented, n_long = _language_words(text)
    if (foreign and not english) or (foreign + accented > max(1, english)) or (n_long >= 20 and not english):
        return True
    for sentence in sentences(text):
        foreign, english, accented, _ = _language_words(sentence)
        if foreign + accented > max(2, english):
            return True
    return False


def _language_words(text: str) -> tuple[int, int, int, int]:
    """Count the different words of a text: frequent foreign, frequent English, accented, and all of three letters."""
    tokens = _WORD.findall(lowered(text))
    around = zip(tokens, ["", *tokens], [*tokens[1:], ""], strict=False)
    found = {word for word, before, after in around if word not in (before, after)}  # not "la la la"
    foreign = found & _FOREIGN
    accented = {word for word in found - foreign if not word.replace("’", "").isascii()}
    return len(foreign), len(found & _ENGLISH), len(accented), sum(len(word) >= 3 for word in found)


def _time_problems(name: str, text: str, duration_s: float) -> Iterator[str]:
    """Find times outside the clip and ends before their starts."""
    if name == "aesthetic":  # its times are those of reverberation and fades
        return
    if _NEGATIVE_TIME.search(text):
        yield "it has a negative time; times are seconds from the start of the clip"
    values = [found for sentence in sentences(text) for found in [*times(sentence), None]]
    stated = [value for value in values if value is not None]
    late = [v.number for v in stated if v.number > duration_s + TIME_TOLERANCE_S]
    if late:
        yield f"it has a sound at {late[0]:.2f} s, but the clip lasts {duration_s:.2f} s"
    for first, second in pairwise(values):
        if first and second and (first.role, second.role) == ("at", "end") and second.number <= first.number:
            yield f"it has a sound from {first.number:.2f} s to {second.number:.2f} s; the end must be after the start"
            return


def _direction_problems(name: str, text: str) -> Iterator[str]:
    """Find directions outside the frontal half-plane, and a spatial section without any."""
    if name != "spatial":
        return
    stated = azimuths(text, clamp=False)
    beyond = [value.number for value in stated if abs(value.number) > 90]
    if beyond:
        yield f"it has a direction of {beyond[0]:+g}°; -90° (left) to +90° (right) are allowed"
    if not stated and not _SPATIAL.search(text):
        yield "it states no direction, distance or movement"


_COUNTS = {phrase: count for count, phrases in words.COUNTS.items() for phrase in phrases}
_COUNT = re.compile(
    rf"\b(?:(?P<phrase>{'|'.join(sorted(_COUNTS, key=len, reverse=True))})|(?P<digits>\d+) times)\b"
    r"(?! (?:more|again|as|the|it|he|she|they|a|an|in|per|every|each|louder|faster|slower)\b)"
)
_NOT_A_COUNT = re.compile(r"\b(?:at|least|most|about|around|or|over|than|up to|every) $")
_MORE = re.compile(r"\b(?:and|or|then|before|while|followed)\b")
_NOTHING = re.compile(
    r"\W*(?:(?:complete|total|absolute|utter) )?(?:nothing (?:sounds|happens|is heard|can be heard)|silence|"
    r"no sounds?(?: (?:is|are|can be) heard)?)\W*",
    re.IGNORECASE,
)
_SILENT = re.compile(
    r"\b(?:is|are|stays?|remains?) (?:\w+ly )?silent\b|\bmakes? no (?:sound|noise)\b|\bdoes not sound\b|"
    r"\bis not heard\b",
    re.IGNORECASE,
)
_QUALIFIED = re.compile(
    r"\b(?:at|until|till|after|before|then|while|when|first|last|later|begin\w*|start\w*|end\w*|initial\w*|final\w*|"
    r"other\w*|otherwise|second|once|again|between|but|except|apart|besides|beyond)\b",
    re.IGNORECASE,
)
"""Words that limit a statement to a part of the clip or of the sources."""
_MOVING = re.compile(
    r"\b(?:mov\w+|pan\w*|travel\w*|pass\w*|cross\w*|drift\w*|swing\w*|roll\w*|sweep\w*|run\w*|walk\w*|driv\w+|fl(?:y|ies)\w*|"
    r"go(?:es|ing)?|com(?:es|ing)|from|toward\w*|to|into|across|alternat\w*|both|either|sides|spread\w*|wide\w*|stereo|"
    r"and|respectively|or|channels?|ears?|not|no|another|one|two|three|several)\b(?! the (?:left|right)\b(?! to\b))",
    re.IGNORECASE,
)
_NO_SPEECH = re.compile(
    r"\b(?:no|without(?: any)?) (?:human )?(?:speech|voices?|talking|spoken words)\b", re.IGNORECASE
)
_SPEECH = re.compile(
    r"\b(?:man|woman|person|boy|girl|child|narrator|speaker|people|men|women|voice|he|she)s? "
    r"(?:(?:is|are) )?(?:speaks?|talks?|says?|speaking|talking|saying)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:no|not|never|without|nobody|none)\b", re.IGNORECASE)
_NO_SOURCES_WORDS = """
    listener viewer camera stereo field image position environment stage frame view perspective channel speaker axis
    movement motion direction event action activity rhythm timing duration impact hit strike onset burst peak pulse
    attack contact collision change transition interval rest pair other others
"""
"""Nouns of spatial and temporal sections that are no sources."""
_NO_SOURCES = Nouns(_NO_SOURCES_WORDS.split())
_STEM_LENGTH = 4
"""Words that agree in this many letters at the start count as forms of one word."""


def contradictions(plan: Mapping[str, str]) -> list[str]:
    """Find where the sections of a plan contradict each other.

    A source that the temporal or spatial section names and the semantic section does not; a count that differs from the
    number of times; an end before a start; times of a source that is silent; a static source on both sides; speech in a
    plan without speech. What is not certain is not reported.

    Args:
        plan: The plan, or section texts by dimension name.

    Returns:
        Contradictions, each a clause that can be shown to a user or told to a language model.

    Example:
        >>> contradictions({"semantic": "A dog barks twice.", "temporal": "The dog sounds at 0.66 s."})
        ['the semantic section has the dog sound 2 times, the temporal section 1 time']
        >>> contradictions({"semantic": "A dog barks.", "spatial": "The dog is on the left. The cat is on the right."})
        ['the spatial section names the cat, the semantic section does not']
    """
    texts = {name: plan.get(name, "") for name in CORE}
    story = read(texts)
    return [
        *_unnamed_sources(texts),
        *_wrong_counts(texts, story),
        *_early_ends(story),
        *_silent_sources(texts, story),
        *_on_both_sides(texts, story),
        *_speech(texts),
    ]


def _unnamed_sources(texts: Mapping[str, str]) -> Iterator[str]:
    """Find sources of the temporal and spatial sections that no section before them names."""
    before = texts["semantic"]
    if not stems(before) or _NOTHING.fullmatch(before):
        return
    for name, named in (("temporal", _timed(texts["temporal"])), ("spatial", _placed(texts["spatial"]))):
        known = stems(before)
        for phrase in dict.fromkeys(named):
            if not any(one.startswith(other) or other.startswith(one) for one in stems(phrase) for other in known):
                yield f"the {name} section names the {phrase}, the semantic section does not"
        before += f" {texts[name]}"


def stems(text: str) -> frozenset[str]:
    """The first four letters of the words of a text, by which forms of one word are recognized.

    Example:
        >>> sorted(stems("A dog barks")), stems("barking") <= stems("A dog barks")
        (['bark', 'dog'], True)
    """
    return frozenset(word[:_STEM_LENGTH] for word in _WORD.findall(lowered(text)) if len(word) > 2)


def _timed(text: str) -> Iterator[str]:
    """Yield the noun phrases with a definite article in clauses with a time."""
    for sentence in sentences(text):
        for clause in clauses(sentence):
            if times(clause):
                yield from _definite(clause)


def _placed(text: str) -> Iterator[str]:
    """Yield the noun phrases with a definite article in sentences before their first direction."""
    for sentence in sentences(text):
        if values := azimuths(sentence):
            yield from _definite(sentence[: values[0].start])[:1]


def _definite(text: str) -> list[str]:
    """Return the noun phrases after *the*; *a loud thud* may be the sound of a source with another name."""
    return [
        phrase
        for phrase in noun_phrases(text, _NO_SOURCES)
        if re.search(rf"\bthe (?:[\w-]+ ){{0,2}}{re.escape(phrase)}\b", lowered(text))
    ]


def _wrong_counts(texts: Mapping[str, str], story: Story) -> Iterator[str]:
    """Find counts of the semantic section that differ from the number of times in the temporal section."""
    nouns = Nouns(source.what for source in story.sources)
    n_onsets = {source.what: len(source.onsets_s) for source in story.sources}
    stated: dict[str, set[int]] = {}
    for sentence in sentences(lowered(texts["semantic"])):
        parts = clauses(sentence)
        for clause, following in zip_longest(parts, parts[1:]):
            counts = [match for match in _COUNT.finditer(clause) if not _NOT_A_COUNT.search(clause[: match.start()])]
            named = nouns.named(clause)
            if len(named) != 1 or len(counts) != 1:
                continue
            match = counts[0]
            if _MORE.search(clause, match.end()) or (following is not None and not nouns.named(following)):
                continue  # "barks twice, then growls"
            count = int(match["digits"]) if match["digits"] else _COUNTS[match["phrase"]]
            stated.setdefault(named[0], set()).add(count)
    for what, counted in stated.items():
        found = n_onsets[what] if texts["temporal"] else 0
        if len(counted) == 1 and found and found not in counted:
            n_times, plural = min(counted), "" if found == 1 else "s"
            said = f"{n_times} time{'' if n_times == 1 else 's'}"
            yield f"the semantic section has the {what} sound {said}, the temporal section {found} time{plural}"


def _early_ends(story: Story) -> Iterator[str]:
    """Find sources that end before their last start, which :meth:`prismaudio.plan.Plan.check` rejects."""
    for source in story.sources:
        if source.end_s is not None and source.onsets_s and source.end_s <= source.onsets_s[-1]:
            yield f"the {source.what} ends at {source.end_s:.2f} s, but starts at {source.onsets_s[-1]:.2f} s"


def _silent_sources(texts: Mapping[str, str], story: Story) -> Iterator[str]:
    """Find times of sources that another sentence says are silent."""
    timed = [source.what for source in story.sources if source.onsets_s]
    for name in ("semantic", "temporal"):
        if timed and _NOTHING.fullmatch(texts[name]):
            yield f"the {name} section says that nothing sounds, but the plan has the times of a sound"
            return
    nouns = Nouns(timed)
    for name in ("semantic", "temporal"):
        for sentence in sentences(texts[name]):
            named = nouns.named(sentence)
            if len(named) == 1 and _SILENT.search(sentence) and not (_QUALIFIED.search(sentence) or times(sentence)):
                yield f"the {name} section says that the {named[0]} is silent, but it has times"


def _on_both_sides(texts: Mapping[str, str], story: Story) -> Iterator[str]:
    """Find sources that are on the left and on the right without a movement."""
    nouns = Nouns(source.what for source in story.sources)
    sides: dict[str, set[bool]] = {}
    for sentence in sentences("\n".join((texts["semantic"], texts["spatial"]))):
        named = nouns.named(sentence)
        found = [value.number for value in azimuths(sentence) if abs(value.number) >= 8]
        if len(named) == 1 and found and not _MOVING.search(sentence) and not _QUALIFIED.search(sentence):
            sides.setdefault(named[0], set()).update(degrees > 0 for degrees in found)
    for what, found_sides in sides.items():
        if len(found_sides) == 2:
            yield f"the {what} is on the left and on the right, but does not move"


def _speech(texts: Mapping[str, str]) -> Iterator[str]:
    """Find speech in a plan that excludes it."""
    excluded = any(
        _NO_SPEECH.search(sentence) and not _QUALIFIED.search(sentence)
        for text in texts.values()
        for sentence in sentences(text)
    )
    spoken = any(
        _SPEECH.search(sentence) and not _NEGATED.search(sentence)
        for name in ("semantic", "temporal")
        for sentence in sentences(texts[name])
    )
    if excluded and spoken:
        yield "one section excludes speech, another has it"
