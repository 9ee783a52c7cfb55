/* IEEE 754 arithmetic for the F, D, Zfh and Zfa extensions: binary16, binary32 and binary64 as bit patterns.
 *
 * Manual: "F" Extension for Single-Precision Floating-Point and "D" Extension for Double-Precision Floating-Point.
 * Stateless. `rm` is a resolved rounding mode (0..4, never DYN; others act as RTZ). Exception flags are OR-ed into
 * *flags, in the layout of fflags. Every NaN result is the canonical NaN; tininess is detected after rounding.
 * Narrow values are passed unboxed, upper bits zero, and come back so.
 */
#ifndef RVTUI_SOFTFLOAT_H
#define RVTUI_SOFTFLOAT_H

#include <stdint.h>

enum fp_rounding { FP_RNE = 0, FP_RTZ = 1, FP_RDN = 2, FP_RUP = 3, FP_RMM = 4 };

enum fp_flag { FP_NX = 1, FP_UF = 2, FP_OF = 4, FP_DZ = 8, FP_NV = 16 };

/* Integer formats, numbered as in the rs2 field of FCVT. */
enum fp_integer { FP_W = 0, FP_WU = 1, FP_L = 2, FP_LU = 3 };

#define FP_NAN16 UINT64_C(0x7e00)
#define FP_NAN32 UINT64_C(0x7fc00000)
#define FP_NAN64 UINT64_C(0x7ff8000000000000)

/* fma: a * b + c with one rounding. FMSUB, FNMSUB and FNMADD flip the sign bits of their operands first.
 * min, max: minimumNumber and maximumNumber of IEEE 754-2019. eq is quiet, lt and le are signaling; they return 0 or 1.
 * leq, ltq: le and lt, quiet. minm, maxm: minimum and maximum of IEEE 754-2019, NaN where one operand is.
 * round, roundnx: to an integer in the same format; roundnx raises inexact. constant: FLI, by its number.
 * class: the 10-bit mask of FCLASS.
 * to_int: the register value, W and WU sign-extended from 32 bits, saturated with NV when out of range.
 * from_int: reads the low 32 bits of `value` for W and WU. */
#define FP_DECLARE(width) \
    uint64_t f##width##_add(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_sub(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_mul(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_div(uint64_t a, uint64_t b, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_sqrt(uint64_t a, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_fma(uint64_t a, uint64_t b, uint64_t c, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_min(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_max(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_eq(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_lt(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_le(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_leq(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_ltq(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_minm(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_maxm(uint64_t a, uint64_t b, uint32_t *flags); \
    uint64_t f##width##_round(uint64_t a, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_roundnx(uint64_t a, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_constant(uint64_t index); \
    uint64_t f##width##_class(uint64_t a); \
    uint64_t f##width##_to_int(uint64_t a, unsigned kind, unsigned rm, uint32_t *flags); \
    uint64_t f##width##_from_int(uint64_t value, unsigned kind, unsigned rm, uint32_t *flags);

FP_DECLARE(16)
FP_DECLARE(32)
FP_DECLARE(64)

/* FCVTMOD.W.D: bits 31:0 of the integer, sign-extended. */
uint64_t f64_to_word_modular(uint64_t a, uint32_t *flags);

/* Between formats. Widening is always exact: only NV, from a signaling NaN, can come of it. */
uint64_t f16_to_f32(uint64_t a, uint32_t *flags);
uint64_t f16_to_f64(uint64_t a, uint32_t *flags);
uint64_t f32_to_f64(uint64_t a, uint32_t *flags);
uint64_t f64_to_f32(uint64_t a, unsigned rm, uint32_t *flags);
uint64_t f64_to_f16(uint64_t a, unsigned rm, uint32_t *flags);
uint64_t f32_to_f16(uint64_t a, unsigned rm, uint32_t *flags);

/* The same by width, 16, 32 or 64: with a constant width each is one direct call. */
#define FP_BY_WIDTH(operation, width, ...) \
    ((width) == 16   ? f16_##operation(__VA_ARGS__) \
     : (width) == 32 ? f32_##operation(__VA_ARGS__) \
                     : f64_##operation(__VA_ARGS__))

static inline uint64_t fp_add(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(add, width, a, b, rm, flags);
}

static inline uint64_t fp_sub(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(sub, width, a, b, rm, flags);
}

static inline uint64_t fp_mul(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(mul, width, a, b, rm, flags);
}

static inline uint64_t fp_div(uint64_t a, uint64_t b, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(div, width, a, b, rm, flags);
}

static inline uint64_t fp_sqrt(uint64_t a, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(sqrt, width, a, rm, flags);
}

static inline uint64_t fp_fma(uint64_t a, uint64_t b, uint64_t c, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(fma, width, a, b, c, rm, flags);
}

static inline uint64_t fp_min(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(min, width, a, b, flags);
}

static inline uint64_t fp_max(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(max, width, a, b, flags);
}

static inline uint64_t fp_eq(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(eq, width, a, b, flags);
}

static inline uint64_t fp_lt(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(lt, width, a, b, flags);
}

static inline uint64_t fp_le(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(le, width, a, b, flags);
}

static inline uint64_t fp_leq(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(leq, width, a, b, flags);
}

static inline uint64_t fp_ltq(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(ltq, width, a, b, flags);
}

static inline uint64_t fp_minm(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(minm, width, a, b, flags);
}

static inline uint64_t fp_maxm(uint64_t a, uint64_t b, unsigned width, uint32_t *flags)
{
    return FP_BY_WIDTH(maxm, width, a, b, flags);
}

static inline uint64_t fp_round(uint64_t a, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(round, width, a, rm, flags);
}

static inline uint64_t fp_roundnx(uint64_t a, unsigned width, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(roundnx, width, a, rm, flags);
}

static inline uint64_t fp_constant(uint64_t index, unsigned width)
{
    return FP_BY_WIDTH(constant, width, index);
}

static inline uint64_t fp_class(uint64_t a, unsigned width)
{
    return FP_BY_WIDTH(class, width, a);
}

static inline uint64_t fp_to_int(uint64_t a, unsigned width, unsigned kind, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(to_int, width, a, kind, rm, flags);
}

static inline uint64_t fp_from_int(uint64_t value, unsigned width, unsigned kind, unsigned rm, uint32_t *flags)
{
    return FP_BY_WIDTH(from_int, width, value, kind, rm, flags);
}

/* "D" chapter, NaN Boxing of Narrower Values. A register that holds no valid box reads as the canonical NaN. */
static inline uint64_t fp_box32(uint64_t value)
{
    return value | UINT64_C(0xffffffff00000000);
}

static inline uint64_t fp_box16(uint64_t value)
{
    return value | UINT64_C(0xffffffffffff0000);
}

static inline uint64_t fp_unbox32(uint64_t reg)
{
    return reg >= UINT64_C(0xffffffff00000000) ? (uint32_t)reg : FP_NAN32;
}

static inline uint64_t fp_unbox16(uint64_t reg)
{
    return reg >= UINT64_C(0xffffffffffff0000) ? (uint16_t)reg : FP_NAN16;
}

#endif
