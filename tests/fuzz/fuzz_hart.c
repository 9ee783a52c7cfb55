/* A fuzzer of the native hart, to be built with sanitizers: python -m tests.fuzz.
 *
 * A case is a machine made from a seed: memory with random programs and page tables, random CSRs, modes, devices,
 * breakpoints; then rounds of random acts of the caller, each followed by a run.
 *
 * Two equal machines get the same acts. One runs in long strides, the other in random small ones, and between these suffers
 * what must not matter (lost decoded code, a save and restore). All that is state must agree afterwards, the translations
 * that the lookaside knows among it. There are three kinds of cases.
 *
 * Exact: no page table changes under a translation that is still known: tables lie where programs do not reach, and programs
 * do not write satp, vsatp and hgatp. Then a fence more must not matter either.
 *
 * Stale: the same, but page tables do change under known translations, without a fence.
 *
 * Loose: everything is allowed. A few of them run on one machine only, to the same invariants.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "csr_defs.h"
#include "fuzz_tables.h"
#include "native.h"

#define NEVER UINT64_MAX
#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { PAGE = 4096, MOST_REGIONS = 4, MOST_HARTS = 3, TABLE_PAGES = 40, HANG_SECONDS = 60, MOST_EXITS = 200 };
enum { WRITTEN = 1, TOUCHED = 8 }; /* flags of a page */
enum { RAM = 0, ROM = 1, TABLES = 2 };
enum { CODE = 16 * PAGE }; /* programs, at the start of RAM and ROM; the trap handlers are in the page after them */

/* --- random numbers ---------------------------------------------------------------------------------------------- */

typedef struct rng { uint64_t state; } rng;

static uint64_t mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t next(rng *r) { return mix(r->state += 0x9e3779b97f4a7c15ull); }
static uint64_t below(rng *r, uint64_t limit) { return limit ? next(r) % limit : 0; }
static bool chance(rng *r, unsigned percent) { return below(r, 100) < percent; }

/* Numbers of all sizes, with a liking for edges. */
static uint64_t any(rng *r) {
    const uint64_t value = next(r) >> below(r, 64);
    switch (below(r, 8)) {
    case 0: return ~value;
    case 1: return UINT64_C(1) << below(r, 64);
    case 2: return (UINT64_C(1) << below(r, 64)) - 1;
    case 3: return NEVER - below(r, 4);
    default: return value;
    }
}

/* --- the case, and what it is reported by ---------------------------------------------------------------------------- */

typedef struct layout {
    bool exact, stale; /* stale implies exact */
    bool alone;        /* one machine */
    uint32_t harts, regions, devices, guest_interrupts;
    struct { uint64_t base, size; int writable; } region[MOST_REGIONS];
    struct { uint64_t base, size; } device[2];
} layout;

typedef struct watch {
    uint64_t address, length;
    uint32_t kinds;
    uint8_t content[32]; /* when last looked at, of short ones */
} watch;

/* A machine with the memory behind it. `clean`: that memory when the dirty flags were last cleared. */
typedef struct rig {
    machine *m;
    uint8_t *memory[MOST_REGIONS], *clean[MOST_REGIONS];
    uint64_t accesses; /* of devices, so far */
    uint64_t log;      /* of exits */
    uint64_t instructions, traps;
    uint32_t watches;
    watch watch[64];
    bool completing;   /* a device access was answered, its instruction has not run yet */
} rig;

static uint64_t seed;
static bool verbose;
static layout shape;
static struct {
    uint64_t cases, exact, runs, steps, exits[16], retired[5], traps[5][128], walks, comparisons;
} total;

static void say_seed(void) {
    char text[64];
    const int length = snprintf(text, sizeof text, "\nfuzz: failed at seed %" PRIu64 "\n", seed);
    if (write(STDERR_FILENO, text, (size_t)length) < 0) return;
}

static void on_signal(int number) {
    static const char text[] = "fuzz: a case hangs or was killed by a signal";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(2);
    say_seed();
    _exit(128 + number);
}

/* Sanitizers call it before they end the process; absent in builds without. */
extern void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "fuzz: ");
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    say_seed();
    exit(1);
}

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) fail(__VA_ARGS__); \
    } while (0)
#define NOTE(...) \
    do { \
        if (verbose) printf(__VA_ARGS__); \
    } while (0)

/* --- programs ---------------------------------------------------------------------------------------------------------- */

enum { SYSTEM = 0x73, NOP = 0x13, WFI = 0x10500073, MRET = 0x30200073, SRET = 0x10200073 };

static uint32_t immediate_form(uint32_t opcode, uint32_t funct3, uint32_t rd, uint32_t rs1, uint32_t immediate) {
    return immediate << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode;
}

static uint32_t csr_number(rng *r, bool translation) {
    static const uint16_t often[] = {
        CSR_SATP, CSR_VSATP, CSR_HGATP, CSR_MSTATUS, CSR_SSTATUS, CSR_VSSTATUS, CSR_HSTATUS, CSR_STIMECMP, CSR_VSTIMECMP,
        CSR_HENVCFG, CSR_MENVCFG, CSR_FCSR, CSR_FFLAGS, CSR_FRM, CSR_TIME, CSR_INSTRET, CSR_MIE, CSR_HIE, CSR_HVIP, CSR_SIP,
        CSR_PMPCFG0,
    };
    const uint64_t kind = below(r, 100);
    uint32_t number = (uint32_t)below(r, 4096);
    if (kind < 30) number = often[below(r, COUNT(often))];
    else if (kind < 90) number = csr_rules[below(r, COUNT(csr_rules))].number;
    if (!translation && (number == CSR_SATP || number == CSR_VSATP || number == CSR_HGATP)) number = CSR_SSCRATCH;
    return number;
}

/* A valid instruction, made likely to do something: memory through x8..x15, which hold addresses and are rarely written.
   Often one of those that are decoded together with their neighbour, and reading what `before` wrote. */
static uint32_t instruction(rng *r, uint32_t before, uint32_t *length) {
    const encoding *e = &encodings[below(r, COUNT(encodings))];
    if (chance(r, 40))
        while (!e->common) e = &encodings[below(r, COUNT(encodings))];
    uint32_t word = e->match | ((uint32_t)next(r) & ~e->mask);
    *length = e->length;
    if (*length == 2) return word & 0xffff;
    const uint32_t opcode = word & 0x7f, funct3 = word >> 12 & 7;
    const bool is_csr = opcode == SYSTEM && funct3 && funct3 != 4;
    const bool is_memory = opcode == 0x03 || opcode == 0x07 || opcode == 0x23 || opcode == 0x27 || opcode == 0x2f
        || (opcode == SYSTEM && funct3 == 4);
    if (is_csr) word = (word & 0xfffff) | csr_number(r, !shape.exact) << 20;
    if (is_memory && chance(r, 70)) word = (word & ~0x000f8000u) | (8 + (uint32_t)below(r, 8)) << 15;
    if (!(e->mask & 0xf80) && (word >> 7 & 31) - 8 < 8 && opcode != 0x63 && chance(r, 80)) word ^= 0x800;
    if (opcode == 0x6f) word = (word & 0x7fe00fffu) | (chance(r, 50) ? 0x800ff000u : 0);
    if (opcode == 0x17 && chance(r, 80)) word = (word & 0xfff) | (uint32_t)below(r, 4) << 12;
    if (e->common && (before & 3) == 3 && chance(r, 50)) word = (word & ~0x000f8000u) | (before >> 7 & 31) << 15;
    if (chance(r, 1)) word = WFI;
    return word;
}

static void write_program(rng *r, uint8_t *at, uint64_t bytes) {
    const unsigned valid = chance(r, 85) ? 97 : (unsigned)below(r, 100);
    uint32_t word = 0;
    for (uint64_t i = 0; i < bytes;) {
        uint32_t length;
        word = instruction(r, word, &length);
        if (!chance(r, valid)) {
            word = (uint32_t)next(r);
            length = chance(r, 50) ? 2 : 4;
        }
        if (length > bytes - i) length = 2;
        memcpy(at + i, &word, length);
        i += length;
    }
}

