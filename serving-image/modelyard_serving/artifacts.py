"""The names under which the start and others ask for downloads; see `fetch`."""

from __future__ import annotations

from modelyard_serving.fetch import Fetched, Store, fetch, fetch_file, safe_path
from modelyard_serving.fetch import connect as s3_client

__all__ = ["Fetched", "Store", "fetch", "fetch_file", "s3_client", "safe_path"]
