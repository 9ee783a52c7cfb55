/* mix: what small embedded programs do all day: linked lists, matrices, a state machine, and a CRC over all of it. */
#include "program.h"

#define ROUNDS 1270

const uint64_t expected = 0x1c67b61983553487;

static uint32_t seed;

static uint32_t next_random(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* CRC-32, bit by bit. */
static uint32_t crc(uint32_t value, uint32_t sum)
{
    sum ^= value;
    for (int bit = 0; bit < 32; bit++)
        sum = sum >> 1 ^ (0xedb88320 & -(sum & 1));
    return sum;
}

/* Lists. */

#define NODES 256

struct node {
    struct node *next;
    uint32_t key, value;
};

static struct node nodes[NODES];

/* Links the nodes in an order that the seed decides. */
static struct node *scatter(void)
{
    struct node *list = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        struct node *node = &nodes[i * 101 % NODES];
        node->key = next_random() & 1023;
        node->value = i;
        node->next = list;
        list = node;
    }
    return list;
}

static struct node *reverse(struct node *list)
{
    struct node *reversed = 0;
    while (list) {
        struct node *next = list->next;
        list->next = reversed;
        reversed = list;
        list = next;
    }
    return reversed;
}

static struct node *merge(struct node *left, struct node *right)
{
    struct node *head = 0, **tail = &head;
    while (left && right) {
        struct node **smaller = left->key <= right->key ? &left : &right;
        *tail = *smaller;
        tail = &(*tail)->next;
        *smaller = (*smaller)->next;
    }
    *tail = left ? left : right;
    return head;
}

static struct node *sort(struct node *list)
{
    struct node *slow = list, *fast, *right;
    if (!list || !list->next)
        return list;
    for (fast = list->next; fast && fast->next; fast = fast->next->next)
        slow = slow->next;
    right = slow->next;
    slow->next = 0;
    return merge(sort(list), sort(right));
}

static uint32_t find(const struct node *list, uint32_t key)
{
    while (list && list->key < key)
        list = list->next;
    return list ? list->value : NODES;
}

static uint32_t lists(uint32_t sum)
{
    struct node *list = sort(reverse(scatter()));
    for (uint32_t key = 0; key < 1024; key += 64)
        sum = crc(find(list, key), sum);
    for (const struct node *node = list; node; node = node->next)
        sum = sum * 31 + (node->key << 8 ^ node->value);
    return sum;
}

/* Matrices. */

#define SIDE 24

static int16_t left[SIDE][SIDE], right[SIDE][SIDE];
static int32_t product[SIDE][SIDE];

static uint32_t matrices(uint32_t sum)
{
    for (int row = 0; row < SIDE; row++)
        for (int column = 0; column < SIDE; column++) {
            left[row][column] = (int16_t)((next_random() & 0xfff) - 0x800);
            right[row][column] = (int16_t)(left[row][column] ^ row * column);
        }
    for (int row = 0; row < SIDE; row++)
        for (int column = 0; column < SIDE; column++) {
            int32_t total = 0;
            for (int i = 0; i < SIDE; i++)
                total += left[row][i] * right[i][column];
            product[row][column] = total;
        }
    for (int row = 0; row < SIDE; row++)
        sum = crc((uint32_t)product[row][SIDE - 1 - row], sum);
    return sum;
}

/* A state machine: which of these words are numbers, and of what kind? */

enum state { BEGIN, SIGN, INTEGER, POINT, FRACTION, EXPONENT, POWER, INVALID, STATES };

static enum state step(enum state state, char c)
{
    bool digit = c >= '0' && c <= '9';
    switch (state) {
    case BEGIN:
        if (c == '+' || c == '-')
            return SIGN;
        /* fall through */
    case SIGN:
        return digit ? INTEGER : c == '.' ? POINT : INVALID;
    case INTEGER:
        return digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case POINT:
        return digit ? FRACTION : INVALID;
    case FRACTION:
        return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT:
        return digit || c == '-' ? POWER : INVALID;
    case POWER:
        return digit ? POWER : INVALID;
    default:
        return INVALID;
    }
}

static char text[] = "5012 1234 -874 +122 35.54400 .1234500 -110.700 +0.64400 5.500e3 -.123e-2 -87e+832 +0.6e-12 "
                     "T0.3e-1F -T.T++Tq 1T3.4e4z 34.0e-T^ 1 2 3 e . - + 9e 9e9 1e-10 1.e5";

static uint32_t words(uint32_t sum)
{
    uint32_t counts[STATES] = {0};
    enum state state = BEGIN;

    text[next_random() % 16] ^= 1;          /* a different text each time, and sometimes a broken one */
    for (const char *p = text; *p; p++) {
        if (*p == ' ') {
            counts[state]++;
            state = BEGIN;
        } else {
            state = step(state, *p);
        }
    }
    for (int i = 0; i < STATES; i++)
        sum = crc(counts[i], sum);
    return sum;
}

uint64_t checksum(void)
{
    uint32_t sum = 0xffffffff;

    seed = 12345;
    for (int round = 0; round < ROUNDS; round++) {
        sum = lists(sum);
        sum = matrices(sum);
        for (int i = 0; i < 16; i++)
            sum = words(sum);
    }
    return (uint64_t)seed << 32 | sum;
}