/* Trap handlers for M, HS and VS, 1 KiB apart. Some set the timer. They go on behind the instruction that trapped, or somewhere in the program
   before their page. */
static void write_handlers(rng *r, uint8_t *page) {
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t epc = i ? CSR_SEPC : CSR_MEPC;
        uint8_t *at = page + 1024 * i;
        uint32_t words[16], n = 0;
        if (chance(r, 50)) {
            words[n++] = immediate_form(SYSTEM, 2, 31, 0, CSR_TIME);
            words[n++] = immediate_form(0x13, 0, 31, 31, 1 + (uint32_t)below(r, 50));
            words[n++] = immediate_form(SYSTEM, 1, 0, 31, CSR_STIMECMP);
        }
        switch (below(r, 4)) {
        case 0:
            words[n++] = immediate_form(SYSTEM, 2, 31, 0, epc);
            words[n++] = immediate_form(0x13, 0, 31, 31, 2 + 2 * (uint32_t)below(r, 2));
            break;
        case 1:
            words[n++] = 0x17 | 31 << 7 | (0u - (uint32_t)(1 + below(r, CODE / PAGE))) << 12;
            break;
        default: /* a place that moves with each trap, kept in the handler's page */
            words[n++] = 0x17 | 31 << 7;
            words[n++] = immediate_form(0x03, 3, 30, 31, 0x200);
            words[n++] = immediate_form(0x13, 0, 30, 30, 2 * (uint32_t)below(r, 100));
            words[n++] = 0x23 | 3 << 12 | 31 << 15 | 30 << 20 | 0x200 >> 5 << 25;
            words[n++] = immediate_form(0x13, 1, 30, 30, 64 - 16);
            words[n++] = immediate_form(0x13, 5, 30, 30, 64 - 16);
            words[n++] = 0x17 | 31 << 7 | (0u - (uint32_t)(CODE / PAGE)) << 12;
            words[n++] = 0x33 | 31 << 7 | 31 << 15 | 30 << 20;
        }
        words[n++] = immediate_form(SYSTEM, 1, 0, 31, epc);
        words[n++] = i ? SRET : MRET;
        for (uint32_t entry = 0; entry < 64; entry += 4) memcpy(at + entry, &(uint32_t){NOP}, 4); /* vectored entries */
        memcpy(at + 64, words, 4 * n);
    }
}

/* --- page tables --------------------------------------------------------------------------------------------------------- */

enum { PTE_V = 1, PTE_R = 2, PTE_W = 4, PTE_X = 8, PTE_U = 16, PTE_A = 64, PTE_D = 128 };

/* Pages 0..11 of the tables are G-stage roots for Sv39x4, Sv48x4, Sv57x4; the others serve any level and stage. */
static uint64_t table_page(rng *r) { return 12 + below(r, TABLE_PAGES - 12); }

static uint64_t table_address(uint64_t page) { return shape.region[TABLES].base + page * PAGE; }

static uint64_t leaf(rng *r) {
    static const uint8_t rights[] = {PTE_R, PTE_R | PTE_W, PTE_R | PTE_X, PTE_R | PTE_W | PTE_X, PTE_R | PTE_W | PTE_X, PTE_X};
    const uint64_t where = below(r, shape.regions + shape.devices + 1);
    uint64_t address = any(r) >> 8, flags = PTE_V | rights[below(r, COUNT(rights))];
    if (where == TABLES && shape.exact) address = shape.region[RAM].base;
    else if (where < shape.regions) address = shape.region[where].base + below(r, shape.region[where].size);
    else if (where < shape.regions + shape.devices) address = shape.device[where - shape.regions].base;
    uint64_t ppn = address >> 12;
    if (chance(r, 50)) ppn &= ~((UINT64_C(1) << 9 * (chance(r, 80) ? 1 : 1 + below(r, 4))) - 1);
    flags |= (chance(r, 60) ? PTE_U : 0) | (chance(r, 85) ? PTE_A : 0) | (chance(r, 80) ? PTE_D : 0);
    return (ppn & 0xfffffffffff) << 10 | (next(r) & 0x320) | flags;
}

static uint64_t entry(rng *r) {
    const uint64_t pointer = table_address(table_page(r)) >> 12 << 10 | PTE_V;
    const uint64_t kind = below(r, 100);
    if (kind < 45) return pointer;
    if (kind < 88) return leaf(r);
    if (kind < 93) return 0;
    if (kind < 95) return leaf(r) | UINT64_C(1) << (54 + below(r, 10));
    if (kind < 97) return pointer | UINT64_C(1) << (3 + below(r, 5));
    return kind < 98 ? (leaf(r) & ~(uint64_t)PTE_R) | PTE_W : next(r);
}

/* An entry that addresses may use. */
static uint64_t index_of(rng *r, uint64_t entries) {
    const uint64_t i = below(r, 4);
    return i == 0 ? entries - 1 - below(r, 8) : i == 1 ? entries / 2 + below(r, 8) : below(r, 12);
}

static void write_tables(rng *r, uint8_t *tables) {
    for (uint64_t page = 0; page < TABLE_PAGES; page++) {
        uint64_t *const entries = (uint64_t *)(void *)(tables + page * PAGE);
        memset(entries, 0, PAGE);
        for (uint64_t i = 0; i < 12; i++)
            entries[i] = entry(r), entries[252 + i] = entry(r), entries[500 + i] = entry(r);
    }
    for (uint32_t mode = 0; mode < 3; mode++) {
        const uint32_t shift = 12 + 9 * (mode + 2);
        uint64_t *const root = (uint64_t *)(void *)(tables + 4 * mode * PAGE);
        for (uint32_t i = 0; i < shape.regions; i++) {
            /* The tables are at the same place in guest-physical memory: one great leaf; often so with all else. */
            const uint64_t address = shape.region[i].base;
            if (address >> (shift + 11) || (i != TABLES && chance(r, 40))) continue;
            root[address >> shift] = address >> shift << shift >> 2 | 0xdf;
        }
    }
}

static uint64_t virtual_address(rng *r) {
    const uint32_t levels = 3 + (uint32_t)below(r, 3);
    uint64_t address = chance(r, 80) ? below(r, PAGE) : (uint64_t)PAGE - 1 - below(r, 16);
    for (uint32_t level = 0; level < levels; level++) address |= index_of(r, 512) << (12 + 9 * level);
    if (chance(r, 50)) address = (address & ~UINT64_C(0x1fffff)) | below(r, CODE + PAGE);
    const uint32_t unused = 64 - (12 + 9 * levels);
    return (uint64_t)((int64_t)(address << unused) >> unused);
}

static uint64_t physical_address(rng *r) {
    const uint64_t where = below(r, shape.regions + shape.devices);
    if (where >= shape.regions) return shape.device[where - shape.regions].base + 8 * below(r, 40);
    if (where == TABLES && shape.exact) return shape.region[RAM].base;
    const uint64_t base = shape.region[where].base, size = shape.region[where].size;
    switch (below(r, 6)) {
    case 0: return base + size - below(r, 16);
    case 1: return base + PAGE * below(r, size / PAGE) - below(r, 16);
    case 2: return base + below(r, size);
    default: return base + 8 * below(r, size / 8);
    }
}

/* An address that the hart can use as it is now, where one is soon found. */
static uint64_t useful_address(rng *r, hart *h, uint32_t access) {
    walk_record record;
    for (uint32_t i = 0; i < 12; i++) {
        const uint64_t address = chance(r, 30) ? physical_address(r) : virtual_address(r);
        if (hart_walk(h, address, access, -1, &record) < 0) return address;
    }
    return physical_address(r);
}

/* --- machines -------------------------------------------------------------------------------------------------------------- */

