"""Asks an operator before something is done that cannot be taken back by a second command."""

import sys

from tools.errors import OperatorError


def confirm(question: str, *, yes: bool) -> None:
    """Go on only when the operator wants it.

    Args:
        question: what will be done, one or more lines.
        yes: whether `--yes` was given: then nobody is asked.

    Raises:
        OperatorError: the answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise OperatorError(f"{question} Nobody can be asked here; say --yes to do it")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise OperatorError("nothing was done")
