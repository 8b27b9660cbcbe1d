"""How long Hypothesis searches: `--hypothesis-profile=dev`, `ci` or `nightly`; dev by itself."""

from hypothesis import settings

_EXAMPLES = {"dev": 50, "ci": 200, "nightly": 10_000}


def register() -> None:
    """Make the profiles known. None has a deadline: no test depends on the speed of a machine."""
    for name, examples in _EXAMPLES.items():
        settings.register_profile(name, max_examples=examples, deadline=None, print_blob=True)
    if settings.get_current_profile_name() == "default":
        settings.load_profile("dev")