static void choose_shape(rng *r) {
    static const uint64_t bases[] = {
        0x80000000, 0x80000000, 0x80000000, 0, 0x1000, 0x100000000, 0x4000000000, 0xffffffffff000, 0xff000000000000,
    };
    memset(&shape, 0, sizeof shape);
    const uint64_t kind = below(r, 100);
    shape.exact = kind < 50;
    shape.stale = kind < 20;
    shape.alone = kind >= 95;
    shape.harts = chance(r, 50) ? 1 : 2 + (uint32_t)below(r, MOST_HARTS - 1);
    shape.guest_interrupts = chance(r, 50) ? 0 : (uint32_t)below(r, 64);
    shape.regions = 3 + (uint32_t)below(r, 2);
    const uint64_t base = bases[below(r, COUNT(bases))];
    uint64_t size = CODE + PAGE * (2 + below(r, 40));
    if (chance(r, 5)) size = (1 + below(r, 4)) << 20;
    shape.region[RAM].base = base;
    shape.region[RAM].size = size;
    shape.region[RAM].writable = 1;
    shape.region[ROM].base = chance(r, 50) ? base + size : base + (UINT64_C(1) << 30);
    shape.region[ROM].size = CODE + PAGE;
    /* Reachable for Sv39x4, but neither by a pointer that a program would have nor by what virtual_address() makes. */
    shape.region[TABLES].base = (512 * (1 + below(r, 3)) + 20 + below(r, 200)) << 30 | below(r, 0x1000) << 16;
    if (!shape.exact && chance(r, 70)) shape.region[TABLES].base = base + (UINT64_C(2) << 30);
    shape.region[TABLES].size = TABLE_PAGES * PAGE;
    shape.region[TABLES].writable = chance(r, 70);
    shape.region[3].base = chance(r, 50) ? shape.region[ROM].base + shape.region[ROM].size : base + (UINT64_C(3) << 30);
    shape.region[3].size = PAGE * (1 + below(r, 4));
    shape.region[3].writable = 1;
    shape.devices = 1 + (uint32_t)below(r, 2);
    shape.device[0].base = base + (UINT64_C(5) << 29);
    shape.device[0].size = chance(r, 50) ? 0x100 : 0x10000 + below(r, 64);
    shape.device[1].base = chance(r, 50) ? base + size : 0x10000000;
    shape.device[1].size = PAGE;
}

static rig *new_rig(void) {
    rig *g = calloc(1, sizeof *g);
    if (!g || !(g->m = machine_new(shape.harts))) fail("no memory");
    machine_set_guest_interrupts(g->m, shape.guest_interrupts);
    for (uint32_t i = 0; i < shape.regions; i++) {
        /* Exactly the size, so that the sanitizer sees what lies behind. */
        g->memory[i] = calloc(1, shape.region[i].size);
        g->clean[i] = calloc(1, shape.region[i].size);
        if (!g->memory[i] || !g->clean[i]) fail("no memory");
        const uint64_t base = shape.region[i].base, size = shape.region[i].size;
        CHECK(!machine_add_region(g->m, base, size, g->memory[i], shape.region[i].writable), "a region was refused");
        CHECK(machine_add_region(g->m, base, size, g->memory[i], 1), "overlapping regions were accepted");
    }
    for (uint32_t i = 0; i < shape.devices; i++)
        CHECK(!machine_add_device(g->m, shape.device[i].base, shape.device[i].size), "a device was refused");
    return g;
}

static void free_rig(rig *g) {
    machine_free(g->m);
    for (uint32_t i = 0; i < shape.regions; i++) {
        free(g->memory[i]);
        free(g->clean[i]);
    }
    free(g);
}

static void clear_dirty(rig *g, uint32_t region) {
    machine_clear_dirty(g->m, shape.region[region].base);
    memcpy(g->clean[region], g->memory[region], shape.region[region].size);
}

static void changed(rig *g, uint32_t region, uint64_t offset, uint64_t length) {
    machine_memory_changed(g->m, shape.region[region].base + offset, length);
}

static uint64_t greatest_clock(rig *g) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < shape.harts; i++) {
        const uint64_t clock = machine_hart(g->m, i)->clock;
        if (clock > most) most = clock;
    }
    return most;
}

static hart *some_hart(rig *g, rng *r) { return machine_hart(g->m, (uint32_t)below(r, shape.harts)); }

/* --- what must hold ----------------------------------------------------------------------------------------------------------- */

static uint64_t retired(const hart *h) { return h->clock - h->idle; }

static uint64_t traps_of(const hart *h) {
    uint64_t sum = 0;
    for (uint32_t mode = 0; mode < 5; mode++)
        for (uint32_t cause = 0; cause < 128; cause++) sum += h->traps[mode][cause];
    return sum;
}

static void check_hart(hart *h) {
    CHECK(h->x[0] == 0, "x0 is %#" PRIx64, h->x[0]);
    CHECK(!(h->pc & 1), "pc is odd: %#" PRIx64, h->pc);
    CHECK(h->prv <= 3 && h->prv != 2, "privilege %u", h->prv);
    CHECK(h->v <= 1 && !(h->v && h->prv == 3), "v is %u, privilege %u", h->v, h->prv);
    CHECK(h->clock >= h->idle, "clock %" PRIu64 " is behind idle %" PRIu64, h->clock, h->idle);
}

static void check_csrs(hart *h) {
    uint64_t value;
    for (uint32_t i = 0; i < COUNT(csr_rules); i++) {
        const csr_rule *rule = &csr_rules[i];
        CHECK(!hart_csr_read(h, rule->number, &value), "CSR %#x cannot be read", rule->number);
        CHECK(!(value & ~rule->mask), "CSR %#x is %#" PRIx64 ": bits beyond its fields", rule->number, value);
    }
    for (uint32_t i = 0; i < COUNT(csr_fields); i++) {
        const csr_field *f = &csr_fields[i];
        hart_csr_read(h, f->number, &value);
        const uint64_t bits = value >> f->low & (f->width < 64 ? (UINT64_C(1) << f->width) - 1 : NEVER);
        if (f->fixed) CHECK(bits == f->value, "CSR %#x is %#" PRIx64 ": a fixed field changed", f->number, value);
        else CHECK(bits < 64 && f->value >> bits & 1, "CSR %#x is %#" PRIx64 ": an illegal field", f->number, value);
    }
    /* A restore takes only what could have been saved, so what is stored must be as legal as what is read. */
    for (uint32_t i = 0; i < COUNT(stored_fields); i++) {
        const stored_field *f = &stored_fields[i];
        value = 0;
        memcpy(&value, (const uint8_t *)&h->csr + f->offset, f->bytes);
        const uint64_t bits = value >> f->low & (f->width < 64 ? (UINT64_C(1) << f->width) - 1 : NEVER);
        CHECK(!(bits & ~(NEVER << f->align)), "byte %u of the stored CSRs: bits that are always zero", f->offset);
        CHECK(!f->legal || (bits < 64 && f->legal >> bits & 1), "byte %u of the stored CSRs: an illegal field", f->offset);
    }
}

/* Pages that do not say so were not written. */
static void check_dirty(rig *g) {
    for (uint32_t i = 0; i < shape.regions; i++) {
        const uint8_t *flags = machine_page_flags(g->m, shape.region[i].base);
        for (uint64_t page = 0; page < shape.region[i].size / PAGE; page++) {
            CHECK(!(flags[page] & WRITTEN) || flags[page] & TOUCHED, "a page is written but not touched");
            if (flags[page] & WRITTEN) continue;
            CHECK(!memcmp(g->memory[i] + page * PAGE, g->clean[i] + page * PAGE, PAGE),
                  "page %" PRIu64 " of region %u changed and is not dirty", page, i);
        }
    }
}

static void check_walk(rig *g, hart *h, rng *r) {
    walk_record record;
    const hart before = *h;
    const uint64_t address = chance(r, 60) ? virtual_address(r) : chance(r, 60) ? physical_address(r) : any(r);
    const uint32_t access = (uint32_t)below(r, 3);
    const int32_t mode = (int32_t)below(r, 6) - 1;
    const int64_t cause = hart_walk(h, address, access, mode, &record);
    total.walks++;
    CHECK(!memcmp(h, &before, sizeof before), "a walk changed the hart");
    CHECK(cause == record.cause && cause >= -1 && cause < 24, "a walk ended with %" PRId64, cause);
    CHECK(record.count < 64, "a walk of %u steps", record.count);
    CHECK(cause >= 0 || record.page_bits >= 12, "a page of %u bits", record.page_bits);
    for (uint32_t i = 0; i < record.count; i++) {
        const walk_step *s = &record.steps[i];
        CHECK(s->stage <= 1 && s->level <= 4 && s->result <= WALK_ACCESS, "walk step %u is damaged", i);
        CHECK(s->nested == 255 || (s->stage == 1 && s->nested <= 4), "walk step %u is nested in %u", i, s->nested);
    }
    (void)g;
}

