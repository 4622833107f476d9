"""The exception tree.

TextclfError
├── ConfigError   an option, a parameter or a configuration file is wrong
├── DataError     a table, an embedding file or a submission is wrong
└── RunError      the input was right, but the run cannot go on (database away, lease held, record torn)

A command line catches the root, prints ``error: ...`` to stderr and exits with code 2. Anything else is a bug and
keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class TextclfError(Exception):
    """Root of every error that is the user's to mend; its text is one line."""


class ConfigError(TextclfError):
    """An option, a parameter or a configuration file is wrong."""


class DataError(TextclfError):
    """A table, an embedding file or a submission is wrong."""


class RunError(TextclfError):
    """The input was right, but the run cannot go on."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to a mistyped one, as a clause to append; empty when none is near.

    A name with outer spaces is quoted: nothing else would show them.

    >>> did_you_mean("roc_acu", ["roc_auc", "f1"]), did_you_mean("text", [" text", "label"])
    ('; did you mean roc_auc?', "; did you mean ' text'?")
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    if not near:
        return ""
    return f"; did you mean {near[0] if near[0] == near[0].strip() else repr(near[0])}?"
