"""Downloads: from the store or the node's cache to the local disk, verified before anything may use them."""

from __future__ import annotations

from modelyard_serving.fetch.model import Fetched, fetch, fetch_file, safe_path
from modelyard_serving.fetch.store import Store, connect

__all__ = ["Fetched", "Store", "connect", "fetch", "fetch_file", "safe_path"]
