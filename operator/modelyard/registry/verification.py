"""Whether a version's files are still those that were registered."""

from __future__ import annotations

from modelyard.api.reasons import Reason
from modelyard.artifacts.manifest import Manifest, difference
from modelyard.artifacts.store import ArtifactMissing, ArtifactStore, ArtifactStoreUnreachable
from modelyard.artifacts.verify import Verifier
from modelyard.decide.registeredmodel import Fault
from modelyard.records.state import VersionState
from modelyard.registry.ledger import Ledger


class Verification:
    """Checks versions against the artifact store. Safe to use from several threads."""

    def __init__(self, store: ArtifactStore) -> None:
        self._verifier = Verifier(store)

    def check(self, ledger: Ledger, version: VersionState, *, in_stage: bool) -> Fault | None:
        """Return what is wrong with the version's files, or None.

        A version that is already in a stage was hashed before it got there: it is hashed again only where the store's
        entity tags differ from the recorded ones.
        """
        if version.purge:
            return Fault(Reason.ARTIFACT_DELETED, "spec.retention had its files deleted")
        if not version.artifact:
            return None
        try:
            present = self._verifier.manifest(version.artifact, lambda: self._recorded(ledger, version, in_stage))
            if present.digest == version.digest:
                return None
            return self._fault(ledger, version, present)
        except ArtifactMissing as error:
            return Fault(Reason.ARTIFACT_MISSING, str(error))
        except ArtifactStoreUnreachable as error:
            return Fault(Reason.ARTIFACT_STORE_UNREACHABLE, str(error), passing=True)

    def _recorded(self, ledger: Ledger, version: VersionState, in_stage: bool) -> Manifest | None:
        return ledger.files(version) if in_stage else None

    def _fault(self, ledger: Ledger, version: VersionState, present: Manifest) -> Fault:
        if not present.files:
            return Fault(Reason.ARTIFACT_MISSING, f"there is no file below {version.artifact}")
        registered = ledger.files(version)
        if registered is None:
            return Fault(
                Reason.DIGEST_MISMATCH,
                f"{version.artifact} has digest {present.digest}, registered was {version.digest}",
            )
        differs = difference(registered.files, present.files)
        only_missing = bool(differs.missing) and not (differs.changed or differs.added)
        return Fault(
            Reason.ARTIFACT_MISSING if only_missing else Reason.DIGEST_MISMATCH,
            f"below {version.artifact} {differs}",
        )
