/* sieve: the primes below 4 Mi with one byte for each number: strided stores over more memory than caches like. */
#include "program.h"

#define LIMIT (4u << 20)
#define ROUNDS 6

const uint64_t expected = 0x10a2cb541b9124eb;

static uint8_t composite[LIMIT] __attribute__((aligned(4096)));

/* The odd multiples of each odd prime; even numbers are never looked at. */
static void sieve(void)
{
    for (uint32_t i = 0; i < LIMIT / 8; i++)
        ((volatile uint64_t *)composite)[i] = 0;
    for (uint32_t p = 3; p * p < LIMIT; p += 2)
        if (!composite[p])
            for (uint32_t multiple = p * p; multiple < LIMIT; multiple += p)
                composite[multiple] = 1;
}

uint64_t checksum(void)
{
    uint64_t sum = 2;
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        sieve();
        for (uint32_t n = 3; n < LIMIT; n += 2)
            if (!composite[n])
                sum = (sum << 5 | sum >> 59) ^ n * round;
    }
    return sum;
}
