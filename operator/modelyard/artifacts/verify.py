"""Checks that a version's files are those that were registered; checking again costs one LIST."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from modelyard.artifacts.manifest import Manifest
from modelyard.artifacts.store import ArtifactStore, Listed

_KEPT = 512


class Verifier:
    """Hashes a directory once, and again only when its listing (key, size, entity tag, time) has changed.

    Safe to use from several threads. What it knows is lost with the process, which then hashes once more.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[tuple[Listed, ...], Manifest]] = OrderedDict()
        self._lock = threading.Lock()

    def manifest(self, uri: str, trusted: Callable[[], Manifest | None] = lambda: None) -> Manifest:
        """Return the manifest of the files that are at `uri` now. An empty directory has an empty one.

        `trusted`, asked only before hashing, may give a manifest from an earlier life: where the store's entity tags
        and sizes are still those in it, nothing is read.
        Raises `ArtifactMissing` where a file vanishes meanwhile, `ArtifactStoreUnreachable`.
        """
        listing = self._store.listing(uri)
        if not listing:
            return Manifest(())
        with self._lock:
            known = self._known.get(uri)
            if known and known[0] == listing:
                self._known.move_to_end(uri)
                return known[1]
        earlier = trusted()
        if earlier and _tags(listing) == {(file.path, file.size, file.etag) for file in earlier.files}:
            manifest = earlier
        else:
            manifest = self._store.manifest_of(uri, listing)
        with self._lock:
            self._known[uri] = (listing, manifest)
            self._known.move_to_end(uri)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return manifest


def _tags(listing: tuple[Listed, ...]) -> set[tuple[str, int, str]]:
    return {(listed.key, listed.size, listed.etag) for listed in listing}
