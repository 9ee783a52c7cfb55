/* Every operation is written once for all formats as an inlined function over a constant `width`; the exported
 * functions at the end are its instances. */
#include "softfloat.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

/* FP_HOST 1: let the host's floating point compute where its result is provably the same. Define as 0 to leave it out.
 * FP_HOST_FMA: also fused, where the host has the instruction; its C library may do no better than this file. */
#ifndef FP_HOST
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0 && FLT_RADIX == 2 && FLT_MANT_DIG == 24 && DBL_MANT_DIG == 53 \
    && DBL_MAX_EXP == 1024 && !defined(__FAST_MATH__)
#define FP_HOST 1
#else
#define FP_HOST 0
#endif
#endif
#if FP_HOST && defined(__x86_64__)
#include <immintrin.h>
#define FP_HOST_FMA 1
#elif FP_HOST && defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF) && defined(__OPTIMIZE__)
#define FP_HOST_FMA 1
#else
#define FP_HOST_FMA 0
#endif

#define GENERIC static inline __attribute__((always_inline))
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

__extension__ typedef unsigned __int128 wide;

/* Formats */

GENERIC unsigned fraction_bits(unsigned width)
{
    return width == 16 ? 10 : width == 32 ? 23 : 52;
}

GENERIC int exponent_max(unsigned width)
{
    return (1 << (width - 1 - fraction_bits(width))) - 1;
}

GENERIC int bias(unsigned width)
{
    return exponent_max(width) >> 1;
}

GENERIC uint64_t signed_bits(bool sign, uint64_t magnitude, unsigned width)
{
    return (uint64_t)sign << (width - 1) | magnitude;
}

GENERIC uint64_t sign_bit(unsigned width)
{
    return signed_bits(true, 0, width);
}

GENERIC uint64_t infinity(unsigned width)
{
    return (uint64_t)exponent_max(width) << fraction_bits(width);
}

GENERIC uint64_t canonical_nan(unsigned width)
{
    return infinity(width) | UINT64_C(1) << (fraction_bits(width) - 1);
}

GENERIC bool is_nan(uint64_t bits, unsigned width)
{
    return (bits & ~sign_bit(width)) > infinity(width);
}

GENERIC bool is_signaling(uint64_t bits, unsigned width)
{
    return is_nan(bits, width) && !(bits >> (fraction_bits(width) - 1) & 1);
}

/* Numbers apart: a finite one is significand * 2^(exponent - 62), the leading one of the significand at bit 62. */

enum kind { FINITE = 0, ZERO = 1, INFINITE = 2, NOT_A_NUMBER = 4 };

typedef struct number {
    uint64_t significand;
    int exponent;
    unsigned kind;
    bool sign;
} number;

GENERIC number unpack(uint64_t bits, unsigned width)
{
    unsigned fraction = fraction_bits(width);
    number n = {.sign = bits >> (width - 1) & 1, .kind = FINITE};
    n.significand = bits & ((UINT64_C(1) << fraction) - 1);
    n.exponent = (int)(bits >> fraction & (unsigned)exponent_max(width));
    if (UNLIKELY(n.exponent == exponent_max(width))) {
        n.kind = n.significand ? NOT_A_NUMBER : INFINITE;
    } else if (UNLIKELY(n.exponent == 0)) {
        if (n.significand == 0) {
            n.kind = ZERO;
        } else {
            int shift = __builtin_clzll(n.significand) - 1;
            n.significand <<= shift;
            n.exponent = 63 - (int)fraction - shift - bias(width);
        }
    } else {
        n.significand = (n.significand | UINT64_C(1) << fraction) << (62 - fraction);
        n.exponent -= bias(width);
    }
    return n;
}

/* Right shifts that keep in bit 0 whether anything but zeros fell out. Branches here would hang on data. */

GENERIC uint64_t shift_jam(uint64_t value, unsigned count)
{
    count = count < 63 ? count : 63;
    return value >> count | ((value & ((UINT64_C(1) << count) - 1)) != 0);
}

GENERIC wide shift_jam_wide(wide value, unsigned count)
{
    count = count < 127 ? count : 127;
    return value >> count | ((value & (((wide)1 << count) - 1)) != 0);
}

