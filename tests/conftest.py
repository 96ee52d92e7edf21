"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# `make test` tries the same examples every time: what it says of a commit does not depend on luck. Plain pytest looks
# for new ones, and says which are slow.
settings.register_profile("same-every-time", derandomize=True, deadline=None)
