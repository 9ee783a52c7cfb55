/* echo: reads lines from the console, with the editing keys of a terminal, and answers. It sleeps between looks. */
#include "common/guest.h"

#define LONGEST 72
#define NAP (TICKS_PER_SECOND / 100)

enum { CTRL_C = 3, BACKSPACE = 8, ENTER = 13, CTRL_U = 21, ESCAPE = 27, DELETE = 127 };

/* The next byte from the console. Nothing interrupts a guest without an interrupt controller when a key is pressed, so
 * look a hundred times a second and let the hart sleep in between. */
static int next_key(void)
{
    int key;
    while ((key = console_read()) < 0) {
        set_timer(now() + NAP);
        wait_for_interrupt();
    }
    return key;
}

/* Cursor keys and the like arrive as ESC [ ... letter: swallowed whole. */
static void skip_sequence(void)
{
    if (next_key() == '[')
        for (int key = next_key(); key < '@' || key > '~'; key = next_key())
            ;
}

static void erase(size_t *length, size_t count)
{
    for (; count > 0 && *length > 0; count--, --*length)
        print("\b \b");
}

static void read_line(char line[LONGEST + 1])
{
    size_t length = 0;

    print("echo> ");
    for (;;) {
        int key = next_key();
        switch (key) {
        case ENTER:
        case '\n':
            print("\n");
            line[length] = 0;
            return;
        case BACKSPACE:
        case DELETE:
            erase(&length, 1);
            break;
        case CTRL_U:
            erase(&length, length);
            break;
        case CTRL_C:
            print("^C\n");
            line[0] = 0;
            return;
        case ESCAPE:
            skip_sequence();
            break;
        default:
            if (key >= ' ' && length < LONGEST) {
                line[length++] = (char)key;
                print("%c", key);
            }
        }
    }
}

/* When the line is this command: where its argument begins. */
static const char *command(const char *line, const char *name)
{
    for (; *name; line++, name++)
        if (*line != *name)
            return NULL;
    if (*line && *line != ' ')
        return NULL;
    while (*line == ' ')
        line++;
    return line;
}

static uint64_t number(const char *text)
{
    uint64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        value = value * 10 + (uint64_t)(*text - '0');
    return value;
}

/* Twice this many million instructions, in a loop that does nothing. */
static void spin(uint64_t millions)
{
    for (uint64_t left = millions * 1000000; left > 0; left--)
        __asm__ volatile("");
}

static void answer(const char *line)
{
    size_t length = 0;

    while (line[length])
        length++;
    print("  ");
    while (length > 0) {
        char c = line[--length];
        print("%c", c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    print("\n");
}

int main(uint64_t hart)
{
    char line[LONGEST + 1];
    const char *argument;

    csr_set(sie, TIMER);            /* wakes the WFI; sstatus.SIE stays clear, so there is no trap */
    print("echo: type a line, or help\n");
    for (;;) {
        read_line(line);
        if (!*line)
            continue;
        if (command(line, "help"))
            print("  help      this\n"
                  "  time      seconds since the machine began\n"
                  "  regs      a few registers\n"
                  "  spin N    keep the hart busy for N million rounds\n"
                  "  quit      switch off\n"
                  "  any other line comes back reversed and in capitals\n");
        else if (command(line, "time"))
            print("  %lu.%03lu s\n", now() / TICKS_PER_SECOND, now() / (TICKS_PER_SECOND / 1000) % 1000);
        else if (command(line, "regs"))
            print("  hart %lu  sp %lx  sstatus %lx  sie %lx  satp %lx\n", hart, (uint64_t)__builtin_frame_address(0),
                  csr_read(sstatus), csr_read(sie), csr_read(satp));
        else if ((argument = command(line, "spin"))) {
            uint64_t began = now();
            spin(number(argument));
            print("  took %lu us\n", (now() - began) / (TICKS_PER_SECOND / 1000000));
        } else if (command(line, "quit"))
            return 0;
        else
            answer(line);
    }
}
