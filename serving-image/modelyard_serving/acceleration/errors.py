"""Why a model is served as it is."""

from __future__ import annotations


class NotConvertible(Exception):
    """There is no ONNX model that answers as this one; the message says why."""