/* What is added below the last kept bit, `unit`, before truncating. */
GENERIC uint64_t rounding_increment(bool sign, uint64_t unit, unsigned rm)
{
    if (rm == FP_RNE || rm == FP_RMM)
        return unit >> 1;
    return rm == (sign ? FP_RDN : FP_RUP) ? unit - 1 : 0;
}

/* Round and pack a finite number that is not zero; leading one at bit 62, bit 0 sticky. */
GENERIC uint64_t pack(bool sign, int exponent, uint64_t significand, unsigned width, unsigned rm, uint32_t *flags)
{
    unsigned fraction = fraction_bits(width);
    uint64_t unit = UINT64_C(1) << (62 - fraction);
    uint64_t increment = rounding_increment(sign, unit, rm);
    exponent += bias(width);
    bool tiny = false;
    if (UNLIKELY(exponent <= 0)) {
        /* After rounding, as if the exponent had no lower bound: what rounds up to the smallest normal is not tiny. */
        tiny = exponent < 0 || significand + increment < UINT64_C(1) << 63;
        significand = shift_jam(significand, (unsigned)(1 - exponent));
        exponent = 1;
    }
    uint64_t rest = significand & (unit - 1);
    uint64_t kept = (significand + increment) >> (62 - fraction);
    if (rm == FP_RNE && rest == unit >> 1)
        kept &= ~UINT64_C(1);
    /* The leading one of `kept`, and a carry out of it, add themselves to the exponent. */
    uint64_t magnitude = ((uint64_t)(exponent - 1) << fraction) + kept;
    if (UNLIKELY(exponent >= exponent_max(width) || magnitude >= infinity(width))) {
        *flags |= FP_OF | FP_NX;
        return signed_bits(sign, infinity(width) - (increment == 0), width);
    }
    if (rest)
        *flags |= tiny ? FP_UF | FP_NX : FP_NX;
    return signed_bits(sign, magnitude, width);
}

GENERIC uint64_t invalid(unsigned width, uint32_t *flags)
{
    *flags |= FP_NV;
    return canonical_nan(width);
}

/* The result of an operation with a NaN among its operands. */
GENERIC uint64_t nan_result(uint64_t a, uint64_t b, uint64_t c, unsigned width, uint32_t *flags)
{
    if (is_signaling(a, width) || is_signaling(b, width) || is_signaling(c, width))
        *flags |= FP_NV;
    return canonical_nan(width);
}

/* A sum that is exactly zero, of operands with these signs. */
GENERIC uint64_t zero_sum(bool sign, bool other, unsigned width, unsigned rm)
{
    return signed_bits(sign == other ? sign : rm == FP_RDN, 0, width);
}

/* The host's arithmetic rounds to nearest even and reports no flags here. It may stand in when that is the mode asked
 * for, when inexact is raised already, and when neither operands nor result leave the normal range: then no other flag
 * can come of it, and a host that flushes subnormals does no harm. A result of just the smallest normal may have been
 * tiny. Assumes that nobody changed this thread's rounding mode. */
#if FP_HOST

GENERIC bool is_normal(uint64_t bits, unsigned width)
{
    uint64_t smallest = UINT64_C(1) << fraction_bits(width);
    return (bits & ~sign_bit(width)) - smallest < infinity(width) - smallest;
}

GENERIC bool above_smallest(uint64_t bits, unsigned width)
{
    uint64_t next = (UINT64_C(1) << fraction_bits(width)) + 1;
    return (bits & ~sign_bit(width)) - next < infinity(width) - next;
}

GENERIC double to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

