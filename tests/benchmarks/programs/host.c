/* The same program on the machine that builds it: prints its result, which `expected` must equal. */
#include <inttypes.h>
#include <stdio.h>

#include "program.h"

int main(void)
{
    uint64_t result = checksum();
    printf("0x%016" PRIx64 "\n", result);
    return result != expected;
}