static void check_alarm(rig *g, hart *h, uint64_t time) {
    uint64_t schedule[5];
    machine_schedule(g->m, schedule);
    const uint64_t tick = schedule[3], now = hart_time(h), clock = hart_clock_at_time(h, time);
    if (time <= now) CHECK(clock == h->clock, "time %" PRIu64 " is not now", time);
    else if (clock != NEVER)
        CHECK(clock % tick == 0 && clock > h->clock && clock / tick - h->clock / tick == time - now,
              "time %" PRIu64 " at clock %" PRIu64 ", now %" PRIu64 " at %" PRIu64, time, clock, now, h->clock);
}

/* Where the two first differ, or NULL. */
static const char *difference(const hart *a, const hart *b) {
#define SAME(field) if (memcmp(&a->field, &b->field, sizeof a->field)) return #field
    SAME(pc); SAME(x); SAME(f); SAME(clock); SAME(idle); SAME(prv); SAME(v); SAME(reservation); SAME(waiting);
    SAME(lines); SAME(guest_lines); SAME(mtimecmp); SAME(host_modes); SAME(halted); SAME(csr); SAME(trap_mark);
    SAME(trap_run); SAME(retired); SAME(traps); SAME(events); SAME(ring);
    SAME(guest); SAME(guests); SAME(guests_lost);
    if (shape.exact && !shape.stale) return NULL; /* one of them had more fences */
    SAME(contexts); SAME(known); SAME(misses);
#undef SAME
    return NULL;
}

static bool same_history(const hart_history *a, const hart_history *b) {
    return a->shift == b->shift && a->used == b->used && !memcmp(a->rows, b->rows, a->used * sizeof *a->rows);
}

static void note_events(const hart *a, const hart *b, uint64_t i) {
    const hart_event *const both[] = {&a->ring[i & 1023], &b->ring[i & 1023]};
    for (uint32_t j = 0; j < 2; j++)
        NOTE("  %s %u cause %u clock %" PRIu64 " pc %#" PRIx64 " value %#" PRIx64 " mode %u to %u%s", j ? ", " : "event",
             both[j]->kind, both[j]->cause, both[j]->clock, both[j]->pc, both[j]->value, both[j]->from_mode,
             both[j]->to_mode, j ? "\n" : "");
}

static void compare(rig *a, rig *b, const char *when) {
    uint64_t first[5], second[5];
    total.comparisons++;
    for (uint32_t i = 0; i < shape.harts; i++) {
        hart *const one = machine_hart(a->m, i), *const other = machine_hart(b->m, i);
        hart_settle(one);
        hart_settle(other);
        const char *what = difference(one, other);
        if (!what && !same_history(hart_past(one), hart_past(other))) what = "history";
        if (!what) continue;
        for (uint32_t j = 0; j < 32; j++)
            if (one->x[j] != other->x[j]) NOTE("  x%u %#" PRIx64 " %#" PRIx64 "\n", j, one->x[j], other->x[j]);
        for (uint64_t j = one->events < 20 ? 0 : one->events - 20; j < one->events; j++) note_events(one, other, j);
        fail("%s: hart %u differs in %s; pc %#" PRIx64 " and %#" PRIx64 ", clock %" PRIu64 " and %" PRIu64, when, i, what,
             one->pc, other->pc, one->clock, other->clock);
    }
    machine_schedule(a->m, first);
    machine_schedule(b->m, second);
    for (uint32_t i = 0; i < 5; i++)
        CHECK(first[i] == second[i], "%s: schedule[%u] is %" PRIu64 " and %" PRIu64, when, i, first[i], second[i]);
    for (uint32_t i = 0; i < shape.regions; i++) {
        if (memcmp(a->memory[i], b->memory[i], shape.region[i].size)) fail("%s: memory of region %u differs", when, i);
        const uint8_t *const one = machine_page_flags(a->m, shape.region[i].base);
        const uint8_t *const other = machine_page_flags(b->m, shape.region[i].base);
        for (uint64_t page = 0; page < shape.region[i].size / PAGE; page++)
            CHECK(!((one[page] ^ other[page]) & (WRITTEN | TOUCHED)), "%s: dirty flags of region %u page %" PRIu64, when, i, page);
    }
    CHECK(a->log == b->log, "%s: the exits differ", when);
}

/* --- running -------------------------------------------------------------------------------------------------------------------- */

/* The watched bytes of a range; NULL where it is too long to bother, or not of RAM. */
static const uint8_t *watched(rig *g, const watch *w) {
    const uint64_t offset = w->address - shape.region[RAM].base;
    return w->length <= sizeof w->content && offset < shape.region[RAM].size ? g->memory[RAM] + offset : NULL;
}

static void remember_watched(rig *g) {
    for (uint32_t i = 0; i < g->watches; i++)
        if (watched(g, &g->watch[i])) memcpy(g->watch[i].content, watched(g, &g->watch[i]), g->watch[i].length);
}

/* Watched bytes do not change unseen. Page-table walks are not watched: where tables may be anywhere, nothing is said. */
static void check_watches(rig *g, const hart_exit *out) {
    bool touched = false;
    for (uint32_t i = 0; i < g->watches; i++) {
        const watch *w = &g->watch[i];
        touched |= w->kinds & out->kind && out->address < w->address + w->length && w->address < out->address + out->size;
        if (!shape.exact || out->reason == EXIT_WATCHPOINT || !(w->kinds & WATCH_WRITE) || !watched(g, w)) continue;
        CHECK(!memcmp(w->content, watched(g, w), w->length), "watched bytes at %#" PRIx64 " changed unseen", w->address);
    }
    CHECK(out->reason != EXIT_WATCHPOINT || touched, "nothing is watched at %#" PRIx64, out->address);
}

static void look(rig *g, uint64_t value) { g->log = mix(g->log ^ value) + 1; }

/* What a device does besides answering. */
static void device_acts(rig *g, rng *r) {
    hart *h = some_hart(g, r);
    switch (below(r, 24)) {
    case 0: hart_wire(h, (uint32_t)below(r, 16), 1); break;
    case 1: hart_wire(h, (uint32_t)below(r, 16), 0); break;
    case 2: h->mtimecmp = hart_time(h) + below(r, 100); break;
    case 3: {
        const uint64_t length = 1 + below(r, 64), offset = below(r, shape.region[RAM].size - length);
        for (uint64_t i = 0; i < length; i++) g->memory[RAM][offset + i] = (uint8_t)next(r);
        changed(g, RAM, offset, length);
        break;
    }
    case 4:
    case 5:
        if (shape.exact && !shape.stale) break;
        for (uint32_t i = 0; i < 100; i++) {
            const uint64_t offset = table_page(r) * PAGE + 8 * index_of(r, 512), value = entry(r);
            memcpy(g->memory[TABLES] + offset, &value, 8);
        }
        changed(g, TABLES, 0, shape.region[TABLES].size);
        break;
    }
}

static bool in_device(uint64_t address) {
    for (uint32_t i = 0; i < shape.devices; i++)
        if (address - shape.device[i].base < shape.device[i].size) return true;
    return false;
}

