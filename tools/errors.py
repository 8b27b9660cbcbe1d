"""What an operator did wrong, or must see to, in one line."""


class OperatorError(Exception):
    """One line that says what, where, and what to do next; the command ends with status 1."""
