"""UserError: an error that the user can fix. Programs print it as a single line and exit with code 2."""


class UserError(Exception):
    """A mistake that the user can fix. The message states the value, what is allowed and what to do next."""


def one_line(error: Exception) -> str:
    """The message of an exception, without line breaks."""
    return " ".join(str(error).split())


def shown(name: object) -> str:
    """A file's name for a message: line breaks and terminal control characters are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(name))
