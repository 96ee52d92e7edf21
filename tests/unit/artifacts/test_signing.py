"""Directories that the real library has signed, and what becomes of the verdict when something is changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from model_signing import hashing, signing

from modelyard.api.gates import SignatureKey
from modelyard.artifacts.signing import SIGNATURE_FILE, verify
from modelyard.decide.signatures import SignatureState, SignatureVerdict
from tests.fakes.artifacts import SETTINGS, Bucket

BY_IDENTITY = Path(__file__).parent / "signed-by-identity"
IDENTITY = SignatureKey(identity="stefanb@us.ibm.com", issuer="https://sigstore.verify.ibm.com/oauth2")
DIRECTORY = f"{SETTINGS.artifacts_destination}/signed"
FILES = {"MLmodel": b"flavors: {}\n", "data/model.pkl": b"weights", "data/empty": b""}

Key = tuple[Path, SignatureKey]


def _key(directory: Path, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Key:
    path = directory / f"{id(private)}.pem"
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return path, SignatureKey(public_key=public.decode())


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return _key(tmp_path, ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def sign(model: Path, key: Key, **hashed: Any) -> Path:
    config = signing.Config().use_elliptic_key_signer(private_key=key[0])  # type: ignore[no-untyped-call]
    if hashed:
        shards = "shard_size" in hashed
        how = hashing.Config()  # type: ignore[no-untyped-call]
        how = how.use_shard_serialization(**hashed) if shards else how.use_file_serialization(**hashed)
        config = config.set_hashing_config(how)
    config.sign(model, model / SIGNATURE_FILE)
    return model


def verdict(bucket: Bucket, model: Path, signer: SignatureKey) -> SignatureVerdict:
    """Upload the directory, hash it there and verify."""
    for path in model.rglob("*"):
        if path.is_file():
            bucket.put(f"{DIRECTORY}/{path.relative_to(model).as_posix()}", path.read_bytes())
    store = bucket.store()
    return verify(store, DIRECTORY, store.manifest(DIRECTORY), signer)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_signed_directory_is_valid(bucket: Bucket, model: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = _key(tmp_path, ec.generate_private_key(curve))
    found = verdict(bucket, sign(model, key), key[1])
    assert found == SignatureVerdict(SignatureState.VALID, f"signed by the holder of the {curve.name} key")


def test_only_the_signature_is_read(bucket: Bucket, model: Path, key: Key) -> None:
    verdict(bucket, sign(model, key), key[1])
    store = bucket.store()
    manifest = store.manifest(DIRECTORY)
    bucket.requests.clear()
    assert verify(store, DIRECTORY, manifest, key[1]).state is SignatureState.VALID
    assert bucket.requests == ["GetObject"]


def test_shards_of_whole_files_are_compared(bucket: Bucket, model: Path, key: Key) -> None:
    assert verdict(bucket, sign(model, key, shard_size=1000), key[1]).state is SignatureState.VALID


def test_a_model_that_nobody_signed(bucket: Bucket, model: Path, key: Key) -> None:
    found = verdict(bucket, model, key[1])
    assert found == SignatureVerdict(SignatureState.MISSING, "the version is not signed: it has no model.sig")


def test_another_key(bucket: Bucket, model: Path, key: Key, tmp_path: Path) -> None:
    other = _key(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    found = verdict(bucket, sign(model, key), other[1])
    assert found == SignatureVerdict(
        SignatureState.WRONG_SIGNER, "model.sig is not signed with the public key of the gate"
    )


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda m: (m / "MLmodel").write_bytes(b"flavors: {a: 1}\n"), "since it was signed MLmodel was changed"),
        (lambda m: (m / "data/model.pkl").unlink(), "since it was signed data/model.pkl is missing"),
        (lambda m: (m / "data/more.py").write_bytes(b"x"), "since it was signed data/more.py was added"),
        (lambda m: (m / "model.sig.py").write_bytes(b"x"), "since it was signed model.sig.py was added"),
        (
            lambda m: (m / "MLmodel").rename(m / "MLmodel.old"),
            "since it was signed MLmodel is missing; MLmodel.old was added",
        ),
    ],
    ids=["changed", "removed", "added", "like the signature", "renamed"],
)
def test_files_that_differ_are_named(
    bucket: Bucket, model: Path, key: Key, tamper: Callable[[Path], object], message: str
) -> None:
    tamper(sign(model, key))
    assert verdict(bucket, model, key[1]) == SignatureVerdict(SignatureState.FILES_DIFFER, message)


def test_what_the_signer_left_out_may_change(bucket: Bucket, model: Path, key: Key) -> None:
    (model / "notes").mkdir()
    how = hashing.Config().set_ignored_paths(paths=[model / "notes"])  # type: ignore[no-untyped-call]
    config = signing.Config().use_elliptic_key_signer(private_key=key[0]).set_hashing_config(how)  # type: ignore[no-untyped-call]
    config.sign(model, model / SIGNATURE_FILE)
    (model / "notes/read-me").write_bytes(b"later")
    (model / ".gitattributes").write_bytes(b"later")
    assert verdict(bucket, model, key[1]).state is SignatureState.VALID


def _statement(model: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the signed statement, and leave the signature as it was."""
    path = model / SIGNATURE_FILE
    bundle = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    change(statement)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    path.write_text(json.dumps(bundle))