/* One machine_run, and all that can be said of it. */
static void run_once(rig *g, uint64_t budget, uint64_t until, hart_exit *out) {
    uint64_t clocks[MOST_HARTS], modes[MOST_HARTS][5], schedule[5], instructions = 0, traps = 0;
    const uint64_t latest = greatest_clock(g);
    for (uint32_t i = 0; i < shape.harts; i++) {
        hart *h = machine_hart(g->m, i);
        hart_settle(h);
        clocks[i] = h->clock;
        memcpy(modes[i], h->retired, sizeof modes[i]);
    }
    machine_schedule(g->m, schedule);
    remember_watched(g);
    memset(out, 0xa5, sizeof *out);
    machine_run(g->m, budget, until, out);
    total.runs++;
    CHECK(out->reason <= EXIT_TRAP_LOOP, "exit %u", out->reason);
    check_watches(g, out);
    CHECK(out->hart < shape.harts, "exit of hart %u", out->hart);
    CHECK(out->executed <= budget, "%" PRIu64 " steps were taken of %" PRIu64, out->executed, budget);
    for (uint32_t i = 0; i < shape.harts; i++) {
        hart *h = machine_hart(g->m, i);
        check_hart(h);
        CHECK(h->clock >= clocks[i], "the clock of hart %u went back", i);
        hart_settle(h);
        for (uint32_t mode = 0; mode < 5; mode++) total.retired[mode] += h->retired[mode] - modes[i][mode];
        instructions += retired(h);
        traps += traps_of(h);
    }
    CHECK(instructions - g->instructions + traps - g->traps == out->executed,
          "%" PRIu64 " steps are reported, %" PRIu64 " instructions and %" PRIu64 " traps counted", out->executed,
          instructions - g->instructions, traps - g->traps);
    /* Several harts stop between rounds only. */
    if (until >= latest && until < NEVER - schedule[2])
        CHECK(greatest_clock(g) <= until + (shape.harts > 1 ? schedule[2] : 0), "clock %" PRIu64 " is past %" PRIu64,
              greatest_clock(g), until);
    g->instructions = instructions;
    g->traps = traps;
    if (out->executed) g->completing = false;
    total.steps += out->executed;
    total.exits[out->reason]++;
}

static void recount(rig *g) {
    g->instructions = g->traps = 0;
    for (uint32_t i = 0; i < shape.harts; i++) {
        const hart *h = machine_hart(g->m, i);
        g->instructions += retired(h);
        g->traps += traps_of(h);
    }
}

/* What must make no difference, to a machine that is not in the middle of a device access. */
static void disturb(rig *g, rng *r, uint64_t until) {
    hart *h = some_hart(g, r);
    uint64_t schedule[5], value;
    uint32_t mode;
    hart_exit out;
    switch (below(r, shape.exact && !shape.stale ? 16 : 15)) {
    case 0: hart_settle(h); break;
    case 1: check_walk(g, h, r); break;
    case 2: hart_next_interrupt(h, &mode); break;
    case 3:
        machine_schedule(g->m, schedule);
        machine_set_schedule(g->m, schedule);
        break;
    case 4: run_once(g, 0, until, &out); break;
    case 5: machine_stop(g->m); break;
    case 6: hart_csr_read(h, (uint32_t)below(r, 4200), &value); break;
    /* From here on decoded code is lost, or the quick forms of translations. */
    case 11:
        hart_settle(h);
        if (!g->completing) hart_refresh(h);
        break;
    case 12:
        /* As a restore does. */
        if (!g->completing) {
            hart_settle(h);
            const hart saved = *h;
            memset(h, 0x5a, sizeof *h);
            *h = saved;
            hart_refresh(h);
        }
        break;
    case 13: machine_breakpoint(g->m, 1, 0); break;
    case 14: machine_watch(g->m, shape.region[RAM].base + 1, 1, 0); break;
    case 15: hart_flush(h); break;
    }
}

static uint64_t quantum_of(rig *g) {
    uint64_t schedule[5];
    machine_schedule(g->m, schedule);
    return schedule[2];
}

/* Run to the end of the budget or time, answering exits. `strides` NULL: as far as it goes at once. */
static void drive(rig *g, uint64_t budget, uint64_t until, rng *strides) {
    const uint64_t granted = budget;
    const uint64_t typical = strides ? UINT64_C(1) << below(strides, 12) : 0;
    uint32_t exits = 0;
    for (;;) {
        uint64_t grant = budget, limit = until;
        hart_exit out;
        if (strides) {
            if (chance(strides, 40)) disturb(g, strides, until);
            if (grant > typical) grant = below(strides, typical + 1);
            if (budget && chance(strides, 20)) {
                limit = greatest_clock(g) + 1 + below(strides, 3000);
                if (limit > until) limit = until;
            }
        }
        run_once(g, grant, limit, &out);
        budget -= out.executed;
        if (out.reason == EXIT_BUDGET) {
            /* Time also passes without a budget, so the end is reached with the given limit only. */
            if (limit == until && (!budget || out.executed < grant)) return;
            CHECK(strides, "a run ended before its budget and its time");
            continue;
        }
        if (out.reason == EXIT_STOPPED) continue;
        const uint32_t what[] = {out.reason, out.hart, out.size, out.kind};
        for (uint32_t i = 0; i < COUNT(what); i++) look(g, what[i]);
        look(g, out.address);
        look(g, out.value);
        look(g, out.cause);
        look(g, granted - budget);
        NOTE("  %" PRIu64 ": exit %u hart %u address %#" PRIx64 " pc %#" PRIx64 " cause %#" PRIx64 "\n", granted - budget,
             out.reason, out.hart, out.address, machine_hart(g->m, out.hart)->pc, out.cause);
        switch (out.reason) {
        case EXIT_MMIO_READ:
        case EXIT_MMIO_WRITE: {
            rng r = {mix(seed) ^ g->accesses++};
            CHECK(budget, "a device access beyond the budget");
            CHECK(out.size && out.size <= 8 && !(out.size & (out.size - 1)) && !(out.address & (out.size - 1)),
                  "%u bytes of a device at %#" PRIx64, out.size, out.address);
            CHECK(in_device(out.address), "no device is at %#" PRIx64, out.address);
            machine_complete(g->m, any(&r));
            g->completing = true;
            device_acts(g, &r);
            continue; /* never leave between the access and its instruction */
        }
        case EXIT_BREAKPOINT:
            CHECK(out.address == machine_hart(g->m, out.hart)->pc, "breakpoint at %#" PRIx64, out.address);
            machine_skip_breakpoint(g->m);
            break;
        case EXIT_TRAP:
            CHECK(machine_hart(g->m, out.hart)->host_modes >> out.kind & 1, "trap into mode %u", out.kind);
            break;
        case EXIT_TRAP_LOOP:
            exits += MOST_EXITS / 8; /* it will not get better */
            break;
        case EXIT_IDLE:
            return;
        }
        if (++exits >= MOST_EXITS) return;
    }
}

/* --- acts of the caller ----------------------------------------------------------------------------------------------------------- */

static uint64_t csr_value(rng *r, uint32_t number) {
    const uint64_t handlers = shape.region[RAM].base + CODE;
    switch (number) {
    case CSR_MTVEC: return (handlers + (chance(r, 95) ? 0 : any(r))) | below(r, 4);
    case CSR_STVEC: return (handlers + 1024) | below(r, 4);
    case CSR_VSTVEC: return (handlers + 2048) | below(r, 4);
    case CSR_SATP:
    case CSR_VSATP:
        if (chance(r, 30)) return 0;
        return (8 + below(r, 3)) << 60 | (next(r) & 0xffff) << 44 | table_address(table_page(r)) >> 12;
    case CSR_HGATP: {
        const uint64_t mode = below(r, 4);
        if (mode == 3) return 0;
        return (8 + mode) << 60 | (next(r) & 0x3fff) << 44 | table_address(4 * mode) >> 12;
    }
    case CSR_STIMECMP:
    case CSR_VSTIMECMP: return below(r, 1000);
    }
    return any(r);
}

static void set_csr(rng *r, hart *h, uint32_t number) {
    uint64_t value;
    const uint64_t wanted = csr_value(r, number);
    const bool known = !hart_csr_read(h, number, &value);
    const int status = hart_csr_write(h, number, wanted);
    CHECK((status == 0) == (known && number >> 10 != 3), "writing CSR %#x: %d", number, status);
}

