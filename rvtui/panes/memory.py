"""Memory: bytes and their text, words or pointers, at an address in any space, with where each page leads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from textual import events
from textual.binding import Binding, BindingType

from emulator.hart import Mode
from emulator.loader import Symbols
from emulator.machine import Machine
from emulator.stops import Space, Touch
from rvtui.commands.memory import Look
from rvtui.commands.registry import Context
from rvtui.commands.values import place_of
from rvtui.hexview import Part, parts, rights, text_of, way
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.since import Since
from rvtui.spaces import Place
from rvtui.stops import set_in
from rvtui.subjects import WORD, Subject, selected_vcpu, subject_name, symbols_of
from rvtui.text import Line, Span, clean

VIEWS: Final = ("bytes", "8 bit", "16 bit", "32 bit", "64 bit", "pointers")
_SIZES: Final = {"bytes": 1, "8 bit": 1, "16 bit": 2, "32 bit": 4, "64 bit": 8, "pointers": 8}
_LETTERS: Final = {1: "b", 2: "h", 4: "w", 8: "g"}
POINTER: Final = 8
_BLOCK: Final = 8
"""Bytes whose former content is kept together; rows begin at multiples of it."""
HISTORY: Final = 100


@dataclass(frozen=True)
class Watched:
    """A watch on addresses of the space that is shown."""

    number: int
    start: int
    size: int
    enabled: bool

    def holds(self, address: int, size: int = 1) -> bool:
        return self.start < address + size and address < self.start + self.size


@dataclass(frozen=True)
class Seen:
    """What a window of `length` bytes from `top` on holds; `place` is where the expression leads."""

    place: Place
    top: int
    length: int
    parts: tuple[Part, ...]
    symbols: Symbols
    watches: tuple[Watched, ...]
    name: str
    asked: tuple[Look, int | None]
    """What was asked for: an answer may come when something else is wanted."""

    def part(self, address: int) -> Part | None:
        return next((each for each in self.parts if (address - each.address) & WORD < each.size), None)

    def row(self, address: int, size: int) -> bytes | None:
        """None where it is not all in one part that is memory."""
        part = self.part(address)
        at = address - part.address if part is not None else 0
        return None if part is None or part.data is None or at + size > part.size else part.data[at : at + size]

    def bytes(self, address: int, size: int) -> bytes | None:
        """None where not all of it was read, or is there."""
        data = b""
        while len(data) < size:
            part = self.part((address + len(data)) & WORD)
            if part is None or part.data is None:
                return None
            at = (address + len(data) - part.address) & WORD
            data += part.data[at : at + size - len(data)]
        return data


def read_memory(context: Context, look: Look, base: int | None, offset: int, per: int, rows: int) -> Reader:
    """`rows` rows of `per` bytes, `offset` bytes from the row that holds `base`; without one, what the expression is
    worth now."""

    def read(machine: Machine, subject: Subject) -> Seen:
        place = place_of(context, look.text, look.space or "va")
        if base is not None:
            place = replace(place, address=base)
        top = (place.address & -per) + offset & WORD
        length = min(rows * per, WORD + 1 - top)
        window = replace(place, address=top)
        found = tuple(parts(window, length))
        return Seen(
            place, top, length, found, symbols_of(machine, place.subject), tuple(_watches(machine, place, found)),
            subject_name(machine, place.subject), (look, base),
        )  # fmt: skip

    return read


def _watches(machine: Machine, place: Place, found: tuple[Part, ...]) -> Iterator[Watched]:
    """Those that watch bytes of the window, by whichever address they were asked for."""
    vm, _ = selected_vcpu(machine, place.subject)
    for stop in set_in(machine):
        what = stop.what
        if not isinstance(what, Touch) or (vm is not None and not what.scope.of_guest(Mode.VS, vm.hgatp)):
            continue
        for part in found:
            trail = part.trail
            own = {
                Space.VIRTUAL: part.address if place.space == "va" else None,
                Space.GUEST: part.address if place.space == "gpa" else trail.guest_physical,
                Space.PHYSICAL: part.address if place.space == "pa" else trail.physical,
            }[what.space]
            if own is not None and own < what.address + what.length and what.address < own + part.size:
                start = (what.address - own + part.address) & WORD
                yield Watched(stop.number, start, what.length, stop.enabled)


class MemoryPane(Pane):
    NAME = "memory"
    WIDE = True
    TOLD_BY = "hexdump pc 256"
    TITLE = "Memory"
    KEY = "X"
    HELP = (
        "Bytes and their text at an address of what is looked at; above them where the byte under the cursor is"
        " (va -> gpa -> pa), what the leaves of each stage allow, and whose it is. What does not translate says at"
        " which stage and why; devices are named, never read. v changes to words of 1, 2, 4, 8 bytes and to pointers"
        " with their symbols, p to the same byte by guest-physical and by physical address. a asks for an address (an"
        " expression: sp, *ptr, symbol+8, gpa:..., ticker:...), o stays at it as its value changes. Enter follows the"
        " pointer under the cursor, Backspace goes back, home returns to the address. / searches from the cursor on"
        ' ("text", hex:13??00, a number; again with / Enter). i writes over bytes, in the text column (t, or Tab'
        " meanwhile) over text; Backspace takes the last one back, Escape ends. y sets or removes a watch on the word"
        " at the cursor, marked ● and underlined. What changed since the last stop is bold with a *. In other panes p"
        " brings the address under their cursor here. w walks it. Looking changes nothing."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "shift(-1)", "the byte to the left", show=False, id="memory.left"),
        Binding("right,l", "shift(1)", "the byte to the right", show=False, id="memory.right"),
        Binding("home,g", "home", "back to the address", show=False),
        Binding("end,G", "end", "to the end of the row", show=False),
        Binding("v", "view", "bytes, words or pointers", show=False),
        Binding("p", "space", "by virtual, guest-physical or physical address", show=False),
        Binding("a", "ask_address", "another address: an expression", show=False),
        Binding("o", "follow", "stay at the expression", show=False),
        Binding("slash", "search", "find bytes, a text or a number", show=False),
        Binding("i", "edit", "write over bytes or text", show=False),
        Binding("t", "column", "bytes or text", show=False),
        Binding("y", "watch", "set or remove a watch on the word", show=False),
        Binding("backspace", "back", "back from a pointer", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.look = Look("pc", follow=True)
        self.view = VIEWS[0]
        self.at = 0
        """The address under the cursor."""
        self.text_column = False
        self.editing = False
        self.seen: Seen | None = None
        self._base: int | None = None
        self._offset = 0
        self._typed = ""
        """Digits of a value that is not complete."""
        self._undo: list[tuple[int, int, int]] = []
        """Addresses that were written, what stood there, and its bytes."""
        self._back: list[tuple[Look, int | None, int, int]] = []
        self._sought = ""
        self._virtual: tuple[int, int] | None = None
        """A physical address and the virtual one that led to it."""
        self._wanted: object = None
        self._since: Since[int, bytes] = Since()

    # Reading.

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        per, rows = self._per(), max(1, self.rows - self._head)
        self._wanted = (self.look, self._base, self._offset, per, rows)
        reader = read_memory(self.application.commanding, *self._asked, self._offset, per, rows)
        return {"memory": (reader, 0.1)}

    @property
    def _asked(self) -> tuple[Look, int | None]:
        return self.look, None if self.look.follow else self._base

    @property
    def _head(self) -> int:
        return 2 if self.rows >= 6 else 1

    @property
    def _digits(self) -> int:
        last = self.seen.top + self.seen.length - 1 if self.seen is not None else 0
        return max(8, len(f"{last:x}"))

    def _per(self) -> int:
        """Bytes in a row."""
        if self.view == "pointers":
            return POINTER
        for per in (32, 16):
            if self._width(per) <= self.columns:
                return per
        return 8

    def _width(self, per: int) -> int:
        unit = _SIZES[self.view]
        text = per + 1 if self.view == "bytes" else 0
        return self._start + per // unit * (2 * unit + 1) + per // 8 - 1 + text

    @property
    def _start(self) -> int:
        """The column of the first byte: behind the mark and the address."""
        return 2 + self._digits + 2

    def ask(self, look: Look, *, back: bool = True) -> None:
        """Show something else; Backspace comes back."""
        if back:
            self._back = [*self._back[1 - HISTORY :], (self.look, self._base, self._offset, self.at)]
        self.look, self._base, self._offset, self.seen = look, None, 0, None
        if look.sought:
            self._sought = look.sought
        self._stop_editing()
        self._again()

    def _again(self) -> None:
        self.application.resubscribe(self)

    # Drawing.

    def draw(self, view: View) -> list[Line] | None:
        seen = view.get("memory")
        if not isinstance(seen, Seen) or seen.asked != self._asked:
            return None
        self.seen = seen
        if self._base is None or (self.look.follow and seen.place.address != self._base):
            fresh = self._base is None
            self._base = seen.place.address
            self.at = self._base if self.look.cursor is None or not fresh else self.look.cursor
            if self._offset and not fresh:
                self._offset = 0
            self._again()
        elif self._wanted != (self.look, self._base, self._offset, self._per(), max(1, self.rows - self._head)):
            self._again()
        of = (id(self.application.session.machine), seen.place.subject, seen.place.space)
        self._since.see(view, of, _blocks(seen))
        self._entitle(seen)
        per = self._per()
        lines = self._head_lines(seen)[: self._head]
        told: Part | None = None
        for row in range(max(0, self.rows - self._head)):
            address = self._top + row * per
            if address > WORD:
                break
            line, told = self._row_line(seen, address, per, told)
            lines.append(line)
        return lines

    @property
    def _top(self) -> int:
        return ((self._base or 0) & -self._per()) + self._offset & WORD

    def changed(self, address: int, size: int = 1) -> bool:
        """Whether bytes are others than when the machine last stood. A value lies in one block."""
        seen, before = self.seen, self._since.before.get(address & -_BLOCK)
        data = seen.bytes(address, size) if seen is not None else None
        if before is None or data is None:
            return False
        at = address % _BLOCK
        return before[at : at + size] != data[: len(before) - at]

    def _entitle(self, seen: Seen) -> None:
        sign = "→ " if self.look.follow else ""
        edits = "  WRITING" if self.editing else ""
        self.entitle(f"{sign}{clean(self.look.text, 32)}  {seen.place.space} of {clean(seen.name, 20)}{edits}")

    def _head_lines(self, seen: Seen) -> list[Line]:
        part = seen.part(self.at)
        if part is None:
            return [(("reading", "dim"),), ()]
        ahead = (self.at - part.address) & WORD
        trail = part.trail
        moved = replace(
            trail,
            guest_physical=None if trail.guest_physical is None else trail.guest_physical + ahead,
            physical=None if trail.physical is None else trail.physical + ahead,
        )
        first: list[Span] = []
        for space, digits in way(seen.place.space, self.at, moved):
            first += [(" → ", "dim")] if first else []
            first += [(f"{space} ", "label"), (digits, "bold")]
        second: list[Span] = []
        if part.region:
            second.append((f"{clean(part.region)}  ", "label" if part.data is not None else "warn"))
        name = seen.symbols.lookup(self.at) if seen.place.space == "va" else None
        if name:
            second.append((f"{clean(name, 40)}  ", "accent"))
        if part.data is None:
            (second if self._head > 1 else first).append((f"{trail.brief}  ", "warn"))
        elif trail.walk is not None and trail.walk.physical is None and trail.walk.cause in (20, 21, 23):
            second.append(("not mapped yet by the hypervisor  ", "dim"))
        if trail.note:
            second.append((f"{trail.note}  ", "warn"))
        for stage, bits in rights(trail.walk):
            second += [(f"{stage} ", "label"), (f"{bits}  ", "")]
        watched = [f"● {each.number}" for each in seen.watches if each.holds(self.at)]
        if watched:
            second.append((f"watched {' '.join(watched)}", "bad bold"))
        return [tuple(first), tuple(second)]

    def _row_line(self, seen: Seen, address: int, per: int, told: Part | None) -> tuple[Line, Part | None]:
        """A row, and the part whose reason it tells."""
        watches = [each for each in seen.watches if each.holds(address, per)]
        mark = "●" if any(each.enabled for each in watches) else "○" if watches else " "
        spans = _Spans()
        spans.add(f"{mark} ", "bad bold")
        here = address <= self.at < address + per
        spans.add(f"{address:0{self._digits}x}  ", "bold" if here else "label")
        part = seen.part(address)
        if part is not None and part.data is None and (seen.part(address + per - 1) or part) is part:
            if part is told:
                spans.add(" ·", "faint")
            else:
                spans.add(f"{part.trail.brief}", "warn")
            return spans.line, part
        if self.view == "pointers":
            self._pointer(spans, seen, address, watches)
        else:
            self._cells(spans, seen, address, per, watches)
        return spans.line, None

    def _cells(self, spans: _Spans, seen: Seen, address: int, per: int, watches: list[Watched]) -> None:
        unit = _SIZES[self.view]
        row, before = seen.row(address, per), self._row_before(address, per)
        same = row is not None and before in (None, row)
        plain = same and not watches and not address <= self.at < address + per
        letters: list[tuple[str, str]] = []
        for at in range(0, per, unit):
            if at and not at % 8:
                spans.add(" ", "")
            data = row[at : at + unit] if row is not None else seen.bytes(address + at, unit)
            changed = not plain and self.changed(address + at, unit)
            style = "faint" if data is not None and not any(data) else ""
            style = style if plain else self._style(address + at, unit, style, False, changed, watches)
            self._cell(spans, data, address + at, unit, style, changed)
            if self.view == "bytes":
                style = "" if data is None or 0x20 <= data[0] < 0x7F else "faint"
                style = style if plain else self._style(address + at, 1, style, True, changed, watches)
                letters.append((text_of(data) if data is not None else " ", style))
        if letters:
            spans.add(" ", "")
            for letter, style in letters:
                spans.add(letter, style)

    def _row_before(self, address: int, per: int) -> bytes | None:
        """What a row was when the machine last stood; None where not all of it was seen."""
        blocks = [self._since.before.get(at) for at in range(address, address + per, _BLOCK)]
        return None if None in blocks else b"".join(block for block in blocks if block is not None)

    def _style(self, at: int, size: int, style: str, text: bool, changed: bool, watches: list[Watched]) -> str:
        if changed:
            style = "changed bold"
        if any(each.holds(at, size) for each in watches):
            style += " underline"
        if at <= self.at < at + size:
            style = style.replace("faint", "") + (" reverse bold" if text == self.text_column else " select bold")
        return style.strip()

    def _cell(self, spans: _Spans, data: bytes | None, at: int, unit: int, style: str, changed: bool) -> None:
        digits = f"{int.from_bytes(data, 'little'):0{2 * unit}x}" if data is not None else "·" * (2 * unit)
        if self._typed and at <= self.at < at + unit:
            digits = self._typed.ljust(2 * unit, "_")
        spans.add(digits, style)
        if changed:
            spans.add("*", "changed bold")
        else:
            spans.add(" ", style if style in ("", "faint") else "")

    def _pointer(self, spans: _Spans, seen: Seen, address: int, watches: list[Watched]) -> None:
        data, changed = seen.bytes(address, POINTER), self.changed(address, POINTER)
        style = "faint" if data is not None and not any(data) else ""
        style = self._style(address, POINTER, style, False, changed, watches)
        self._cell(spans, data, address, POINTER, style, changed)
        if data is None:
            return
        value = int.from_bytes(data, "little")
        name = seen.symbols.lookup(value) if value > 4095 else None
        if name:
            spans.add(f" → {clean(name, 60)}", "accent")
        elif 0 < value < 4096:
            spans.add(f" = {value}", "dim")

    # Moving.

    @property
    def unit(self) -> tuple[int, int]:
        """Where the word under the cursor begins, and its bytes: of bytes those of a pointer."""
        size = POINTER if self.view == "bytes" else _SIZES[self.view]
        return self.at & -size, size

    def _go(self, address: int) -> None:
        """Move the cursor, and the window where it has to."""
        self.at = max(0, min(address, WORD))
        self._typed = ""
        per, rows = self._per(), max(1, self.rows - self._head)
        top = self._top
        if self.at < top:
            self._offset -= top - (self.at & -per)
        elif self.at >= top + rows * per:
            self._offset += (self.at & -per) - (top + (rows - 1) * per)
        if self._top != top:
            self._again()
        self.redraw()

    def action_move(self, rows: int) -> None:
        self._go(self.at + rows * self._per())

    def action_page(self, direction: int) -> None:
        self._go(self.at + direction * max(1, self.rows - self._head - 1) * self._per())

    def action_shift(self, by: int) -> None:
        unit = _SIZES[self.view]
        self._go((self.at & -unit) + by * unit)

    def action_home(self) -> None:
        self._offset = 0
        self._go(self._base or 0)
        self._again()

    def action_end(self) -> None:
        self._go(self.at | self._per() - 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self._head:
            return
        per, unit = self._per(), _SIZES[self.view]
        address = self._top + (offset.y - self._head) * per
        x = offset.x - self._start
        cells = per // unit * (2 * unit + 1) + per // 8 - 1
        self.text_column = self.view == "bytes" and cells < x <= cells + per
        group = 8 // unit * (2 * unit + 1) + 1
        inside = x - cells - 1 if self.text_column else x // group * 8 + min(x % group // (2 * unit + 1) * unit, 7)
        self._go(address + max(0, min(inside, per - 1)))

    def on_resize(self, event: events.Resize) -> None:
        super().on_resize(event)
        if self.is_mounted and self._base is not None:
            self._go(self.at)
            self._again()

    def _refresh_rows(self) -> None:
        super()._refresh_rows()
        self.annotate(self.view)

    # Going elsewhere.

    def choose(self, row: int) -> None:
        seen = self.seen
        if seen is None:
            return
        at, size = self.unit
        at, data = at & -POINTER, seen.bytes(at & -POINTER, POINTER)
        if data is None or size > POINTER:
            self.application.say(f"there are no {POINTER} bytes of memory at {at:#x} to follow", error=True)
            return
        target = replace(seen.place, address=int.from_bytes(data, "little"))
        self.ask(Look(target.spelt(), seen.place.space))

    def action_back(self) -> None:
        if not self._back:
            self.application.say("no address was left to go back to")
            return
        self.look, self._base, self._offset, self.at = self._back.pop()
        self.seen = None
        self._stop_editing()
        self._again()

    def action_space(self) -> None:
        """The same byte by its next address, as far as one is known."""
        seen = self.seen
        part = seen.part(self.at) if seen is not None else None
        if seen is None or part is None:
            return
        ahead = (self.at - part.address) & WORD
        gpa, pa = part.trail.guest_physical, part.trail.physical
        space, address = "pa", self.at if pa is None else pa + ahead
        if seen.place.space == "va":
            if pa is not None:
                self._virtual = (pa + ahead, self.at)
            if gpa is not None:
                space, address = "gpa", gpa + ahead
        elif seen.place.space == "pa":
            space, address = "va", self.at
            if self._virtual is not None and self._virtual[0] // 4096 == self.at // 4096:
                address = self._virtual[1] - self._virtual[0] + self.at
        target = replace(seen.place, space=space, address=address)
        self.ask(Look(target.spelt(), space))

    def action_ask_address(self) -> None:
        self.application.ask("an expression: sp, *ptr, main+8, gpa:0x80000000, ticker:main; then: follow", "memory ")

    def action_follow(self) -> None:
        seen = self.seen
        if seen is None:
            return
        follow = not self.look.follow
        self.look, self._base, self.seen = replace(self.look, follow=follow, cursor=None), seen.place.address, None
        self._again()

    def action_search(self) -> None:
        if self.seen is not None:
            start = replace(self.seen.place, address=self.at + 1 & WORD)
            self.application.ask('from here on: "text", hex:1300??00, or a number', f"memfind {start.spelt()} ",
                                 self._sought)  # fmt: skip

    def action_view(self) -> None:
        self.view = VIEWS[(VIEWS.index(self.view) + 1) % len(VIEWS)]
        self.text_column = False
        top = self._top
        self._offset = (top & -self._per()) - ((self._base or 0) & -self._per())
        self._go(self.at)
        self._again()

    def action_watch(self) -> None:
        if self.seen is None:
            return
        there = [each for each in self.seen.watches if each.start == self.unit[0]]
        if there:
            self.application.carry_out(f"delete {' '.join(str(each.number) for each in there)}")
        else:
            self.application.carry_out(self.stop_line())

    def stop_line(self) -> str:
        if self.seen is None:
            return ""
        at, size = self.unit
        world = f" in {self.seen.place.owner}" if self.seen.place.owner else ""
        return f"watch {replace(self.seen.place, address=at, owner='').spelt()} for {size}{world}"

    def walk_command(self) -> str:
        if self.seen is None or self.seen.place.owner or self.seen.place.space == "pa":
            return ""
        return f"{'walk' if self.seen.place.space == 'va' else 'gwalk'} {self.at:#x} load"

    # Writing.

    def action_edit(self) -> None:
        if self.seen is not None and self.seen.bytes(self.at, 1) is None:
            self.application.say("there is no memory to write to", error=True)
            return
        self.editing, self._typed, self._undo = True, "", []
        self.redraw()

    def action_column(self) -> None:
        self.text_column = self.view == "bytes" and not self.text_column
        self._typed = ""
        self.redraw()

    def _stop_editing(self) -> None:
        self.editing, self._typed = False, ""

    def on_blur(self) -> None:
        self._stop_editing()
        self.redraw()
        super().on_blur()

    async def on_key(self, event: events.Key) -> None:
        if not self.editing or event.key in ("ctrl+c", "f1"):
            return
        event.stop()
        event.prevent_default()
        moves = {
            "left": (self.action_shift, -1), "right": (self.action_shift, 1), "up": (self.action_move, -1),
            "down": (self.action_move, 1), "pageup": (self.action_page, -1), "pagedown": (self.action_page, 1),
        }  # fmt: skip
        letter = "" if event.key.startswith(("alt+", "ctrl+")) else event.character or ""
        if event.key == "escape" or (event.key == "enter" and not self._typed):
            self._stop_editing()
            self.redraw()
        elif event.key in moves:
            move, by = moves[event.key]
            move(by)
        elif event.key == "tab":
            self.action_column()
        elif event.key == "backspace":
            self._take_back()
        elif event.key == "enter":
            self._write(int(self._typed, 16), _SIZES[self.view])
        elif self.text_column and letter.isprintable() and letter:
            for byte in letter.encode():
                self._write(byte, 1)
        elif letter and letter in "0123456789abcdefABCDEF":
            self._typed += letter.lower()
            if len(self._typed) == 2 * _SIZES[self.view]:
                self._write(int(self._typed, 16), _SIZES[self.view])
            else:
                self.redraw()

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text is text in the text column, else bytes in hex."""
        if not self.editing or self.seen is None:
            return
        event.stop()
        text = event.text[:4096]
        try:
            data = text.encode() if self.text_column else bytes.fromhex(text)
        except ValueError:
            self.application.say("what was pasted are no pairs of hexadecimal digits", error=True)
            return
        for byte in data if _SIZES[self.view] == 1 else b"":
            self._write(byte, 1)

    def _write(self, value: int, size: int) -> None:
        """A value at the cursor, which goes on behind it."""
        seen = self.seen
        if seen is None:
            return
        at = self.at & -size
        old = seen.bytes(at, size)
        if old is not None:
            self._undo.append((at, int.from_bytes(old, "little"), size))
        self._send(at, value, size)
        self._go(at + size)

    def _send(self, at: int, value: int, size: int) -> None:
        assert self.seen is not None
        self.application.carry_out(f"write/{_LETTERS[size]} {self.seen.place.spelt(at)} {value:#x}")

    def _take_back(self) -> None:
        if self._typed:
            self._typed = self._typed[:-1]
            self.redraw()
        elif self._undo:
            at, value, size = self._undo.pop()
            self._send(at, value, size)
            self._go(at)


class _Spans:
    """Text of the same style is one span."""

    def __init__(self) -> None:
        self._found: list[Span] = []

    def add(self, text: str, style: str) -> None:
        if self._found and self._found[-1][1] == style:
            self._found[-1] = (self._found[-1][0] + text, style)
        else:
            self._found.append((text, style))

    @property
    def line(self) -> Line:
        return tuple(self._found)


def _blocks(seen: Seen) -> Iterator[tuple[int, bytes]]:
    for part in seen.parts:
        if part.data is None:
            continue
        for at in range(-part.address % _BLOCK, part.size - _BLOCK + 1, _BLOCK):
            yield part.address + at, part.data[at : at + _BLOCK]
