/* Inlined in two functions. */
static inline __attribute__((always_inline)) long twice(long x)
{
    long y = x * 2;
    return y + 1;
}
