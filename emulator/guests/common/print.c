/* A small printf. Text is gathered in a buffer, so that a line costs one console call and not one per character. */
#include <stdarg.h>

#include "guest.h"

struct buffer { size_t used; char text[120]; };

static void flush(struct buffer *out)
{
    console_write(out->text, out->used);
    out->used = 0;
}

static void put(struct buffer *out, char c)
{
    if (out->used + 2 > sizeof out->text)
        flush(out);
    if (c == '\n')
        out->text[out->used++] = '\r';
    out->text[out->used++] = c;
}

static void pad(struct buffer *out, char with, int count)
{
    while (count-- > 0)
        put(out, with);
}

/* Writes the digits at the end of a 24-byte field and returns where they begin. */
static const char *digits(char field[24], uint64_t value, unsigned base)
{
    char *p = field + 23;
    *p = 0;
    do {
        *--p = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    return p;
}

void print(const char *format, ...)
{
    struct buffer out;
    va_list arguments;

    out.used = 0;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(&out, *format);
            continue;
        }
        bool left = false, wide = false, negative = false;
        char fill = ' ', field[24];
        int width = 0;
        for (format++; *format == '-' || *format == '0'; format++) {
            if (*format == '-')
                left = true;
            else
                fill = '0';
        }
        for (; *format >= '0' && *format <= '9'; format++)
            width = width * 10 + (*format - '0');
        for (; *format == 'l'; format++)
            wide = true;

        const char *text = field;
        switch (*format) {
        case 's':
            text = va_arg(arguments, const char *);
            break;
        case 'c':
            field[0] = (char)va_arg(arguments, int);
            field[1] = 0;
            break;
        case 'd': {
            int64_t value = wide ? va_arg(arguments, int64_t) : va_arg(arguments, int);
            negative = value < 0;
            text = digits(field, negative ? -(uint64_t)value : (uint64_t)value, 10);
            break;
        }
        case 'u':
        case 'x':
            text = digits(field, wide ? va_arg(arguments, uint64_t) : va_arg(arguments, unsigned),
                          *format == 'x' ? 16 : 10);
            break;
        default:
            field[0] = *format;
            field[1] = 0;
        }

        for (const char *p = text; *p; p++)
            width--;
        width -= negative;
        if (negative && fill == '0')
            put(&out, '-');
        if (!left)
            pad(&out, fill, width);
        if (negative && fill == ' ')
            put(&out, '-');
        while (*text)
            put(&out, *text++);
        if (left)
            pad(&out, ' ', width);
    }
    va_end(arguments);
    flush(&out);
}
