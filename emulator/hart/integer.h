/* Integer functions that the descriptions call: RISC-V's corner cases of division, wide products, bits and permutations. */
#ifndef RVTUI_INTEGER_H
#define RVTUI_INTEGER_H

#include "internal.h"

static inline u64 mul_high(u64 a, u64 b) { return (u64)((unsigned __int128)a * b >> 64); }
static inline u64 mul_high_signed(u64 a, u64 b) { return (u64)((__int128)(i64)a * (i64)b >> 64); }
static inline u64 mul_high_signed_unsigned(u64 a, u64 b) { return mul_high(a, b) - ((i64)a < 0 ? b : 0); }

/* M extension, "Division Operations": x/0 is all ones, x%0 is x, the one overflow wraps. */
static inline u64 divide_unsigned(u64 a, u64 b) { return b ? a / b : ~0ull; }
static inline u64 remainder_unsigned(u64 a, u64 b) { return b ? a % b : a; }
static inline u64 divide_signed(u64 a, u64 b) {
    if (!b) return ~0ull;
    return b == ~0ull ? 0 - a : (u64)((i64)a / (i64)b);
}
static inline u64 remainder_signed(u64 a, u64 b) {
    if (!b) return a;
    return b == ~0ull ? 0 : (u64)((i64)a % (i64)b);
}

static inline u64 leading_zeros(u64 a) { return a ? (u64)__builtin_clzll(a) : 64; }
static inline u64 trailing_zeros(u64 a) { return a ? (u64)__builtin_ctzll(a) : 64; }
static inline u64 ones(u64 a) { return (u64)__builtin_popcountll(a); }
static inline u64 reverse_bytes(u64 a) { return __builtin_bswap64(a); }
static inline u64 negate(u64 a) { return 0 - a; }
static inline u64 rotate_right(u64 a, u64 by) { return a >> (by & 63) | a << (-by & 63); }
static inline u64 rotate_right_word(u64 a, u64 by) { return (u32)a >> (by & 31) | (u32)a << (-by & 31); }

/* Each byte becomes ff when any of its bits is set. */
static inline u64 or_combine_bytes(u64 a) {
    const u64 low = 0x0101010101010101ull;
    a |= a >> 4 & 0x0f0f0f0f0f0f0f0full;
    a |= a >> 2 & 0x0303030303030303ull;
    a |= a >> 1;
    return (a & low) * 0xff;
}

/* Zbkb: the bits of each byte in reverse order. */
static inline u64 reverse_bits_of_bytes(u64 a) {
    a = (a >> 4 & 0x0f0f0f0f0f0f0f0full) | (a & 0x0f0f0f0f0f0f0f0full) << 4;
    a = (a >> 2 & 0x3333333333333333ull) | (a & 0x3333333333333333ull) << 2;
    return (a >> 1 & 0x5555555555555555ull) | (a & 0x5555555555555555ull) << 1;
}

/* Zbc: the product over polynomials, its bits 63:0 and its bits 126:63. */
static inline u64 carryless_product(u64 a, u64 b) {
    u64 product = 0;
    for (; b; b &= b - 1) product ^= a << __builtin_ctzll(b);
    return product;
}
static inline u64 carryless_product_middle(u64 a, u64 b) {
    u64 product = 0;
    for (; b; b &= b - 1) product ^= a >> (63 - __builtin_ctzll(b));
    return product;
}

/* Zbkx: element i of the result is the element of `a` that element i of `b` names, or zero. */
static inline u64 permute_bytes(u64 a, u64 b) {
    u64 result = 0;
    for (u32 i = 0; i < 64; i += 8) {
        const u64 index = b >> i & 0xff;
        result |= (index < 8 ? a >> 8 * index & 0xff : 0) << i;
    }
    return result;
}
static inline u64 permute_nibbles(u64 a, u64 b) {
    u64 result = 0;
    for (u32 i = 0; i < 64; i += 4) result |= (a >> 4 * (b >> i & 15) & 15) << i;
    return result;
}

/* F extension, "NaN Boxing of Narrower Values". */
static inline u64 unbox16(u64 a) { return a >> 16 == 0xffffffffffffull ? (u16)a : 0x7e00u; }
static inline u64 box16(u64 a) { return a | 0xffffffffffff0000ull; }
static inline u64 unbox32(u64 a) { return a >> 32 == 0xffffffffu ? (u32)a : 0x7fc00000u; }
static inline u64 box32(u64 a) { return a | 0xffffffff00000000ull; }

#endif