GENERIC uint64_t from_double(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

GENERIC float to_float(uint64_t bits)
{
    uint32_t narrow = (uint32_t)bits;
    float value;
    memcpy(&value, &narrow, sizeof value);
    return value;
}

GENERIC uint64_t from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#define TRY_HOST(operator) \
    do { \
        if (width != 16 && rm == FP_RNE && *flags & FP_NX && is_normal(a, width) && is_normal(b, width)) { \
            uint64_t host = width == 64 ? from_double(to_double(a) operator to_double(b)) \
                                        : from_float(to_float(a) operator to_float(b)); \
            if (above_smallest(host, width)) \
                return host; \
        } \
    } while (0)

#else
#define TRY_HOST(operator) ((void)0)
#endif

#if FP_HOST_FMA && defined(__x86_64__)

GENERIC bool host_has_fma(void)
{
    return __builtin_cpu_supports("fma");
}

__attribute__((target("fma"))) static uint64_t host_fma64(uint64_t a, uint64_t b, uint64_t c)
{
    __m128d sum = _mm_fmadd_sd(_mm_set_sd(to_double(a)), _mm_set_sd(to_double(b)), _mm_set_sd(to_double(c)));
    return from_double(_mm_cvtsd_f64(sum));
}

__attribute__((target("fma"))) static uint64_t host_fma32(uint64_t a, uint64_t b, uint64_t c)
{
    __m128 sum = _mm_fmadd_ss(_mm_set_ss(to_float(a)), _mm_set_ss(to_float(b)), _mm_set_ss(to_float(c)));
    return from_float(_mm_cvtss_f32(sum));
}

#elif FP_HOST_FMA

GENERIC bool host_has_fma(void)
{
    return true;
}

GENERIC uint64_t host_fma64(uint64_t a, uint64_t b, uint64_t c)
{
    return from_double(__builtin_fma(to_double(a), to_double(b), to_double(c)));
}

GENERIC uint64_t host_fma32(uint64_t a, uint64_t b, uint64_t c)
{
    return from_float(__builtin_fmaf(to_float(a), to_float(b), to_float(c)));
}

#endif

/* Arithmetic */

GENERIC uint64_t add(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    TRY_HOST(+);
    uint64_t large = (a & ~sign_bit(width)) < (b & ~sign_bit(width)) ? b : a;
    uint64_t small = a ^ b ^ large;
    number x = unpack(large, width), y = unpack(small, width);
    if (UNLIKELY(x.kind | y.kind)) {
        if ((x.kind | y.kind) & NOT_A_NUMBER)
            return nan_result(a, b, 0, width, flags);
        if (x.kind & y.kind & INFINITE && x.sign != y.sign)
            return invalid(width, flags);
        if (x.kind & y.kind & ZERO)
            return zero_sum(x.sign, y.sign, width, rm);
        return large;
    }
    /* Leading ones at bit 61: no carry is lost. Nine bits or more lie below a fraction's last, and cancellation after a
     * lossy shift brings up one of them. */
    uint64_t minus = x.sign != y.sign;
    uint64_t addend = shift_jam(y.significand >> 1, (unsigned)(x.exponent - y.exponent));
    uint64_t sum = (x.significand >> 1) + ((addend ^ -minus) + minus);
    if (sum == 0)
        return zero_sum(x.sign, y.sign, width, rm);
    int shift = __builtin_clzll(sum) - 1;
    return pack(x.sign, x.exponent + 1 - shift, sum << shift, width, rm, flags);
}

GENERIC uint64_t multiply(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    TRY_HOST(*);
    number x = unpack(a, width), y = unpack(b, width);
    bool sign = x.sign != y.sign;
    if (UNLIKELY(x.kind | y.kind)) {
        if ((x.kind | y.kind) & NOT_A_NUMBER)
            return nan_result(a, b, 0, width, flags);
        if ((x.kind | y.kind) == (INFINITE | ZERO))
            return invalid(width, flags);
        return signed_bits(sign, (x.kind | y.kind) & ZERO ? 0 : infinity(width), width);
    }
    wide product = (wide)(x.significand << 1) * (y.significand << 1);
    uint64_t significand = (uint64_t)(product >> 64) | ((uint64_t)product != 0);
    unsigned carry = (unsigned)(significand >> 63);
    return pack(sign, x.exponent + y.exponent + (int)carry, shift_jam(significand, carry), width, rm, flags);
}

GENERIC uint64_t divide(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    TRY_HOST(/);
    number x = unpack(a, width), y = unpack(b, width);
    bool sign = x.sign != y.sign;
    if (UNLIKELY(x.kind | y.kind)) {
        if ((x.kind | y.kind) & NOT_A_NUMBER)
            return nan_result(a, b, 0, width, flags);
        if (x.kind == y.kind)
            return invalid(width, flags);
        if (y.kind & ZERO && x.kind == FINITE)
            *flags |= FP_DZ;
        return signed_bits(sign, x.kind & ZERO || y.kind & INFINITE ? 0 : infinity(width), width);
    }
    int borrow = x.significand < y.significand;
    uint64_t quotient, rest;
    if (width == 32) {
        /* 24-bit integers: the quotient of a 64-bit dividend has bits enough. */
        uint64_t dividend = x.significand << borrow, divisor = y.significand >> 39;
        quotient = dividend / divisor;
        rest = dividend % divisor;
        quotient <<= 23;
    } else {
        wide dividend = (wide)x.significand << (62 + borrow);
        quotient = (uint64_t)(dividend / y.significand);
        rest = (uint64_t)dividend - quotient * y.significand;
    }
    return pack(sign, x.exponent - y.exponent - borrow, quotient | (rest != 0), width, rm, flags);
}

GENERIC uint64_t square_root(uint64_t a, unsigned width, unsigned rm, uint32_t *flags)
{
    number x = unpack(a, width);
    if (x.kind & NOT_A_NUMBER)
        return nan_result(a, 0, 0, width, flags);
    if (x.kind & ZERO)
        return a;
    if (x.sign)
        return invalid(width, flags);
    if (x.kind & INFINITE)
        return a;
    /* radicand * 2^-62 is in [1, 4). The root gets 61 or, for binary32, 31 fraction bits. Newton's iteration from above
     * never falls below the integer root. It starts on a line over the square root, less than 9 % off; three steps
     * leave 2e-11, four 2e-22: one unit at most. */
    unsigned odd = (unsigned)x.exponent & 1, drop = width == 32 ? 31 : 1;
    uint64_t radicand = x.significand << odd;
    wide scaled = (wide)radicand << (62 - 2 * drop);
    uint64_t root = ((radicand >> 2) + (radicand >> 3) + UINT64_C(0x2aaaaaaaaaaaaaac)) >> drop;
    root++;
    for (int step = 0; step < (width == 32 ? 3 : 4); step++)
        root = (root + (uint64_t)(scaled / root)) >> 1;
    root -= (wide)root * root > scaled;
    bool exact = (wide)root * root == scaled;
    return pack(false, (x.exponent - (int)odd) / 2, root << drop | !exact, width, rm, flags);
}

GENERIC uint64_t fused_multiply_add(uint64_t a, uint64_t b, uint64_t c, unsigned width, unsigned rm, uint32_t *flags)
{
#if FP_HOST_FMA
    if (width != 16 && rm == FP_RNE && *flags & FP_NX && is_normal(a, width) && is_normal(b, width)
        && is_normal(c, width) && host_has_fma()) {
        uint64_t host = width == 64 ? host_fma64(a, b, c) : host_fma32(a, b, c);
        if (above_smallest(host, width))
            return host;
    }
#endif
    number x = unpack(a, width), y = unpack(b, width), z = unpack(c, width);
    bool sign = x.sign != y.sign;
    if (UNLIKELY(x.kind | y.kind | z.kind)) {
        if ((x.kind | y.kind) == (INFINITE | ZERO))
            return invalid(width, flags);
        if ((x.kind | y.kind | z.kind) & NOT_A_NUMBER)
            return nan_result(a, b, c, width, flags);
        if ((x.kind | y.kind) & INFINITE)
            return z.kind & INFINITE && z.sign != sign ? invalid(width, flags)
                                                       : signed_bits(sign, infinity(width), width);
        if ((x.kind | y.kind) & ZERO)
            return z.kind & ZERO ? zero_sum(sign, z.sign, width, rm) : c;
        if (z.kind & INFINITE)
            return c;
    }
    /* Leading ones at bit 125: no carry is lost. The product ends above bit 19: only longer shifts lose bits. */
    wide product = (wide)x.significand * y.significand, addend = (wide)z.significand << 63;
    int carry = (int)(product >> 125);
    int exponent = x.exponent + y.exponent + carry;
    product <<= 1 - carry;
    int distance = z.kind & ZERO ? 0 : exponent - z.exponent;
    bool swap = distance < 0 || (distance == 0 && product < addend);
    wide large = swap ? addend : product, small = swap ? product : addend;
    wide minus = sign != z.sign;
    small = shift_jam_wide(small, (unsigned)(swap ? -distance : distance));
    wide sum = large + ((small ^ -minus) + minus);
    if (sum == 0)
        return zero_sum(false, true, width, rm);
    uint64_t high = (uint64_t)(sum >> 64);
    int shift = (high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sum)) - 1;
    sum <<= shift;
    uint64_t significand = (uint64_t)(sum >> 64) | ((uint64_t)sum != 0);
    exponent = (swap ? z.exponent : exponent) + 1 - shift;
    return pack(swap ? z.sign : sign, exponent, significand, width, rm, flags);
}

