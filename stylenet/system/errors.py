"""UserError, the one kind of error that a user can fix. Programs print it as a single line and exit with code 2."""


class UserError(Exception):
    """A mistake a user can mend. The message tells the value seen, what is allowed and what to do next."""


def one_line(error: Exception) -> str:
    """What an exception says, without its line breaks."""
    return " ".join(str(error).split())


def shown(name: object) -> str:
    """A file's name as part of a message: in one line, and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(name))
