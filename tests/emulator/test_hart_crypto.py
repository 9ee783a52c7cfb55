"""Scalar cryptography: whole ciphers and hashes made of the instructions give what their standards publish."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import isqrt

import pytest
from assembler import encode
from rig import BASE, ILLEGAL, ONES, M, Rig

from emulator.isa import decode

rig = Rig()


def op(name: str, a: int, b: int = 0, **fields: int) -> int:
    """The result of one instruction."""
    rig.store(BASE, encode(name, rd=10, rs1=11, rs2=12, **fields), 4)
    rig.hart.pc = BASE
    rig.put(a1=a, a2=b)
    rig.run(1)
    assert rig.hart.pc == BASE + 4, name
    return rig.x("a0")


def words(data: bytes, size: int = 8, order: str = "little") -> list[int]:
    return [int.from_bytes(data[i : i + size], order) for i in range(0, len(data), size)]  # type: ignore[arg-type]


# --- AES ---


def round_keys(key: bytes) -> list[tuple[int, int]]:
    """ "Key Expansion" of FIPS 197 for 128 and 256 bits, as pairs of 64-bit halves."""
    halves = words(key)
    count = len(halves)
    for step in range({2: 10, 4: 7}[count]):
        previous = halves[-count:]
        made = [op("aes64ks2", op("aes64ks1i", previous[-1], rnum=step), previous[0])]
        made.append(op("aes64ks2", made[0], previous[1]))
        if count == 4:
            made.append(op("aes64ks2", op("aes64ks1i", made[1], rnum=10), previous[2]))
            made.append(op("aes64ks2", made[2], previous[3]))
        halves += made
    rounds = {2: 11, 4: 15}[count]
    return [(halves[2 * i], halves[2 * i + 1]) for i in range(rounds)]


PLAIN = bytes.fromhex("00112233445566778899aabbccddeeff")
AES = [  # FIPS 197, appendix C
    (bytes(range(16)), "69c4e0d86a7b0430d8cdb78070b4c55a"),
    (bytes(range(32)), "8ea2b7ca516745bfeafc49904b496089"),
]


@pytest.mark.parametrize(("key", "cipher"), AES, ids=["128", "256"])
def test_aes(key: bytes, cipher: str) -> None:
    keys = round_keys(key)
    low, high = (a ^ b for a, b in zip(words(PLAIN), keys[0], strict=True))
    for round_key in keys[1:]:
        name = "aes64es" if round_key is keys[-1] else "aes64esm"
        low, high = op(name, low, high) ^ round_key[0], op(name, high, low) ^ round_key[1]
    found = low.to_bytes(8, "little") + high.to_bytes(8, "little")
    assert found.hex() == cipher
    # "Equivalent Inverse Cipher": the keys of the middle rounds are unmixed.
    low, high = low ^ keys[-1][0], high ^ keys[-1][1]
    for round_key in keys[-2::-1]:
        last = round_key is keys[0]
        name = "aes64ds" if last else "aes64dsm"
        one, two = round_key if last else (op("aes64im", half) for half in round_key)
        low, high = op(name, low, high) ^ one, op(name, high, low) ^ two
    assert low.to_bytes(8, "little") + high.to_bytes(8, "little") == PLAIN


@pytest.mark.parametrize("rnum", range(11, 16))
def test_no_more_rounds_than_eleven(rnum: int) -> None:
    r = Rig()
    code = encode("aes64ks1i", rd=10, rs1=11, rnum=rnum)
    assert decode(code) is None
    r.store(BASE, code, 4)
    r.run(1)
    assert r.trap() == (M, ILLEGAL, code)


# --- SHA-2 ---


def root_bits(prime: int, degree: int, bits: int) -> int:
    """The first bits of the fraction of a root."""
    wanted = prime << degree * bits
    if degree == 2:
        return isqrt(wanted) & (1 << bits) - 1
    low, high = 0, 1 << bits + 4
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= wanted else (low, middle)
    return low & (1 << bits) - 1


PRIMES = [n for n in range(2, 410) if all(n % d for d in range(2, n))]


@pytest.mark.parametrize(("bits", "rounds"), [(256, 64), (512, 80)])
def test_sha_2(bits: int, rounds: int) -> None:
    """FIPS 180-4 for one block, sums and sigmas by instruction. Upper bits of a register must not matter to SHA-256."""
    width = bits // 8
    mask, noise = (1 << width) - 1, 0x9E37_79B9 << 32 if width == 32 else 0

    def function(kind: str) -> Callable[[int], int]:
        def apply(value: int) -> int:
            result = op(f"sha{bits}{kind}", value | noise)
            assert width == 64 or result >> 31 in (0, ONES >> 31)
            return result & mask

        return apply

    sum0, sum1, sig0, sig1 = (function(kind) for kind in ("sum0", "sum1", "sig0", "sig1"))
    message = b"abc"
    padded = message + b"\x80"
    padded += bytes(bits // 4 - len(padded) - 8) + (8 * len(message)).to_bytes(8, "big")
    w = words(padded, width // 8, "big")
    assert len(w) == 16
    for t in range(16, rounds):
        w.append(sig1(w[t - 2]) + w[t - 7] + sig0(w[t - 15]) + w[t - 16] & mask)
    first = [root_bits(p, 2, width) for p in PRIMES[:8]]
    a, b, c, d, e, f, g, h = first
    for t in range(rounds):
        t1 = h + sum1(e) + (e & f ^ ~e & g) + root_bits(PRIMES[t], 3, width) + w[t]
        t2 = sum0(a) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = t1 + t2 & mask, a, b, c, d + t1 & mask, e, f, g
    state = [x + y & mask for x, y in zip(first, (a, b, c, d, e, f, g, h), strict=True)]
    assert b"".join(x.to_bytes(width // 8, "big") for x in state) == hashlib.new(f"sha{bits}", message).digest()


# --- SM4 and SM3 ---


def four_bytes(name: str, value: int, through: int) -> int:
    for byte in range(4):
        value = op(name, value, through, bs=byte)
        assert value >> 31 in (0, ONES >> 31)
    return value & 0xFFFF_FFFF


def test_sm4() -> None:
    """GB/T 32907, example 1: the key is the plain text. Words are loaded little-endian, as the instructions want."""
    block = bytes.fromhex("0123456789abcdeffedcba9876543210")
    family = words(bytes.fromhex("a3b1bac656aa3350677d9197b27022dc"), 4)
    k = [x ^ y for x, y in zip(words(block, 4), family, strict=True)]
    for i in range(32):
        constant = int.from_bytes(bytes((4 * i + j) * 7 % 256 for j in range(4)), "little")
        k.append(four_bytes("sm4ks", k[i], k[i + 1] ^ k[i + 2] ^ k[i + 3] ^ constant))

    def crypt(data: bytes, keys: list[int]) -> bytes:
        x = words(data, 4)
        for i, key in enumerate(keys):
            x.append(four_bytes("sm4ed", x[i], x[i + 1] ^ x[i + 2] ^ x[i + 3] ^ key))
        return b"".join(word.to_bytes(4, "little") for word in x[:-5:-1])

    cipher = crypt(block, k[4:])
    assert cipher.hex() == "681edf34d206965e86b3e94f536e4246"
    assert crypt(cipher, k[:3:-1]) == block


def test_sm3() -> None:
    """GB/T 32905, example 1: "abc"."""
    mask = 0xFFFF_FFFF

    def rol(x: int, n: int) -> int:
        n %= 32
        return (x << n | x >> 32 - n) & mask

    w = words(b"abc\x80" + bytes(59) + b"\x18", 4, "big")
    for j in range(16, 68):
        mixed = op("sm3p1", w[j - 16] ^ w[j - 9] ^ rol(w[j - 3], 15) | 0xABCD << 40)
        assert mixed >> 31 in (0, ONES >> 31)
        w.append(mixed & mask ^ rol(w[j - 13], 7) ^ w[j - 6])
    first = words(bytes.fromhex("7380166f4914b2b9172442d7da8a0600a96f30bc163138aae38dee4db0fb0e4e"), 4, "big")
    a, b, c, d, e, f, g, h = first
    for j in range(64):
        constant = 0x79CC_4519 if j < 16 else 0x7A87_9D8A
        ss1 = rol(rol(a, 12) + e + rol(constant, j) & mask, 7)
        ff = a ^ b ^ c if j < 16 else a & b | a & c | b & c
        gg = e ^ f ^ g if j < 16 else e & f | ~e & g
        tt1 = ff + d + (ss1 ^ rol(a, 12)) + (w[j] ^ w[j + 4]) & mask
        tt2 = gg + h + ss1 + w[j] & mask
        a, b, c, d, e, f, g, h = tt1, a, rol(b, 9), c, op("sm3p0", tt2) & mask, e, rol(f, 19), g
    state = [x ^ y for x, y in zip(first, (a, b, c, d, e, f, g, h), strict=True)]
    wanted = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert "".join(f"{x:08x}" for x in state) == wanted