/* Comparison and classification */

/* Patterns in the order of their values, -0 below +0. */
GENERIC uint64_t order(uint64_t bits, unsigned width)
{
    return bits ^ sign_bit(width) ^ (-(bits >> (width - 1)) & (sign_bit(width) - 1));
}

GENERIC uint64_t select_number(uint64_t a, uint64_t b, bool want_less, unsigned width, uint32_t *flags)
{
    if (UNLIKELY(is_nan(a, width) || is_nan(b, width))) {
        uint64_t nan = nan_result(a, b, 0, width, flags);
        return !is_nan(a, width) ? a : !is_nan(b, width) ? b : nan;
    }
    return (order(a, width) < order(b, width)) == want_less ? a : b;
}

/* Zfa: minimum and maximum of IEEE 754-2019, which a NaN always spoils. */
GENERIC uint64_t select_or_nan(uint64_t a, uint64_t b, bool want_less, unsigned width, uint32_t *flags)
{
    return is_nan(a, width) || is_nan(b, width) ? nan_result(a, b, 0, width, flags)
                                                : select_number(a, b, want_less, width, flags);
}

GENERIC bool both_zero(uint64_t a, uint64_t b, unsigned width)
{
    return ((a | b) & ~sign_bit(width)) == 0;
}

GENERIC bool unordered(uint64_t a, uint64_t b, bool signaling, unsigned width, uint32_t *flags)
{
    if (!UNLIKELY(is_nan(a, width) || is_nan(b, width)))
        return false;
    if (signaling || is_signaling(a, width) || is_signaling(b, width))
        *flags |= FP_NV;
    return true;
}

