"""The exceptions that users see, and the words in them."""

import re


class UserError(ValueError):
    """A mistake in a flag, an argument, a file or the data that the user can mend.

    The message is one sentence that names the flag or argument, the value, what is
    allowed and what to do. The command line tools print it without a traceback and
    exit with code 2.
    """


class RunError(RuntimeError):
    """A run that cannot go on, through no mistake in its flags.

    The message is one sentence that says what happened, what is intact and what to do.
    The command line tools print it without a traceback and exit with code 1.
    """


def reason_of(error: BaseException) -> str:
    """Returns the gist of another library's error, for use within a sentence."""
    lines = str(error).strip().splitlines() or [repr(error)]
    # TensorFlow puts the operation before it, and its name behind.
    return re.sub(r"\s*\[Op:\w+\].*$", "", lines[0]).rpartition("; ")[2]