/* An address from which a mode executes the trap handler at `offset` of its page, if one is found. */
static uint64_t handler_address(rng *r, hart *h, int32_t mode, uint64_t offset) {
    const uint64_t physical = shape.region[RAM].base + CODE + offset;
    walk_record record;
    if (hart_walk(h, physical, 0, mode, &record) < 0 && record.physical == physical) return physical;
    for (uint32_t i = 0; i < 60; i++) {
        uint64_t address = virtual_address(r);
        if (hart_walk(h, address, 0, mode, &record) >= 0) continue;
        address += physical - record.physical;
        if (hart_walk(h, address, 0, mode, &record) < 0 && record.physical == physical) return address;
    }
    return 0;
}

/* Translation of all three kinds, with trap handlers that can be reached through it; else, often, none. */
static void set_translation(rng *r, hart *h) {
    set_csr(r, h, CSR_SATP);
    set_csr(r, h, CSR_VSATP);
    set_csr(r, h, CSR_HGATP);
    uint64_t handler = handler_address(r, h, 1, 1024);
    if (handler) hart_csr_write(h, CSR_STVEC, handler | (chance(r, 30) ? 1 : 0));
    else if (chance(r, 70)) hart_csr_write(h, CSR_SATP, 0);
    handler = handler_address(r, h, 3, 2048);
    if (handler) hart_csr_write(h, CSR_VSTVEC, handler | (chance(r, 30) ? 1 : 0));
    else if (chance(r, 70)) hart_csr_write(h, CSR_VSATP, 0);
}

/* A hart that has something to do: rights, handlers, interrupts, translation. */
static void set_up(rng *r, hart *h) {
    static const uint32_t often[] = {CSR_MTVEC, CSR_STVEC, CSR_VSTVEC};
    hart_csr_write(h, CSR_MSTATUS, any(r) | (chance(r, 85) ? MSTATUS_FS : 0));
    hart_csr_write(h, CSR_VSSTATUS, any(r) | (chance(r, 85) ? MSTATUS_FS : 0));
    for (uint32_t i = 0; i < COUNT(often); i++) set_csr(r, h, often[i]);
    hart_csr_write(h, CSR_MEDELEG, chance(r, 60) ? NEVER : any(r));
    hart_csr_write(h, CSR_HEDELEG, chance(r, 60) ? NEVER : any(r));
    hart_csr_write(h, CSR_MENVCFG, chance(r, 60) ? NEVER : any(r));
    hart_csr_write(h, CSR_HENVCFG, chance(r, 60) ? NEVER : any(r));
    hart_csr_write(h, CSR_MCOUNTEREN, any(r));
    hart_csr_write(h, CSR_HCOUNTEREN, any(r));
    hart_csr_write(h, CSR_PMPADDR0 + 15, NEVER);
    hart_csr_write(h, CSR_PMPCFG2, UINT64_C(0x1f) << 56);
    if (chance(r, 25)) {
        hart_csr_write(h, CSR_PMPADDR0 + (uint32_t)below(r, 8), physical_address(r) >> 2 | ((UINT64_C(1) << below(r, 12)) - 1));
        hart_csr_write(h, CSR_PMPCFG0, any(r));
    }
    if (chance(r, 50)) hart_csr_write(h, CSR_MIE, any(r));
    if (chance(r, 50)) {
        hart_csr_write(h, CSR_MIE, MIP_MTIP | MIP_STIP | MIP_VSTIP);
        hart_csr_write(h, CSR_MCOUNTEREN, NEVER);
        hart_csr_write(h, CSR_HCOUNTEREN, NEVER);
        hart_csr_write(h, CSR_STIMECMP, hart_time(h) + below(r, 50));
        hart_csr_write(h, CSR_VSTIMECMP, hart_time(h) + below(r, 50));
    }
    if (chance(r, 30)) h->mtimecmp = hart_time(h) + below(r, 200);
    if (chance(r, 80)) set_translation(r, h);
}

static void set_mode(rng *r, hart *h) {
    static const uint8_t modes[][2] = {{3, 0}, {1, 0}, {0, 0}, {1, 1}, {0, 1}};
    const uint8_t *mode = modes[below(r, COUNT(modes))];
    hart_set_mode(h, mode[0], mode[1]);
}

static void set_pc(rng *r, hart *h) {
    h->pc = (chance(r, 95) ? useful_address(r, h, 0) : any(r)) & ~UINT64_C(1);
}

static void set_registers(rng *r, hart *h) {
    static const uint64_t special[] = {
        0, 0x8000000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0x3ff0000000000000,
        0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0x3f800000, 0x00800000, 0x0010000000000000,
    };
    for (uint32_t i = 1; i < 32; i++) {
        const uint64_t kind = below(r, 10) + (i >= 8 && i < 16 ? 0 : 3);
        h->x[i] = kind < 4 ? useful_address(r, h, 1 + (uint32_t)below(r, 2)) : kind < 5 ? physical_address(r) : any(r);
        if (kind < 4 && chance(r, 80)) h->x[i] &= ~UINT64_C(7);
        h->f[i] = chance(r, 50) ? any(r) : chance(r, 50) ? next(r) : special[below(r, COUNT(special))];
        if (chance(r, 40)) h->f[i] |= UINT64_C(0xffffffff00000000);
    }
}

/* Any value that a restore accepts: the fields of the hart, and its CSRs within what a write could put there. */
static void scribble(rng *r, hart *h) {
    uint64_t value;
    for (uint32_t i = 0; i < 32; i++) h->x[i] = i ? any(r) : 0;
    for (uint32_t i = 0; i < COUNT(stored_fields); i++) {
        const stored_field *f = &stored_fields[i];
        if (chance(r, 50) || (shape.exact && f->translation)) continue;
        const uint64_t mask = f->width < 64 ? (UINT64_C(1) << f->width) - 1 : NEVER;
        uint64_t bits = (chance(r, 50) ? any(r) : next(r)) & mask & NEVER << f->align;
        if (f->legal)
            while (!(f->legal >> (bits & 63) & 1) || bits > 63) bits = below(r, 64) & mask;
        uint8_t *at = (uint8_t *)&h->csr + f->offset;
        value = 0;
        memcpy(&value, at, f->bytes);
        value = (value & ~(mask << f->low)) | bits << f->low;
        memcpy(at, &value, f->bytes);
    }
    h->reservation = chance(r, 50) ? any(r) : physical_address(r);
    h->waiting = chance(r, 80) ? (uint32_t)below(r, 2) : (uint32_t)any(r);
    h->lines = any(r);
    h->guest_lines = any(r);
    h->mtimecmp = any(r);
    h->host_modes = chance(r, 70) ? 0 : (uint32_t)any(r);
    h->trap_mark = any(r);
    h->trap_run = any(r);
    h->events = any(r);
    set_mode(r, h);
    h->pc = any(r) & ~UINT64_C(1);
    hart_refresh(h);
    if (shape.exact && !shape.stale) hart_flush(h); /* PMP is another, and may not let walks at the tables any more */
    if (chance(r, 70)) {
        set_mode(r, h);
        set_pc(r, h);
        set_registers(r, h);
    }
}

/* Clocks of several harts are within the present round's. */
static void set_clocks(rng *r, rig *g, uint64_t start, uint64_t quantum) {
    for (uint32_t i = 0; i < shape.harts; i++) {
        hart *h = machine_hart(g->m, i);
        hart_settle(h);
        h->clock = start + (shape.harts > 1 && chance(r, 50) ? below(r, quantum + 1) : 0);
        h->idle = chance(r, 50) ? h->clock / 3 : below(r, h->clock + 1);
        hart_refresh(h);
    }
}

static void set_schedule(rng *r, rig *g) {
    static const uint64_t quanta[] = {1, 2, 7, 100, 1000, 1000, 5000}, ticks[] = {1, 2, 10, 100, 100, 1000, UINT64_C(1) << 40, NEVER};
    uint64_t schedule[5];
    machine_schedule(g->m, schedule);
    const uint64_t quantum = chance(r, 95) ? quanta[below(r, COUNT(quanta))] : UINT64_C(1) << 32;
    if (shape.harts == 1 || greatest_clock(g) <= schedule[0] + quantum) schedule[2] = quantum;
    if (chance(r, 50)) schedule[3] = ticks[below(r, COUNT(ticks))];
    if (chance(r, 30)) schedule[4] = any(r);
    if (!shape.exact && chance(r, 30)) {
        schedule[0] = any(r) >> 3;
        schedule[1] = below(r, shape.harts);
        set_clocks(r, g, schedule[0], schedule[2]);
    }
    machine_set_schedule(g->m, schedule);
}

