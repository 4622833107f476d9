"""Cleaning steps do what their names say, compose in one order, and lose nothing else."""

import doctest

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import textclf.text
from textclf.errors import ConfigError
from textclf.text import DEFAULT_CLEANING, STEPS, make_cleaner, parse_cleaning, tokenize

TEXTS = st.text(max_size=60)

CLEANED = [
    ("unicode", "It\u2019s \u201cfine\u201d\u2026", 'It\'s "fine"...'),
    ("unicode", "schÃ¶n", "schön"),
    ("unicode", "zero\u200bwidth, soft\u00adhyphen, no\u00a0break", "zerowidth, softhyphen, no break"),
    ("unicode", "bell\x07 and\ttab\nline", "bell and\ttab\nline"),
    ("html", "a &lt;b&gt; c", "a   c"),
    ("html", "AT&amp;T &#39;s 2 < 3 > 1", "AT&T 's 2 < 3 > 1"),
    ("html", "it #39;s quot;big quot; news; issue #39", 'it \'s "big " news; issue #39'),
    ("html", "one<br/>two<!-- three -->four", "one two four"),
    ("urls", "see https://x.org/a?b=1 and www.y.com!", "see  url  and  url "),
    ("urls", "awww. https: no", "awww. https: no"),
    ("mentions", "@united hi me@home.org", " user  hi me@home.org"),
    ("contractions", "I can't, won't and shouldn't", "I can not, will not and should not"),
    ("contractions", "They're we've he'll I'm she'd", "They are we have he will I am she would"),
    ("contractions", "Bob's dog; let\u2019s go", "Bob 's dog; let us go"),
    ("contractions", "do n't , it 's", "do  not , it  's"),
    ("contractions", "the '90s o'clock rock'n'roll", "the '90s oclock rock'n'roll"),
    ("repeats", "soooo cooool!!!! what???", "soo cool! what?"),
    ("numbers", "in 1999, 3.14 or -1,000 and 2nd", "in  number ,  number  or  number  and  number "),
    ("numbers", "mp3 and B2B", "mp3 and B2B"),
    ("punctuation", "Hello,world(yes)!", "Hello , world ( yes ) !"),
    ("punctuation", "don't it's we've dogs'", "do n't it 's we 've dogs '"),
    ("punctuation", "1,000.50 10:30 end.", "1,000.50 10:30 end ."),
    ("punctuation", "wait... no--yes?!", "wait ... no -- yes ? !"),
    ("punctuation", "don\u2019t", "do n't"),
    ("lower", "ÄB", "äb"),
    ("none", " As  It is ", " As  It is "),
]


@pytest.mark.parametrize(("recipe", "text", "cleaned"), CLEANED)
def test_each_step_changes_what_its_name_says(recipe: str, text: str, cleaned: str) -> None:
    """Written by hand from the names."""
    assert make_cleaner(recipe)(text) == cleaned


def test_the_examples_in_the_module_are_true() -> None:
    """Docstrings are executed."""
    found = doctest.testmod(textclf.text)

    assert found.attempted == 6
    assert found.failed == 0


@settings(deadline=None, derandomize=True)
@given(text=TEXTS)
def test_spacing_punctuation_only_adds_and_merges_spaces(text: str) -> None:
    """No character is lost, but apostrophes before a letter are straightened."""
    straight = textclf.text._APOSTROPHE.sub("'", text)

    assert "".join(make_cleaner("punctuation")(text).split()) == "".join(straight.split())


@settings(deadline=None, derandomize=True)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf"]), max_size=60))
def test_unicode_repair_is_that_of_ftfy(text: str) -> None:
    """The short cut for plain texts gives what the library gives."""
    invisible = textclf.text._INVISIBLE

    assert make_cleaner("unicode")(text) == invisible.sub(
        "", ftfy.fix_text(text, unescape_html=False, normalization="NFKC")
    )


@settings(deadline=None, derandomize=True)
@given(text=TEXTS, names=st.lists(st.sampled_from(sorted(STEPS)), unique=True, min_size=1))
def test_a_recipe_means_the_same_in_any_order(text: str, names: list[str]) -> None:
    """Steps run in their own order."""
    assert make_cleaner("+".join(names))(text) == make_cleaner("+".join(reversed(names)))(text)


def test_steps_run_one_after_another() -> None:
    """A link is replaced before its punctuation is spaced."""
    assert tokenize("We can't see http://a.b/c?!", "punctuation+urls+contractions") == [
        "We",
        "can",
        "not",
        "see",
        "url",
    ]


def test_the_default_recipe_gives_tokens_of_lower_case_glove() -> None:
    """Words, clitics and punctuation, all in lower case."""
    assert tokenize("It\u2019s GREAT &amp; I don't care!", DEFAULT_CLEANING) == [
        *["it", "'s", "great", "&", "i", "do", "not", "care", "!"],
    ]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("lowr", "'lowr' is not a step .* did you mean lower"),
        ("lower+lower", "step 'lower' is named twice"),
        ("", "'' is not a step"),
        ("none+lower", "'none' is not a step"),
        ("lower+", "'' is not a step"),
    ],
)
def test_a_wrong_recipe_is_refused(recipe: str, message: str) -> None:
    """The steps that there are stand in the message."""
    with pytest.raises(ConfigError, match=message):
        parse_cleaning(recipe)


def test_spaces_around_names_are_allowed() -> None:
    """A recipe may be typed loosely."""
    assert parse_cleaning(" lower + html ") == ("html", "lower") == parse_cleaning("html+lower")
    assert parse_cleaning(" none ") == ()