GENERIC uint64_t classify(uint64_t a, unsigned width)
{
    uint64_t magnitude = a & ~sign_bit(width);
    if (magnitude > infinity(width))
        return is_signaling(a, width) ? 1 << 8 : 1 << 9;
    unsigned distance = magnitude == infinity(width) ? 3 : magnitude >> fraction_bits(width) ? 2 : magnitude ? 1 : 0;
    return a & sign_bit(width) ? 8U >> distance : 16U << distance;
}

/* Conversion */

GENERIC uint64_t to_integer(uint64_t a, unsigned width, unsigned kind, unsigned rm, uint32_t *flags)
{
    number x = unpack(a, width);
    bool is_word = kind < FP_L, is_unsigned = kind & 1;
    bool negative = x.sign && x.kind != NOT_A_NUMBER;
    uint64_t half_range = is_word ? UINT64_C(1) << 31 : UINT64_C(1) << 63;
    uint64_t limit = is_unsigned ? (negative ? 0 : half_range * 2 - 1) : half_range - !negative;
    uint64_t integer = limit;
    if (x.kind >= INFINITE || (x.kind == FINITE && x.exponent > 63)) {
        *flags |= FP_NV;
    } else if (x.kind == ZERO) {
        integer = 0;
    } else {
        /* 64 fraction bits. Where the integer fills its half there is no fraction: rounding cannot carry out of it. */
        wide fixed = x.exponent >= -2 ? (wide)x.significand << (x.exponent + 2)
                                      : shift_jam(x.significand, (unsigned)(-2 - x.exponent));
        uint64_t magnitude = (uint64_t)(fixed >> 64), rest = (uint64_t)fixed, half = UINT64_C(1) << 63;
        bool up = rm == FP_RNE   ? rest > half || (rest == half && magnitude & 1)
                  : rm == FP_RMM ? rest >= half
                                 : rest && rm == (negative ? FP_RDN : FP_RUP);
        magnitude += up;
        if (magnitude > limit) {
            *flags |= FP_NV;
        } else {
            integer = magnitude;
            if (rest)
                *flags |= FP_NX;
        }
    }
    if (negative)
        integer = -integer;
    return is_word ? (uint64_t)(int64_t)(int32_t)(uint32_t)integer : integer;
}