static void change_memory(rng *r, rig *g) {
    const uint32_t region = shape.exact ? RAM : (uint32_t)below(r, shape.regions);
    const uint64_t size = shape.region[region].size;
    const uint64_t offset = below(r, size) & ~UINT64_C(1), room = size - offset;
    const uint64_t length = chance(r, 80) ? 1 + below(r, room < 256 ? room : 256) : 1 + below(r, room);
    if (chance(r, 80)) write_program(r, g->memory[region] + offset, length & ~UINT64_C(1));
    else
        for (uint64_t i = 0; i < length; i++) g->memory[region][offset + i] = (uint8_t)next(r);
    changed(g, region, offset, length);
    if (!shape.exact && chance(r, 10)) machine_memory_changed(g->m, any(r), below(r, 1 << 20));
}

static void set_breakpoints(rng *r, rig *g) {
    const uint64_t count = chance(r, 3) ? 300 : below(r, 6);
    for (uint64_t i = 0; i < count; i++) {
        const hart *h = some_hart(g, r);
        uint64_t address = chance(r, 50) ? h->pc + 2 * below(r, 40) : shape.region[RAM].base + below(r, CODE);
        address &= ~UINT64_C(1);
        machine_breakpoint(g->m, address, chance(r, 60));
    }
    if (chance(r, 50)) machine_skip_breakpoint(g->m);
}

static void set_watches(rng *r, rig *g) {
    const uint64_t count = chance(r, 3) ? 100 : below(r, 4);
    for (uint64_t i = 0; i < count; i++) {
        watch w = {.address = physical_address(r), .length = chance(r, 90) ? below(r, 32) : any(r), .kinds = (uint32_t)below(r, 4)};
        uint32_t place = 0;
        walk_record record;
        hart *h = some_hart(g, r);
        if (chance(r, 60) && hart_walk(h, h->x[8 + below(r, 8)], 1, -1, &record) < 0)
            w = (watch){.address = record.physical, .length = 1 + below(r, 31), .kinds = 1 + (uint32_t)below(r, 3)};
        if (g->watches && chance(r, 20)) {
            w = g->watch[below(r, g->watches)];
            w.kinds = (uint32_t)below(r, 4);
        }
        if (machine_watch(g->m, w.address, w.length, w.kinds)) continue;
        while (place < g->watches && (g->watch[place].address != w.address || g->watch[place].length != w.length)) place++;
        if (!w.kinds && place < g->watches) g->watch[place] = g->watch[--g->watches];
        if (!w.kinds) continue;
        CHECK(place < COUNT(g->watch), "more than %zu ranges are watched", COUNT(g->watch));
        g->watch[place] = w;
        if (place == g->watches) g->watches++;
    }
}

static void act(rng *r, rig *g) {
    hart *h = some_hart(g, r);
    uint64_t value;
    switch (below(r, 30)) {
    case 0: case 1: case 2: set_csr(r, h, csr_number(r, !shape.exact)); break;
    case 3: case 4: set_mode(r, h); break;
    case 5: case 6: case 7: set_pc(r, h); break;
    case 8: case 9: set_registers(r, h); break;
    case 10: case 11: change_memory(r, g); break;
    case 12: set_breakpoints(r, g); break;
    case 13: set_watches(r, g); break;
    case 14: clear_dirty(g, (uint32_t)below(r, shape.regions)); break;
    case 15: set_schedule(r, g); break;
    case 16: h->mtimecmp = chance(r, 80) ? hart_time(h) + below(r, 100) : any(r); break;
    case 17: machine_sleep(g->m, greatest_clock(g) + below(r, 3000)); break;
    case 18: hart_wire(h, (uint32_t)below(r, 70), (int)below(r, 2)); break;
    case 19: h->guest_lines = any(r); break;
    case 20: h->host_modes = chance(r, 60) ? 0 : (uint32_t)below(r, 32); break;
    case 21: h->halted = chance(r, 25); break;
    case 22:
        if (chance(r, 20)) {
            uint64_t clock = h->clock;
            hart_reset(h, physical_address(r) & ~UINT64_C(1));
            h->clock = h->idle = clock;
            hart_refresh(h);
            set_up(r, h);
        }
        break;
    case 23: scribble(r, h); break;
    case 24: set_translation(r, h); break;
    case 25:
        write_tables(r, g->memory[TABLES]);
        changed(g, TABLES, 0, shape.region[TABLES].size);
        for (uint32_t i = 0; i < shape.harts && ((shape.exact && !shape.stale) || chance(r, 30)); i++)
            hart_flush(machine_hart(g->m, i));
        break;
    case 26: h->waiting = (uint32_t)below(r, 2); break;
    case 27: machine_stop(g->m); break;
    case 28: set_up(r, h); break;
    case 29:
        if (!shape.exact && chance(r, 30)) machine_sleep(g->m, any(r) >> 2);
        break;
    }
    for (uint32_t i = 0; i < 4; i++) {
        check_walk(g, h, r);
        check_alarm(g, h, any(r));
    }
    CHECK(hart_csr_read(h, 0x1000 + (uint32_t)below(r, 5000), &value), "a CSR number beyond 4095");
    check_csrs(h);
}

/* A new machine in the state of `g`. */
static rig *copy_of(rig *g) {
    rig *const fresh = new_rig();
    uint64_t schedule[5];
    for (uint32_t i = 0; i < shape.regions; i++) {
        memcpy(fresh->memory[i], g->memory[i], shape.region[i].size);
        memcpy(fresh->clean[i], g->clean[i], shape.region[i].size);
        memcpy(machine_page_flags(fresh->m, shape.region[i].base), machine_page_flags(g->m, shape.region[i].base),
               shape.region[i].size / PAGE);
    }
    for (uint32_t i = 0; i < shape.regions; i++)
        for (uint64_t page = 0; page < shape.region[i].size / PAGE; page++)
            machine_page_flags(fresh->m, shape.region[i].base)[page] &= WRITTEN | TOUCHED;
    for (uint32_t i = 0; i < shape.harts; i++) {
        hart_settle(machine_hart(g->m, i));
        *machine_hart(fresh->m, i) = *machine_hart(g->m, i);
        *hart_past(machine_hart(fresh->m, i)) = *hart_past(machine_hart(g->m, i));
        hart_refresh(machine_hart(fresh->m, i));
    }
    machine_schedule(g->m, schedule);
    machine_set_schedule(fresh->m, schedule);
    fresh->accesses = g->accesses;
    fresh->log = g->log;
    fresh->instructions = g->instructions;
    fresh->traps = g->traps;
    return fresh;
}

/* --- a case --------------------------------------------------------------------------------------------------------------------------- */

static void prepare(rng *r, rig *g) {
    for (uint32_t i = 0; i < shape.regions; i++) {
        if (chance(r, 50))
            for (uint64_t j = 0; j + 8 <= shape.region[i].size; j += 8) memcpy(g->memory[i] + j, &(uint64_t){next(r)}, 8);
        if (i == RAM || i == ROM) {
            if (chance(r, 95)) write_program(r, g->memory[i], CODE);
            write_handlers(r, g->memory[i] + CODE);
        }
        if (i == TABLES) write_tables(r, g->memory[i]);
        changed(g, i, 0, shape.region[i].size);
        if (chance(r, 50)) clear_dirty(g, i);
    }
    if (chance(r, 70)) {
        const uint64_t start = chance(r, 70) ? 0 : next(r) >> 3, quantum = 1 + below(r, 2000);
        const uint64_t schedule[5] = {start, below(r, shape.harts), quantum, 1 + below(r, 200), chance(r, 80) ? 0 : any(r)};
        set_clocks(r, g, start, quantum);
        machine_set_schedule(g->m, schedule);
    }
    for (uint32_t i = 0; i < shape.harts; i++) {
        hart *h = machine_hart(g->m, i);
        set_up(r, h);
        set_mode(r, h);
        set_pc(r, h);
        set_registers(r, h);
    }
}

