"""Zkne, Zknd and Zknh: AES and SHA-2 ("Cryptography Extensions"), in the forms of RV64."""

from __future__ import annotations

from .description import instruction
from .expression import Operand, Value, call, sext, zext

EXTENSION = "Zknh"


@instruction("aes64es rd, rs1, rs2", "0011001 rs2 rs1 000 rd 0110011", extension="Zkne")
def aes64es(x, rd, rs1, rs2):
    x[rd] = call("aes_encrypt_last", x[rs1], x[rs2])


@instruction("aes64esm rd, rs1, rs2", "0011011 rs2 rs1 000 rd 0110011", extension="Zkne")
def aes64esm(x, rd, rs1, rs2):
    x[rd] = call("aes_mix_columns", call("aes_encrypt_last", x[rs1], x[rs2]))


@instruction("aes64ds rd, rs1, rs2", "0011101 rs2 rs1 000 rd 0110011", extension="Zknd")
def aes64ds(x, rd, rs1, rs2):
    x[rd] = call("aes_decrypt_last", x[rs1], x[rs2])


@instruction("aes64dsm rd, rs1, rs2", "0011111 rs2 rs1 000 rd 0110011", extension="Zknd")
def aes64dsm(x, rd, rs1, rs2):
    x[rd] = call("aes_unmix_columns", call("aes_decrypt_last", x[rs1], x[rs2]))


@instruction("aes64im rd, rs1", "001100000000 rs1 001 rd 0010011", extension="Zknd")
def aes64im(x, rd, rs1):
    x[rd] = call("aes_unmix_columns", x[rs1])


@instruction(
    "aes64ks1i rd, rs1, rnum",
    "00110001 rnum rs1 001 rd 0010011",
    never={"rnum": (11, 12, 13, 14, 15)},
    extension="Zkne",
    needs="Zkne|Zknd",
)
def aes64ks1i(x, rd, rs1, rnum):
    """Also of Zknd, as aes64ks2 is."""
    x[rd] = call("aes_key_step", x[rs1], rnum)


@instruction("aes64ks2 rd, rs1, rs2", "0111111 rs2 rs1 000 rd 0110011", extension="Zkne", needs="Zkne|Zknd")
def aes64ks2(x, rd, rs1, rs2):
    low = (x[rs1] >> 32) ^ zext(x[rs2], 32)
    x[rd] = low | ((low ^ (x[rs2] >> 32)) << 32)


def right(value: Operand, by: int) -> Value:
    return call("rotate_right", value, by)


def right_word(value: Operand, by: int) -> Value:
    return call("rotate_right_word", value, by)


def describe_sha(name: str, number: str, amounts: tuple[int, int, int]) -> None:
    """The sums rotate three times; the last of a sigma's is a shift."""
    a, b, c = amounts
    sigma, word = "sig" in name, "256" in name
    rotate = right_word if word else right

    @instruction(f"{name} rd, rs1", f"0001000 {number} rs1 001 rd 0010011")
    def sha(x, rd, rs1):
        value = zext(x[rs1], 32) if word else x[rs1]
        result = rotate(value, a) ^ rotate(value, b) ^ (value >> c if sigma else rotate(value, c))
        x[rd] = sext(result, 32) if word else result


describe_sha("sha256sum0", "00000", (2, 13, 22))
describe_sha("sha256sum1", "00001", (6, 11, 25))
describe_sha("sha256sig0", "00010", (7, 18, 3))
describe_sha("sha256sig1", "00011", (17, 19, 10))
describe_sha("sha512sum0", "00100", (28, 34, 39))
describe_sha("sha512sum1", "00101", (14, 18, 41))
describe_sha("sha512sig0", "00110", (1, 8, 7))
describe_sha("sha512sig1", "00111", (19, 61, 6))
