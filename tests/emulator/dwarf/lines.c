/* The program of test_dwarf.py and test_source.py: each line here has its number there. */
#include "lines.h"

struct point {
    int x;
    long y;
    char name[8];
    struct point *next;
    unsigned low : 3, high : 5;
};
enum colour { RED, GREEN = 5, BLUE = -1 };
union word { unsigned whole; unsigned char bytes[4]; };

static struct point here = {1, -2, "abc", &here, 5, 9};
union word word = {0x11223344};
volatile long counter;
long table[3] = {10, 20, 30};
long plain(long);

__attribute__((noinline)) long leaf(long a, enum colour c)
{
    counter += a;
    return twice(counter) + c;
}

__attribute__((noinline)) long middle(long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += leaf(i, GREEN);
    return sum;
}

__attribute__((noinline)) long factorial(long n)
{
    if (n < 2)
        return 1;
    return n * factorial(n - 1);
}

__attribute__((noinline)) long other(long x)
{
    counter = x;
    return twice(x);
}

int main(void)
{
    long local = 3;
    struct point *p = &here;
    long (*pointer)(long) = other;
    p->x = middle(local);
    p->y = factorial(4);
    local = plain(local);
    while (counter < 100000) counter = counter + 1;
    local += pointer(5);
    return (int)(p->x + p->y + local);
}
