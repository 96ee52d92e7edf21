"""Verifies OpenSSF model-signing signatures (v1.0) of versions whose files' hashes are known already.

Format: https://github.com/sigstore/model-transparency and `model_signing.signing.Payload`: a Sigstore bundle
(https://docs.sigstore.dev/about/bundle/) around a DSSE envelope
(https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md) around an in-toto statement, whose predicate lists
every file with its hash. The library itself verifies a directory on disk; here only the signature is read from the
store, and its statement is compared with the version's manifest.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from modelyard.api.gates import SignatureKey
from modelyard.artifacts.manifest import FileEntry, Manifest, difference
from modelyard.artifacts.store import ArtifactMissing, ArtifactStore
from modelyard.decide.signatures import SignatureState, SignatureVerdict

if TYPE_CHECKING:
    from sigstore.verify import Verifier

Json = dict[str, Any]

SIGNATURE_FILE = "model.sig"
"""The name that the library's command line gives a signature: it lies in the directory that it signs."""

_SIGNATURE_LIMIT = 16 << 20
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What the format leaves out of every signature."""

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256,
    "secp384r1": hashes.SHA384,
    "secp521r1": hashes.SHA512,
}


class _Refused(Exception):
    """The signature is not good; `state` says in which way."""

    def __init__(self, state: SignatureState, message: str) -> None:
        super().__init__(message)
        self.state = state


def _invalid(message: str) -> _Refused:
    return _Refused(SignatureState.INVALID, f"{SIGNATURE_FILE} {message}")


def verify(store: ArtifactStore, directory: str, manifest: Manifest, signer: SignatureKey) -> SignatureVerdict:
    """Say whether `signer` signed exactly the files of `manifest`, those of the directory at that `s3://` URI.

    Raises `ArtifactStoreUnreachable`.
    """
    try:
        statement = _signed(_read(store, directory, manifest), signer)
        _compare(_resources(statement), manifest)
    except _Refused as refusal:
        return SignatureVerdict(refusal.state, str(refusal))
    return SignatureVerdict(SignatureState.VALID, f"signed by {_name(signer)}")


def _read(store: ArtifactStore, directory: str, manifest: Manifest) -> bytes:
    """Return the signature's bytes, which are those that were registered."""
    entry = next((file for file in manifest.files if file.path == SIGNATURE_FILE), None)
    if entry is None:
        raise _Refused(SignatureState.MISSING, f"the version is not signed: it has no {SIGNATURE_FILE}")
    if entry.size > _SIGNATURE_LIMIT:
        raise _invalid(f"has {entry.size} bytes; at most {_SIGNATURE_LIMIT} are read")
    try:
        with store.open(f"{directory}/{SIGNATURE_FILE}") as body:
            data: bytes = body.read(_SIGNATURE_LIMIT + 1)
    except ArtifactMissing as error:
        raise _Refused(SignatureState.MISSING, str(error)) from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise _invalid("is not the one that was registered")
    return data


def _signed(data: bytes, signer: SignatureKey) -> Json:
    """Return the statement that `signer` has signed."""
    if signer.public_key:
        payload_type, payload = _payload_by_key(_parsed(data), signer.public_key)
    else:
        payload_type, payload = _payload_by_identity(data, signer.identity or "", signer.issuer or "")
    if payload_type != _PAYLOAD_TYPE:
        raise _invalid(f"signs {payload_type!r}, not {_PAYLOAD_TYPE}")
    statement = _parsed(payload)
    kind = (statement.get("_type"), statement.get("predicateType"))
    if kind != (_STATEMENT_TYPE, _PREDICATE_TYPE):
        raise _invalid(f"holds {kind[1]!r} of {kind[0]!r}, not {_PREDICATE_TYPE} of {_STATEMENT_TYPE}")
    return statement


def _parsed(data: bytes) -> Json:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise _invalid("is no JSON object")
    return value