/* FCVTMOD.W.D: the low 32 bits of the integer, however large it is. The flags are those of FCVT.W.D. */
GENERIC uint64_t to_word_modular(uint64_t a, unsigned width, uint32_t *flags)
{
    number x = unpack(a, width);
    uint64_t integer = 0;
    to_integer(a, width, FP_W, FP_RTZ, flags);
    if (x.kind == FINITE && x.exponent >= 0 && x.exponent < 62 + 32)
        integer = x.exponent < 62 ? x.significand >> (62 - x.exponent) : x.significand << (x.exponent - 62);
    return (uint64_t)(int64_t)(int32_t)(uint32_t)(x.sign ? -integer : integer);
}

/* To an integer in the same format. `exact`: a result that differs from `a` raises inexact. */
GENERIC uint64_t round_to_integral(uint64_t a, unsigned width, unsigned rm, bool exact, uint32_t *flags)
{
    unsigned fraction = fraction_bits(width);
    uint64_t sign = a & sign_bit(width), magnitude = a ^ sign;
    int exponent = (int)(magnitude >> fraction) - bias(width);
    if (is_nan(a, width))
        return nan_result(a, 0, 0, width, flags);
    if (exponent >= (int)fraction || magnitude == 0)
        return a;
    uint64_t one = (uint64_t)bias(width) << fraction, half = one - (UINT64_C(1) << fraction);
    if (exponent < 0) {
        *flags |= exact ? FP_NX : 0;
        bool up = rm == FP_RNE ? magnitude > half : rm == FP_RMM ? magnitude >= half : rm == (sign ? FP_RDN : FP_RUP);
        return sign | (up ? one : 0);
    }
    uint64_t unit = UINT64_C(1) << ((int)fraction - exponent), rest = magnitude & (unit - 1);
    if (rest == 0)
        return a;
    *flags |= exact ? FP_NX : 0;
    /* A carry out of the fraction adds itself to the exponent. */
    magnitude = (magnitude + rounding_increment(sign, unit, rm)) & ~(unit - 1);
    if (rm == FP_RNE && rest == unit >> 1)
        magnitude &= ~unit;
    return sign | magnitude;
}

/* FLI, table "Immediate values loaded by the FLI.S instruction": exponents, and the upper two bits of the fraction. */
GENERIC uint64_t immediate(uint64_t index, unsigned width)
{
    static const struct {
        int8_t exponent;
        uint8_t quarters;
    } table[] = {
        {0, 0}, {0, 0}, {-16, 0}, {-15, 0}, {-8, 0}, {-7, 0}, {-4, 0}, {-3, 0}, {-2, 0}, {-2, 1}, {-2, 2}, {-2, 3},
        {-1, 0}, {-1, 1}, {-1, 2}, {-1, 3}, {0, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}, {1, 1}, {1, 2}, {2, 0}, {3, 0},
        {4, 0}, {7, 0}, {8, 0}, {15, 0}, {16, 0}, {0, 0}, {0, 0},
    };
    unsigned fraction = fraction_bits(width);
    index &= 31;
    if (index == 31)
        return canonical_nan(width);
    int exponent = table[index].exponent + bias(width);
    if (index == 30 || exponent >= exponent_max(width))
        return infinity(width);
    if (index == 1)
        return UINT64_C(1) << fraction;
    if (exponent <= 0)
        return UINT64_C(1) << ((int)fraction - 1 + exponent);
    return signed_bits(index == 0, (uint64_t)exponent << fraction | (uint64_t)table[index].quarters << (fraction - 2), width);
}

GENERIC uint64_t from_integer(uint64_t value, unsigned kind, unsigned width, unsigned rm, uint32_t *flags)
{
    if (kind == FP_W)
        value = (uint64_t)(int64_t)(int32_t)(uint32_t)value;
    else if (kind == FP_WU)
        value = (uint32_t)value;
    bool negative = !(kind & 1) && value >> 63;
    uint64_t magnitude = negative ? -value : value;
    if (magnitude == 0)
        return 0;
    int shift = __builtin_clzll(magnitude);
    return pack(negative, 63 - shift, shift_jam(magnitude << shift, 1), width, rm, flags);
}

GENERIC uint64_t convert(uint64_t a, unsigned from, unsigned to, unsigned rm, uint32_t *flags)
{
    number x = unpack(a, from);
    if (x.kind & NOT_A_NUMBER) {
        nan_result(a, 0, 0, from, flags);
        return canonical_nan(to);
    }
    if (x.kind)
        return signed_bits(x.sign, x.kind & INFINITE ? infinity(to) : 0, to);
    return pack(x.sign, x.exponent, x.significand, to, rm, flags);
}

