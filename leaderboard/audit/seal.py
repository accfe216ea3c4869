"""The seal at the end of an audit report: a digest, or an ed25519 signature, over every byte before it."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...bench.errors import UserError
from ...bench.files import create_file

PURPOSE = b"unlearnbench audit report 1\n"
"""Prefix of the signed bytes. A signature made for another purpose is therefore never valid for a report."""
OPENING = b'<section class="seal"'
UNSIGNED = "none"
PRIME = 2**255 - 19
_EIGHT = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = (0, 1, PRIME - 1, _EIGHT, PRIME - _EIGHT)
"""The y coordinates of the eight points of ed25519 whose order divides 8."""
NEED = "needs the package cryptography; install it with: pip install 'unlearnbench[audit]'"
_SIGNED = """<section class="seal" id="seal">
<h2>Seal</h2>
<p>Signed with ed25519. The signature covers every byte of this file above this section; what it is worth
hangs on whose key this is.</p>
<dl>
<dt>sha256</dt><dd>{digest}</dd>
<dt>public key</dt><dd>{public}</dd>
<dt>signature</dt><dd>{signature}</dd>
</dl>
</section>
</body>
</html>
"""
_PLAIN = """<section class="seal" id="seal">
<h2>Seal</h2>
<p><strong>This report is not signed.</strong> The digest shows a change made by accident. Whoever changes the
report on purpose can write a new digest: it does not show who made it.</p>
<dl>
<dt>sha256</dt><dd>{digest}</dd>
</dl>
</section>
</body>
</html>
"""
_FIELDS = re.compile(
    rb"<dt>sha256</dt><dd>([0-9a-f]{64})</dd>\n"
    rb"(?:<dt>public key</dt><dd>([0-9a-f]{64})</dd>\n<dt>signature</dt><dd>([0-9a-f]{128})</dd>\n)?"
)
State = Literal["changed", "unsigned", "signed"]


@dataclass(frozen=True)
class Verdict:
    """Result of checking a seal. reason: why the report counts as changed. public: raw public key in hex."""

    state: State
    reason: str = ""
    public: str = ""


def seal(body: str, key: Any | None) -> bytes:
    """Return a report with its seal. body: HTML up to the seal, which names `public_hex(key)` or UNSIGNED.

    key: an Ed25519PrivateKey, None for a digest without a signature. Equal bodies and keys give equal bytes.
    """
    content = body.encode()
    digest = hashlib.sha256(content).hexdigest()
    if key is None:
        return content + _PLAIN.format(digest=digest).encode()
    signature = key.sign(PURPOSE + content).hex()
    return content + _SIGNED.format(digest=digest, public=public_hex(key), signature=signature).encode()


def meta(public: str) -> str:
    """Return the line of the page's head that names its seal, so that a removed signature is noticed."""
    return f'<meta name="unlearnbench-seal" content="{public}">'


def verify(content: bytes) -> Verdict:
    """Check a report's seal. Every byte counts, including those of the seal."""
    place = content.rfind(OPENING)
    found = _FIELDS.search(content, place) if place >= 0 else None
    if found is None:
        return Verdict("changed", "its seal is damaged or missing")
    body, tail = content[:place], content[place:]
    digest, public, signature = ((part or b"").decode() for part in found.groups())
    text = _SIGNED if public else _PLAIN
    if tail != text.format(digest=digest, public=public, signature=signature).encode():
        return Verdict("changed", "its seal is damaged, or something follows it")
    if hashlib.sha256(body).hexdigest() != digest:
        return Verdict("changed", "its bytes are not those that were sealed")
    if meta(public or UNSIGNED).encode() not in body:
        return Verdict("changed", "its head names another seal: the signature was taken off or replaced")
    if not public:
        return Verdict("unsigned")
    if not _holds(public, signature, body):
        weak = is_weak(bytes.fromhex(public))
        why = "its public key is of small order" if weak else "its signature does not hold"
        return Verdict("changed", why, public)
    return Verdict("signed", public=public)


def _holds(public: str, signature: str, body: bytes) -> bool:
    ed25519 = _ed25519()
    from cryptography.exceptions import InvalidSignature

    if is_weak(bytes.fromhex(public)):
        return False
    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), PURPOSE + body)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_weak(public: bytes) -> bool:
    """Return whether a raw public key is nobody's: a point of small order, or a second form of another point.

    A signature that holds for every message can be written for a point of small order (Chalkias et al. 2020,
    "Taming the many EdDSAs"). The sign bit does not matter.
    """
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return y >= PRIME or y in SMALL_ORDER


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise UserError(f"a signature {NEED}") from None
    return ed25519


def public_hex(key: Any) -> str:
    """Return the 32 raw bytes of a key's public half in hex; key: private or public."""
    public = key.public_key() if hasattr(key, "public_key") else key
    return str(public.public_bytes_raw().hex())


def write_key(path: Path) -> Path:
    """Write a new private key (PEM, readable only by its owner) and its public key; return the public file.

    Raises UserError where either file is there: a key that is overwritten is lost.
    """
    key = _ed25519().Ed25519PrivateKey.generate()
    from cryptography.hazmat.primitives import serialization as form

    public = path.with_suffix(".pub")
    if public == path:
        raise UserError(f"--new-key {path}: .pub is the public half's name; name the key KEY.pem")
    if path.exists() or public.exists():
        there = path if path.exists() else public
        raise UserError(f"--new-key {there}: is there already, and a key is never overwritten; name another")
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    create_file(path, private, 0o600)
    create_file(
        public,
        key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo),
        0o644,
    )
    return public


def read_key(path: Path, private: bool) -> Any:
    """Return the ed25519 key in a PEM file; raises UserError naming it where there is no such key."""
    ed25519 = _ed25519()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as form

    kind = "private" if private else "public"
    try:
        content = path.read_bytes()
        key = form.load_pem_private_key(content, None) if private else form.load_pem_public_key(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except TypeError:
        raise UserError(f"{path}: is locked by a pass phrase; give a key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(f"{path}: no {kind} key in PEM; make a pair with: audit --new-key KEY.pem") from None
    wanted = ed25519.Ed25519PrivateKey if private else ed25519.Ed25519PublicKey
    if isinstance(key, wanted) and not private and is_weak(key.public_bytes_raw()):
        raise UserError(f"{path}: a key of small order: anybody can sign for it; ask the signer for another")
    if not isinstance(key, wanted):
        raise UserError(f"{path}: not an ed25519 key; make one with: unlearnbench audit --new-key KEY.pem")
    return key
