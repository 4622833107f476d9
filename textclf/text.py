"""Named cleaning steps and the tokenizer.

A recipe is a ``+``-joined list of steps, as in ``"unicode+contractions+punctuation+lower"``, or ``"none"``. Steps run
in the order of ``STEPS`` however the recipe is written, so a recipe has one meaning. Tokens are what white space
separates after the steps: ``"none"`` suits texts that are tokenised already, all others want ``punctuation``.
"""

import html
import re
from collections.abc import Callable

from textclf.errors import ConfigError, did_you_mean

DEFAULT_CLEANING = "unicode+html+contractions+punctuation+lower"
NO_CLEANING = "none"

CONTRACTIONS = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "ain't": "is not",
    "let's": "let us",
    "y'all": "you all",
    "'tis": "it is",
    "'twas": "it was",
    "o'clock": "oclock",
    "ma'am": "madam",
}
CLITICS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am", "'d": "would", "'s": "'s"}

_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e]")
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_CONTRACTION = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, CONTRACTIONS))})(?!\w)", re.IGNORECASE)
_CLITIC = re.compile(rf"(?:(?<=\w)|(?<!\S))({'|'.join(map(re.escape, CLITICS))})(?!\w)", re.IGNORECASE)
_APOSTROPHE = re.compile("[\u2019\u02bc\u0060\u00b4](?=\\w)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>|<!--.{0,2000}?-->", re.DOTALL)
_TORN_ENTITY = re.compile(r"(?<![&\w])(#\d{2,4};|(?:quot|amp|lt|gt|apos|nbsp);)")
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"]+", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@\w+")
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:[.,:]\d+)*(?:st|nd|rd|th|s|k|m|%)?(?!\w)", re.IGNORECASE)
_REPEAT = re.compile(r"(\w)\1{2,}|([!?])\2+")
_PIECE = re.compile(
    r"\d+(?:[.,:]\d+)+"  # 1,000.50 and 10:30 stay whole, as in the GloVe vocabulary
    r"|\.{2,}|-{2,}"  # an ellipsis, a dash
    r"|\w+(?=n't(?!\w))|n't(?!\w)"  # do n't
    r"|\w+"
    r"|'(?:s|re|ve|ll|m|d)(?!\w)"  # it 's
    r"|[^\w\s]",
    re.IGNORECASE,
)


def repair_unicode(text: str) -> str:
    """Mend wrongly decoded text, straighten quotes, drop invisible and control characters.

    >>> repair_unicode("schÃ¶n \u201cgut\u201d")
    'schön "gut"'
    """
    if text.isascii() and not _CONTROL.search(text):
        return text
    import ftfy

    return _INVISIBLE.sub("", ftfy.fix_text(text, unescape_html=False, normalization="NFKC"))


def strip_html(text: str) -> str:
    """Turn entities into characters, also those that lost their ampersand, and drop tags.

    >>> strip_html("fish &amp; <b>chips</b>, it #39;s good")
    "fish &  chips , it 's good"
    """
    if "&" in text or ";" in text:
        text = html.unescape(_TORN_ENTITY.sub(r"&\1", text))
    return _TAG.sub(" ", text) if "<" in text else text


def replace_urls(text: str) -> str:
    """Put the word ``url`` for every web address."""
    return _URL.sub(" url ", text)


def replace_mentions(text: str) -> str:
    """Put the word ``user`` for every @name."""
    return _MENTION.sub(" user ", text) if "@" in text else text


def expand_contractions(text: str) -> str:
    """Write short forms out; the ambiguous ``'s`` only gets a space before it.

    >>> expand_contractions("I can't; it's what they've done")
    "I can not; it 's what they have done"
    """
    straight = _APOSTROPHE.sub("'", text)
    if "'" not in straight and "annot" not in straight.lower():
        return text
    expanded = _CONTRACTION.sub(lambda match: CONTRACTIONS[match[0].lower()], straight)
    return _CLITIC.sub(lambda match: f" {CLITICS[match[0].lower()]}", expanded)


def replace_numbers(text: str) -> str:
    """Put the word ``number`` for every number."""
    return _NUMBER.sub(" number ", text)


def shorten_repeats(text: str) -> str:
    """Cut letters repeated three times or more to two, and rows of ! or ? to one.

    >>> shorten_repeats("sooooo good!!!")
    'soo good!'
    """
    return _REPEAT.sub(lambda match: (match[1] or "") * 2 or match[2], text)


def space_punctuation(text: str) -> str:
    """Part words from punctuation, as the Penn Treebank does with n't and 's.

    >>> space_punctuation("Don't pay $1,000.50 (it's well-known)!")
    "Do n't pay $ 1,000.50 ( it 's well - known ) !"
    """
    return " ".join(_PIECE.findall(_APOSTROPHE.sub("'", text)))


def lower_case(text: str) -> str:
    """Lower-case; ``encode`` does it to tokens, after it has noted which were all capitals."""
    return text.lower()


STEPS: dict[str, Callable[[str], str]] = {
    "unicode": repair_unicode,
    "html": strip_html,
    "urls": replace_urls,
    "mentions": replace_mentions,
    "contractions": expand_contractions,
    "repeats": shorten_repeats,
    "numbers": replace_numbers,
    "punctuation": space_punctuation,
    "lower": lower_case,
}


def parse_cleaning(recipe: str) -> tuple[str, ...]:
    """Names of a recipe's steps in the order they run; raises ConfigError for an unknown or repeated step."""
    if recipe.strip() == NO_CLEANING:
        return ()
    named = [name.strip() for name in recipe.split("+")]
    for name in named:
        if name not in STEPS:
            hint = did_you_mean(name, STEPS)
            raise ConfigError(
                f"cleaning: {name!r} is not a step (none, or some of {', '.join(STEPS)} joined by +){hint}"
            )
        if named.count(name) > 1:
            raise ConfigError(f"cleaning: step {name!r} is named twice in {recipe!r}")
    return tuple(name for name in STEPS if name in named)


def make_cleaner(recipe: str) -> Callable[[str], str]:
    """One function that runs a recipe's steps on a text."""
    steps = [STEPS[name] for name in parse_cleaning(recipe)]

    def clean(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return clean


def tokenize(text: str, recipe: str = DEFAULT_CLEANING) -> list[str]:
    """Tokens of one text under a recipe.

    >>> tokenize("It's GREAT!")
    ['it', "'s", 'great', '!']
    """
    return make_cleaner(recipe)(text).split()