def _payload_by_key(bundle: Json, pem: str) -> tuple[str, bytes]:
    key = _public_key(pem)
    try:
        envelope = bundle["dsseEnvelope"]
        kind = str(envelope["payloadType"])
        payload = base64.b64decode(envelope["payload"], validate=True)
        (given,) = envelope["signatures"]
        signature = base64.b64decode(given["sig"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise _invalid("is no Sigstore bundle with one signed DSSE envelope") from error
    # DSSE's pre-authentication encoding: what is signed is the type and the payload, each with its length.
    encoded = b" ".join([b"DSSEv1", _counted(kind.encode()), _counted(payload)])
    try:
        key.verify(signature, encoded, ec.ECDSA(_HASHES[key.curve.name]()))
    except InvalidSignature as error:
        raise _Refused(
            SignatureState.WRONG_SIGNER, f"{SIGNATURE_FILE} is not signed with the public key of the gate"
        ) from error
    return kind, payload


def _counted(data: bytes) -> bytes:
    return b"%d %b" % (len(data), data)


def _public_key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _Refused(SignatureState.WRONG_SIGNER, f"the gate's publicKey cannot be read: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise _Refused(
            SignatureState.WRONG_SIGNER, "the gate's publicKey is no elliptic-curve key on P-256, P-384 or P-521"
        )
    return key


def _payload_by_identity(data: bytes, identity: str, issuer: str) -> tuple[str, bytes]:
    """Verify the certificate, its entry in the transparency log and the envelope, without asking anybody."""
    # Imported where it is needed: it costs a second and 40 MiB.
    from sigstore.errors import Error  # noqa: PLC0415
    from sigstore.models import Bundle, InvalidBundle  # noqa: PLC0415
    from sigstore.verify.policy import Identity  # noqa: PLC0415

    try:
        bundle = Bundle.from_json(data)
    except (InvalidBundle, ValueError, TypeError, KeyError) as error:
        raise _invalid(f"is no Sigstore bundle with a certificate: {_first_line(error)}") from error
    try:
        return _sigstore().verify_dsse(bundle, Identity(identity=identity, issuer=issuer))
    except Error as error:
        raise _Refused(
            SignatureState.WRONG_SIGNER,
            f"{SIGNATURE_FILE} is not signed by {identity} of {issuer}: {_first_line(error)}",
        ) from error
    except OSError as error:
        raise _Refused(SignatureState.UNKNOWN, f"Sigstore's trust root cannot be used: {error}") from error


@functools.cache
def _sigstore() -> Verifier:
    """Return a verifier on the trust root of Sigstore's public instance that the installed release brings."""
    from sigstore.verify import Verifier  # noqa: PLC0415

    return Verifier.production(offline=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _resources(statement: Json) -> tuple[Json, dict[str, Json]]:
    """Return how the files were hashed, and the signed resources by name. Checks that they are in one piece."""
    try:
        predicate = statement["predicate"]
        serialization = dict(predicate["serialization"])
        resources = {str(item["name"]): item for item in predicate["resources"]}
        (subject,) = statement["subject"]
        root = hashlib.sha256(b"".join(bytes.fromhex(item["digest"]) for item in predicate["resources"]))
        whole = len(resources) == len(predicate["resources"]) and root.hexdigest() == subject["digest"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise _invalid("holds no statement about a model's files") from error
    if not whole:
        raise _invalid("contradicts itself: its list of files is not the one that its digest is of")
    return serialization, resources


def _compare(signed: tuple[Json, dict[str, Json]], manifest: Manifest) -> None:
    serialization, resources = signed
    if serialization.get("hash_type") != "sha256":
        raise _invalid(f"hashes files with {serialization.get('hash_type')!r}: sign with sha256")
    method = serialization.get("method")
    if method not in ("files", "shards"):
        raise _invalid(f"hashes files by {method!r}: sign with the method files")
    ignored = {SIGNATURE_FILE, *_GIT_PATHS, *_ignored_paths(serialization)}
    present = [file for file in manifest.files if not _is_below(file.path, ignored)]
    if method == "shards":
        # An empty file has no shard, so the format does not see it.
        present = [file for file in present if file.size]
        listed = list(_from_shards(resources))
    else:
        listed = [FileEntry(name, str(item["digest"]), 0) for name, item in resources.items()]
    differs = difference(listed, present)
    if differs.missing or differs.changed or differs.added:
        raise _Refused(SignatureState.FILES_DIFFER, f"since it was signed {differs}")


def _ignored_paths(serialization: Json) -> Iterator[str]:
    given = serialization.get("ignore_paths") or []
    for path in given if isinstance(given, list) else [given]:
        parts = PurePosixPath(str(path))
        if parts.is_absolute() or not parts.parts or ".." in parts.parts:
            raise _invalid(f"leaves out {str(path)!r}, which is not below the model's directory")
        yield parts.as_posix()


def _is_below(path: str, roots: set[str]) -> bool:
    return path in roots or any(parent.as_posix() in roots for parent in PurePosixPath(path).parents)


def _from_shards(resources: dict[str, Json]) -> Iterator[FileEntry]:
    """Read `<path>:<start>:<end>`; only a shard that is a whole file can be compared with a file's hash."""
    starts: dict[str, list[str]] = {}
    for name, item in resources.items():
        path, _, rest = name.rpartition(":")
        path, _, start = path.rpartition(":")
        starts.setdefault(path, []).append(start)
        if start == "0" and rest.isdecimal():
            yield FileEntry(path, str(item["digest"]), int(rest))
    several = sorted(path for path, found in starts.items() if found != ["0"])
    if several:
        raise _invalid(f"hashes {several[0]} in several shards: sign with the method files, or with larger shards")


def _name(signer: SignatureKey) -> str:
    if signer.identity:
        return f"{signer.identity} of {signer.issuer}"
    key = _public_key(signer.public_key or "")
    return f"the holder of the {key.curve.name} key"
