/* vm: an interpreter inside the interpreter. A small register machine runs a bytecode program that looks for the
 * longest Collatz chain; the dispatch is a jump that no branch predictor, and no simulator, likes. */
#include "program.h"

#define LIMIT 31000

const uint64_t expected = 0x5bf0637702b0c534;

enum operation { SET, MOVE, ADD, SUB, MUL, AND, XOR, SHIFT_RIGHT, ROTATE, JUMP, JUMP_IF_ZERO, JUMP_IF_LESS, HALT };

struct instruction { uint8_t operation, to, a, b; int32_t value; };

/* Registers of the program. */
enum { N, CHAIN, LENGTH, LONGEST, BEST, ONE, END, ODD, HASH, THREE, REGISTERS };

static const struct instruction program[] = {
    {SET, ONE, 0, 0, 1},
    {SET, THREE, 0, 0, 3},
    {SET, END, 0, 0, LIMIT},
    {SET, N, 0, 0, 1},
    /* 4: for each n */
    {MOVE, CHAIN, N, 0, 0},
    {SET, LENGTH, 0, 0, 1},
    /* 6: while chain is not 1 */
    {SUB, ODD, CHAIN, ONE, 0},
    {JUMP_IF_ZERO, 0, ODD, 0, 15},
    {ADD, LENGTH, LENGTH, ONE, 0},
    {AND, ODD, CHAIN, ONE, 0},
    {JUMP_IF_ZERO, 0, ODD, 0, 13},
    {MUL, CHAIN, CHAIN, THREE, 0},
    {ADD, CHAIN, CHAIN, ONE, 0},
    /* 13: even now: 3n+1 of an odd n is even, so both cases halve */
    {SHIFT_RIGHT, CHAIN, CHAIN, ONE, 0},
    {JUMP, 0, 0, 0, 6},
    /* 15: the chain has ended */
    {ROTATE, HASH, HASH, ONE, 0},
    {XOR, HASH, HASH, LENGTH, 0},
    {JUMP_IF_LESS, 0, LENGTH, LONGEST, 20},
    {MOVE, LONGEST, LENGTH, 0, 0},
    {MOVE, BEST, N, 0, 0},
    /* 20: next n */
    {ADD, N, N, ONE, 0},
    {JUMP_IF_LESS, 0, N, END, 4},
    {HALT, 0, 0, 0, 0},
};

uint64_t checksum(void)
{
    uint64_t r[REGISTERS];

    for (int i = 0; i < REGISTERS; i++)
        r[i] = 0;
    for (const struct instruction *next = program;;) {
        const struct instruction *i = next++;
        switch ((enum operation)i->operation) {
        case SET: r[i->to] = (uint64_t)i->value; break;
        case MOVE: r[i->to] = r[i->a]; break;
        case ADD: r[i->to] = r[i->a] + r[i->b]; break;
        case SUB: r[i->to] = r[i->a] - r[i->b]; break;
        case MUL: r[i->to] = r[i->a] * r[i->b]; break;
        case AND: r[i->to] = r[i->a] & r[i->b]; break;
        case XOR: r[i->to] = r[i->a] ^ r[i->b]; break;
        case SHIFT_RIGHT: r[i->to] = r[i->a] >> (r[i->b] & 63); break;
        case ROTATE: r[i->to] = r[i->a] << (r[i->b] & 63) | r[i->a] >> (-r[i->b] & 63); break;
        case JUMP: next = program + i->value; break;
        case JUMP_IF_ZERO: if (r[i->a] == 0) next = program + i->value; break;
        case JUMP_IF_LESS: if (r[i->a] < r[i->b]) next = program + i->value; break;
        case HALT: return r[HASH] ^ r[LONGEST] << 48 ^ r[BEST] << 32;
        }
    }
}
