"""Text as Prometheus can tell it."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text as a label's value: what could break a line, or is no character at all, becomes a question mark."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