def test_a_forged_statement(bucket: Bucket, model: Path, key: Key) -> None:
    _statement(sign(model, key), lambda statement: statement["predicate"]["resources"].pop())
    assert verdict(bucket, model, key[1]).state is SignatureState.WRONG_SIGNER


@pytest.mark.parametrize(
    ("hashed", "message"),
    [
        ({"hashing_algorithm": "blake2"}, "model.sig hashes files with 'blake2b': sign with sha256"),
        ({"shard_size": 4}, "model.sig hashes MLmodel in several shards: sign with the method files, or with larger"),
    ],
    ids=["hash", "shards"],
)
def test_a_way_of_signing_that_cannot_be_compared(
    bucket: Bucket, model: Path, key: Key, hashed: dict[str, Any], message: str
) -> None:
    found = verdict(bucket, sign(model, key, **hashed), key[1])
    assert found.state is SignatureState.INVALID
    assert found.message.startswith(message)


def _signed_by_hand(model: Path, key: Key, payload: bytes, kind: str = "application/vnd.in-toto+json") -> None:
    private = serialization.load_pem_private_key(key[0].read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    encoded = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    signature = base64.b64encode(private.sign(encoded, ec.ECDSA(hashes.SHA256()))).decode()
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": [{"sig": signature}]}
    (model / SIGNATURE_FILE).write_text(json.dumps({"dsseEnvelope": envelope}))


def _payload(**predicate: Any) -> bytes:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model", "digest": {"sha256": empty}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": {"method": "files", "hash_type": "sha256"}, "resources": [], **predicate},
    }
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"{}", "holds None of None, not https://model_signing/signature/v1.0 of"),
        (b"[]", "is no JSON object"),
        (b"{", "is no JSON: "),
        (_payload(resources=[{"name": "a"}]), "holds no statement about a model's"),
        (
            _payload(resources=[{"name": "a", "digest": "00", "algorithm": "sha256"}]),
            "contradicts itself: its list of files",
        ),
        (
            _payload(serialization={"method": "files", "hash_type": "sha256", "ignore_paths": ["."]}),
            "leaves out '.', which is not below the model's directory",
        ),
        (
            _payload(serialization={"method": "blocks", "hash_type": "sha256"}),
            "hashes files by 'blocks'",
        ),
    ],
    ids=["statement", "list", "json", "resources", "digest", "everything ignored", "method"],
)
def test_a_statement_that_makes_no_sense(bucket: Bucket, model: Path, key: Key, payload: bytes, message: str) -> None:
    _signed_by_hand(model, key, payload)
    found = verdict(bucket, model, key[1])
    assert found.state is SignatureState.INVALID
    assert found.message.startswith(f"model.sig {message}")


