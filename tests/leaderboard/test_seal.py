"""Keys that are nobody's: points of small order, for which a signature holds whatever was signed."""

import hashlib
from pathlib import Path

import pytest

pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ed25519

from unlearnbench.bench.errors import UserError
from unlearnbench.leaderboard.audit.seal import _SIGNED, is_weak, meta, public_hex, read_key, seal, verify

# The eight points of small order and their further encodings, as Cremers and Jackson (2019) and libsodium's
# ge25519_has_small_order list them.
SMALL_ORDER = (
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    # other encodings of them
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)
IDENTITY = SMALL_ORDER[0]


def _forge(public: str, signature: str) -> bytes:
    body = f"<html><head>{meta(public)}</head><body>all is forgotten"
    digest = hashlib.sha256(body.encode()).hexdigest()
    return body.encode() + _SIGNED.format(digest=digest, public=public, signature=signature).encode()


def test_a_signature_that_nobody_made_does_not_hold() -> None:
    """R = the identity, s = 0 holds for the key 1 and any message: R = sB - hA."""
    verdict = verify(_forge(IDENTITY, IDENTITY + "00" * 32))
    assert (verdict.state, verdict.reason) == ("changed", "its public key is of small order")


@pytest.mark.parametrize("public", SMALL_ORDER)
def test_no_point_of_small_order_signs(public: str) -> None:
    assert is_weak(bytes.fromhex(public))
    for point in SMALL_ORDER:  # for some of them the equation holds by chance
        assert verify(_forge(public, point + "00" * 32)).state == "changed"


def test_a_second_form_of_a_point_is_no_key() -> None:
    for y in range(2**255 - 19, 2**255):
        assert is_weak(y.to_bytes(32, "little"))


def test_keys_that_are_made_are_not_weak() -> None:
    for _ in range(50):
        key = ed25519.Ed25519PrivateKey.generate()
        assert not is_weak(bytes.fromhex(public_hex(key)))
    public = public_hex(key)
    assert verify(seal(f"<html>{meta(public)}", key)).state == "signed"


def test_a_file_with_such_a_key_is_one_line(tmp_path: Path) -> None:
    key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(IDENTITY))
    path = tmp_path / "a.pub"
    path.write_bytes(key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UserError, match=r"a\.pub: a key of small order"):
        read_key(path, private=False)