/* Instances */

#define FP_DEFINE(width) \
    uint64_t f##width##_add(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags) \
    { \
        return add(a, b, width, rm, flags); \
    } \
    uint64_t f##width##_sub(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags) \
    { \
        return add(a, b ^ sign_bit(width), width, rm, flags); \
    } \
    uint64_t f##width##_mul(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags) \
    { \
        return multiply(a, b, width, rm, flags); \
    } \
    uint64_t f##width##_div(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags) \
    { \
        return divide(a, b, width, rm, flags); \
    } \
    uint64_t f##width##_sqrt(uint64_t a, unsigned rm, uint32_t *flags) \
    { \
        return square_root(a, width, rm, flags); \
    } \
    uint64_t f##width##_fma(uint64_t a, uint64_t b, uint64_t c, unsigned rm, uint32_t *flags) \
    { \
        return fused_multiply_add(a, b, c, width, rm, flags); \
    } \
    uint64_t f##width##_min(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return select_number(a, b, true, width, flags); \
    } \
    uint64_t f##width##_max(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return select_number(a, b, false, width, flags); \
    } \
    uint64_t f##width##_eq(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return !unordered(a, b, false, width, flags) && (a == b || both_zero(a, b, width)); \
    } \
    uint64_t f##width##_lt(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return !unordered(a, b, true, width, flags) && order(a, width) < order(b, width) && !both_zero(a, b, width); \
    } \
    uint64_t f##width##_le(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return !unordered(a, b, true, width, flags) && (order(a, width) <= order(b, width) || both_zero(a, b, width)); \
    } \
    uint64_t f##width##_leq(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return !unordered(a, b, false, width, flags) && (order(a, width) <= order(b, width) || both_zero(a, b, width)); \
    } \
    uint64_t f##width##_ltq(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return !unordered(a, b, false, width, flags) && order(a, width) < order(b, width) && !both_zero(a, b, width); \
    } \
    uint64_t f##width##_minm(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return select_or_nan(a, b, true, width, flags); \
    } \
    uint64_t f##width##_maxm(uint64_t a, uint64_t b, uint32_t *flags) \
    { \
        return select_or_nan(a, b, false, width, flags); \
    } \
    uint64_t f##width##_round(uint64_t a, unsigned rm, uint32_t *flags) \
    { \
        return round_to_integral(a, width, rm, false, flags); \
    } \
    uint64_t f##width##_roundnx(uint64_t a, unsigned rm, uint32_t *flags) \
    { \
        return round_to_integral(a, width, rm, true, flags); \
    } \
    uint64_t f##width##_constant(uint64_t index) \
    { \
        return immediate(index, width); \
    } \
    uint64_t f##width##_class(uint64_t a) \
    { \
        return classify(a, width); \
    } \
    uint64_t f##width##_to_int(uint64_t a, unsigned kind, unsigned rm, uint32_t *flags) \
    { \
        return to_integer(a, width, kind, rm, flags); \
    } \
    uint64_t f##width##_from_int(uint64_t value, unsigned kind, unsigned rm, uint32_t *flags) \
    { \
        return from_integer(value, kind, width, rm, flags); \
    }

FP_DEFINE(16)
FP_DEFINE(32)
FP_DEFINE(64)

uint64_t f64_to_word_modular(uint64_t a, uint32_t *flags)
{
    return to_word_modular(a, 64, flags);
}

uint64_t f16_to_f32(uint64_t a, uint32_t *flags)
{
    return convert(a, 16, 32, FP_RNE, flags);
}

uint64_t f16_to_f64(uint64_t a, uint32_t *flags)
{
    return convert(a, 16, 64, FP_RNE, flags);
}

uint64_t f32_to_f64(uint64_t a, uint32_t *flags)
{
    return convert(a, 32, 64, FP_RNE, flags);
}

uint64_t f64_to_f32(uint64_t a, unsigned rm, uint32_t *flags)
{
    return convert(a, 64, 32, rm, flags);
}

uint64_t f64_to_f16(uint64_t a, unsigned rm, uint32_t *flags)
{
    return convert(a, 64, 16, rm, flags);
}

uint64_t f32_to_f16(uint64_t a, unsigned rm, uint32_t *flags)
{
    return convert(a, 32, 16, rm, flags);
}
