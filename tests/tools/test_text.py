import pytest

from tools.text import duration, printable, shown_bytes, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.txt", "plain name.txt"),
        ("日本\u3000語 é", "日本\u3000語 é"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("line\u2028end", r"line\u2028end"),
        ("\udcff", r"\udcff"),
    ],
)
def test_nothing_in_a_name_can_steer_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown.encode().decode() == shown


def test_bytes_that_are_no_utf8_are_shown() -> None:
    assert shown_bytes(b"caf\xe9\n") == "caf\ufffd\\n"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (3 * 2**40, "3.0 TiB"),
        (2**63, "8192.0 PiB"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0 s"),
        (12, "12 s"),
        (65, "1 min 05 s"),
        (3_900, "1 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