static void run_case(void) {
    rng r = {mix(seed + 1)}, strides = {mix(seed ^ 0x5eed)};
    choose_shape(&r);
    rig *rigs[2] = {new_rig(), shape.alone ? NULL : new_rig()};
    const uint32_t count = shape.alone ? 1 : 2;
    NOTE("seed %" PRIu64 ": %s, %u harts\n", seed, shape.stale ? "stale" : shape.exact ? "exact" : "loose", shape.harts);
    const rng initial = {next(&r)};
    for (uint32_t i = 0; i < count; i++) {
        rng own = initial;
        prepare(&own, rigs[i]);
    }
    const uint32_t rounds = 1 + (uint32_t)below(&r, 8);
    bool plain = true; /* neither breakpoints nor watches, which a copy would lack */
    for (uint32_t round = 0; round < rounds; round++) {
        const uint32_t acts = round ? (uint32_t)below(&r, 5) : 0;
        for (uint32_t i = 0; i < acts; i++) {
            const rng same = {next(&r)};
            rng peek = same;
            some_hart(rigs[0], &peek);
            const uint64_t what = below(&peek, 30);
            if (what == 12 || what == 13) plain = false;
            NOTE(" act %" PRIu64 "\n", what);
            for (uint32_t j = 0; j < count; j++) {
                rng own = same;
                act(&own, rigs[j]);
                recount(rigs[j]);
            }
        }
        if (count == 2) {
            if (plain && chance(&r, 20)) {
                free_rig(rigs[1]);
                rigs[1] = copy_of(rigs[0]);
            }
            compare(rigs[0], rigs[1], "before a run");
        }
        static const uint64_t budgets[] = {0, 1, 2, 10, 100, 1000, 5000, 5000, 20000, NEVER};
        uint64_t budget = budgets[below(&r, COUNT(budgets))];
        const uint64_t clock = greatest_clock(rigs[0]);
        uint64_t until = chance(&r, 70) ? NEVER : chance(&r, 80) ? clock + below(&r, 5000) : below(&r, clock + 1);
        if (budget == NEVER && until == NEVER) until = clock + below(&r, 20000);
        if (budget == NEVER && quantum_of(rigs[0]) > 5000) budget = 20000; /* several harts stop between rounds only */
        NOTE(" run %" PRIu64 " until %" PRIu64 ", clock %" PRIu64 "\n", budget, until, clock);
        for (uint32_t i = 0; i < count; i++) {
            recount(rigs[i]);
            drive(rigs[i], budget, until, i || (count == 1 && chance(&r, 50)) ? &strides : NULL);
            check_dirty(rigs[i]);
            for (uint32_t j = 0; j < shape.harts; j++) check_csrs(machine_hart(rigs[i]->m, j));
        }
        if (count == 2) compare(rigs[0], rigs[1], "after a run");
    }
    for (uint32_t i = 0; i < shape.harts; i++) {
        const hart *h = machine_hart(rigs[0]->m, i);
        for (uint32_t mode = 0; mode < 5; mode++)
            for (uint32_t cause = 0; cause < 128; cause++) total.traps[mode][cause] += h->traps[mode][cause];
    }
    for (uint32_t i = 0; i < count; i++) free_rig(rigs[i]);
    total.cases++;
    total.exact += shape.exact;
}

/* A hart whose translation is stale while decoded code overflows: the page of pc is another then, and one that PMP cuts. */
static void overflow_with_stale_translation(void) {
    enum { ROOT = 1 * PAGE, MIDDLE = 2 * PAGE, LAST = 3 * PAGE, BEFORE = 4 * PAGE, AFTER = 5 * PAGE, SIZE = 6 * PAGE };
    const uint64_t base = 0x80000000, pointer = PTE_V, page = 0xcf;
    uint8_t *memory = calloc(1, SIZE);
    machine *m = machine_new(1);
    if (!memory || !m || machine_add_region(m, base, SIZE, memory, 1)) fail("no memory");
    hart *h = machine_hart(m, 0);
    hart_exit out;
    memcpy(memory + ROOT, &(uint64_t){(base + MIDDLE) >> 2 | pointer}, 8);
    memcpy(memory + MIDDLE, &(uint64_t){(base + LAST) >> 2 | pointer}, 8);
    memcpy(memory + LAST, &(uint64_t){(base + BEFORE) >> 2 | page}, 8);
    for (uint32_t i = 0; i < PAGE; i += 2) {
        memcpy(memory + BEFORE + i, &(uint16_t){0xa009}, 2); /* c.j .+2: a block each */
        memcpy(memory + AFTER + i, &(uint16_t){0x0001}, 2);  /* c.nop */
    }
    hart_csr_write(h, CSR_PMPADDR0, (base + AFTER + 2048) >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 1, (base + AFTER + 2052) >> 2);
    hart_csr_write(h, CSR_PMPADDR0 + 2, NEVER);
    hart_csr_write(h, CSR_PMPCFG0, 0x1f0800); /* nothing in four bytes, everything elsewhere */
    hart_csr_write(h, CSR_SATP, UINT64_C(8) << 60 | (base + ROOT) >> 12);
    hart_set_mode(h, 1, 0);
    h->pc = 0;
    machine_run(m, 100, NEVER, &out);
    CHECK(h->pc == 200, "a slide of jumps leads to %#" PRIx64, h->pc);
    memcpy(memory + LAST, &(uint64_t){(base + AFTER) >> 2 | page}, 8);
    machine_memory_changed(m, base + LAST, 8);
    machine_run(m, 1500, NEVER, &out);
    CHECK(out.executed == 1500, "%" PRIu64 " steps of 1500", out.executed);
    machine_free(m);
    free(memory);
}

static void summary(void) {
    static const char *const modes[] = {"M", "HS", "U", "VS", "VU"};
    printf("cases %" PRIu64 ", exact %" PRIu64 ", comparisons %" PRIu64 ", runs %" PRIu64 ", steps %" PRIu64 ", walks %" PRIu64 "\n",
           total.cases, total.exact, total.comparisons, total.runs, total.steps, total.walks);
    printf("exits by reason:");
    for (uint32_t i = 0; i <= EXIT_TRAP_LOOP; i++) printf(" %" PRIu64, total.exits[i]);
    printf("\n");
    for (uint32_t mode = 0; mode < 5; mode++) {
        printf("%-2s retired %" PRIu64 ", traps by cause:", modes[mode], total.retired[mode]);
        for (uint32_t cause = 0; cause < 128; cause++)
            if (total.traps[mode][cause])
                printf(" %s%u:%" PRIu64, cause < 64 ? "" : "i", cause & 63, total.traps[mode][cause]);
        printf("\n");
    }
}

/* fuzz_hart FIRST COUNT SECONDS [v]: cases from seed FIRST on, until COUNT are done or SECONDS have passed. */
int main(int argc, char **argv) {
    if (argc < 4) return 2;
    seed = strtoull(argv[1], NULL, 0);
    const uint64_t count = strtoull(argv[2], NULL, 0);
    const time_t end = time(NULL) + (time_t)strtoll(argv[3], NULL, 0);
    verbose = argc > 4;
    if (verbose) setvbuf(stdout, NULL, _IOLBF, 0);
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(say_seed);
    signal(SIGVTALRM, on_signal);
    signal(SIGILL, on_signal);
    overflow_with_stale_translation();
    time_t told = time(NULL);
    for (; total.cases < count && time(NULL) < end; seed++) {
        const struct itimerval limit = {.it_value.tv_sec = HANG_SECONDS};
        setitimer(ITIMER_VIRTUAL, &limit, NULL);
        run_case();
        if (time(NULL) - told < 30) continue;
        told = time(NULL);
        printf("seed %" PRIu64 ", %" PRIu64 " cases, %" PRIu64 " steps\n", seed, total.cases, total.steps);
        fflush(stdout);
    }
    setitimer(ITIMER_VIRTUAL, &(struct itimerval){0}, NULL);
    summary();
    printf("no failure, next seed %" PRIu64 "\n", seed);
    return 0;
}
