"""The one "did you mean": names that somebody typed, against the names there are."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word, names: Iterable) -> str:
    """``"did you mean 'gamma'?"``, or which names there are where none is close. Case is forgiven."""
    names = [str(name) for name in names]
    folded = {name.lower(): name for name in names}
    close = get_close_matches(str(word).lower(), folded, n=1, cutoff=0.5)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    more = ", …" if len(names) > 20 else ""
    return f"choose from {', '.join(names[:20])}{more}" if names else "there are none"


def unknown(word, names: Iterable, what: str) -> ValueError:
    """The error to raise for a name that is none of ``names``."""
    return ValueError(f"unknown {what} {word!r}: {nearest(word, names)}")


def check(word, names: Iterable, what: str) -> None:
    """Raise :func:`unknown` unless ``word`` is one of ``names``."""
    names = list(names)
    if word not in names:
        raise unknown(word, names, what)