def test_something_else_that_the_key_signed(bucket: Bucket, model: Path, key: Key) -> None:
    _signed_by_hand(model, key, b"{}", "text/plain")
    found = verdict(bucket, model, key[1])
    assert found.message == "model.sig signs 'text/plain', not application/vnd.in-toto+json"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"[]", b'{"dsseEnvelope": 1}', b'{"dsseEnvelope": {"payloadType": "x"}}', b"[" * 9000]
)
@pytest.mark.parametrize("by", ["key", "identity"])
def test_a_signature_that_is_none(bucket: Bucket, model: Path, key: Key, content: bytes, by: str) -> None:
    (model / SIGNATURE_FILE).write_bytes(content)
    assert verdict(bucket, model, key[1] if by == "key" else IDENTITY).state is SignatureState.INVALID


def test_a_signature_that_was_exchanged_after_registration(bucket: Bucket, model: Path, key: Key) -> None:
    store = bucket.store()
    verdict(bucket, sign(model, key), key[1])
    manifest = store.manifest(DIRECTORY)
    bucket.put(f"{DIRECTORY}/{SIGNATURE_FILE}", b"{}")
    assert verify(store, DIRECTORY, manifest, key[1]).message == "model.sig is not the one that was registered"
    bucket.delete(f"{DIRECTORY}/{SIGNATURE_FILE}")
    assert verify(store, DIRECTORY, manifest, key[1]).state is SignatureState.MISSING


@pytest.mark.parametrize(
    "pem", ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN PUBLIC KEY-----"]
)
def test_a_gate_whose_key_cannot_be_read(bucket: Bucket, model: Path, key: Key, pem: str) -> None:
    found = verdict(bucket, sign(model, key), SignatureKey(public_key=pem))
    assert found.state is SignatureState.WRONG_SIGNER
    assert found.message.startswith("the gate's publicKey cannot be read")


def test_a_gate_with_a_key_of_another_kind(bucket: Bucket, model: Path, key: Key, tmp_path: Path) -> None:
    other = _key(tmp_path, rsa.generate_private_key(65537, 2048))
    found = verdict(bucket, sign(model, key), other[1])
    assert found.message == "the gate's publicKey is no elliptic-curve key on P-256, P-384 or P-521"


def _copied(tmp_path: Path) -> Path:
    root = tmp_path / "signed-by-identity"
    root.mkdir()
    for path in BY_IDENTITY.iterdir():
        if path.name != "README":
            (root / path.name).write_bytes(path.read_bytes())
    return root


def test_a_model_that_an_identity_signed(bucket: Bucket, tmp_path: Path) -> None:
    assert verdict(bucket, _copied(tmp_path), IDENTITY) == SignatureVerdict(
        SignatureState.VALID, "signed by stefanb@us.ibm.com of https://sigstore.verify.ibm.com/oauth2"
    )


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [
        ("somebody@example.com", "https://sigstore.verify.ibm.com/oauth2"),
        ("stefanb@us.ibm.com", "https://accounts.google.com"),
    ],
)
def test_another_identity(bucket: Bucket, tmp_path: Path, identity: str, issuer: str) -> None:
    found = verdict(bucket, _copied(tmp_path), SignatureKey(identity=identity, issuer=issuer))
    assert found.state is SignatureState.WRONG_SIGNER
    assert found.message.startswith(f"model.sig is not signed by {identity} of {issuer}: ")


def test_a_file_that_differs_from_what_an_identity_signed(bucket: Bucket, tmp_path: Path) -> None:
    root = _copied(tmp_path)
    (root / "signme-1").write_bytes(b"other")
    found = verdict(bucket, root, IDENTITY)
    assert found == SignatureVerdict(SignatureState.FILES_DIFFER, "since it was signed signme-1 was changed")


def test_a_key_s_signature_is_no_identity_s(bucket: Bucket, model: Path, key: Key) -> None:
    assert verdict(bucket, sign(model, key), IDENTITY).state is SignatureState.INVALID
