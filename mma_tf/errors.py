"""The one exception type for mistakes that the user can mend."""


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
