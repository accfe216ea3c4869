"""Seeds derived from names, and generators of random numbers seeded by them."""

import hashlib

import torch


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed from any printable parts, the same on every machine."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seeded(*parts: object) -> torch.Generator:
    """Return a CPU generator seeded from any printable parts."""
    return torch.Generator().manual_seed(derive_seed(*parts))
