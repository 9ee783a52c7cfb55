"""The source around pc."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, overload

from textual.binding import Binding, BindingType

from emulator.dwarf import LocationError
from emulator.loader import Symbols
from emulator.machine import Machine
from rvtui.frames import FrameError
from rvtui.panes.base import Pane
from rvtui.session import Reader, Session, View
from rvtui.sources import Text
from rvtui.stops import breaks, mark_of
from rvtui.subjects import Subject, hart_of, symbols_of
from rvtui.text import MODE_NAMES, Line, Span, clean

if TYPE_CHECKING:
    from rvtui.application import Application

NOTHING = (
    "no debugging information: nothing says which source line this is",
    "build the program with -g, or give a file that has it: `symbol-file FILE`, or --symbols FILE",
)


@dataclass(frozen=True)
class Source:
    """What the pane shows of a moment: `line` 0 where pc is not in `path`."""

    path: str
    line: int
    pc: int
    mode: int
    text: Text | str | None
    """The file, why there is none, or None while it is being read."""
    marks: Mapping[int, tuple[str, tuple[int, ...]]]
    """By line: the sign of its breakpoint, and the numbers of its stops."""
    functions: str = ""
    waiting: bool = False
    frame: int = 0
    code: frozenset[int] = field(default_factory=frozenset)
    """Lines that have code."""


def read_source(session: Session, chosen: str, state: dict[str, object]) -> Reader:
    """The source of pc, or of the file `chosen`. What has to be read first is read on another thread: until it is
    there, the view says that it waits. `state` is the reader's memory."""

    def read(machine: Machine, subject: Subject) -> Source | None:
        face = hart_of(machine, subject)
        symbols = symbols_of(machine, subject)
        sources = symbols.sources
        if not sources:
            return None
        pc, frame = int(face.pc), 0
        at = pc
        if session.level is not None:
            at, frame = _chosen_frame(session, pc)
        waiting = not sources.ready(at)
        if waiting and not session.running:
            session.reading.ask((id(sources), at), partial(sources.prepare, at))
        line = sources.known_line(at)
        functions = "" if waiting else " > ".join(clean(each.name, 40) for each in sources.chain(at))
        path = chosen or (line.file if line is not None else str(state.get("path", "")))
        if not path:
            return Source("", 0, pc, int(face.mode), None, {}, functions, waiting)
        state["path"] = path
        text = session.files.known(path)
        if text is None:
            session.reading.ask(path, partial(_load, session, symbols, path, state))
        number = line.line if line is not None and line.file == path else 0
        lines = state.get(f"code {path}")
        return Source(
            path, number, pc, int(face.mode), text, _marks(machine, subject, symbols, path, session), functions,
            waiting, frame, lines if isinstance(lines, frozenset) else frozenset(),
        )  # fmt: skip

    return read


def _chosen_frame(session: Session, pc: int) -> tuple[int, int]:
    """(where it is, number) of the frame that `frame` has chosen."""
    from rvtui.commands.values import level_of  # commands know panes

    try:
        level = level_of(session)
    except FrameError:
        level = None
    return (pc, 0) if level is None else (level.spot, level.number)


def _load(session: Session, symbols: Symbols, path: str, state: dict[str, object]) -> None:
    state[f"code {path}"] = symbols.sources.code_lines(path)
    session.files.find(path)


def _marks(
    machine: Machine, subject: Subject, symbols: Symbols, path: str, session: Session
) -> dict[int, tuple[str, tuple[int, ...]]]:
    found: dict[int, tuple[str, tuple[int, ...]]] = {}

    def add(address: int, sign: str, numbers: tuple[int, ...]) -> None:
        line = symbols.sources.known_line(address)
        if line is None:
            if not session.running and not symbols.sources.ready(address):
                session.reading.ask((id(symbols.sources), address), partial(symbols.sources.prepare, address))
        elif line.file == path:
            old, before = found.get(line.line, (sign, ()))
            found[line.line] = (min(old, sign, key="●◆○".index), (*before, *numbers))

    for address, stops in breaks(machine, subject).items():
        add(address, min(map(mark_of, stops), key="●◆○".index), tuple(stop.number for stop in stops))
    for address in machine.breakpoints:
        add(address, "●", ())
    return found


class _Rows(Sequence[Line]):
    """The lines of a file, each drawn when it is looked at."""

    def __init__(self, count: int, draw: Callable[[int], Line]) -> None:
        self._count, self._draw = count, draw

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        if isinstance(index, slice):
            return [self[each] for each in range(self._count)[index]]
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._draw(index)


class SourcePane(Pane):
    NAME = "source"
    WIDE = True
    TOLD_BY = "list"
    TITLE = "Source"
    KEY = "C"
    CURSOR = True
    HELP = (
        "The source around pc, from the program's debugging information: ▶ marks the line of pc, ● a breakpoint, ◆ one"
        " with a condition, ○ one that is disabled; lines with code have bright numbers. Here s and n step by source"
        " line, into calls and over them; in all other panes by instruction. b, or a click in the first column, sets or"
        " clears a breakpoint at the line under the cursor, u runs to it, Enter shows its instructions, home returns to"
        " pc, o opens another file. `frame`, `up` and `down` show callers. Where a file is not found, `directory` says"
        " where to look."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home,g", "follow", "back to where pc is", show=False),
        Binding("s", "step_line", "on to another line", show=False),
        Binding("n", "next_line", "on to another line, calls as a whole", show=False),
        Binding("b", "breakpoint_here", "set or clear a breakpoint at the line", show=False),
        Binding("u", "until", "run to the line", show=False),
        Binding("o", "open", "open another file", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._chosen = ""
        self._state: dict[str, object] = {}
        self._source: Source | None = None
        self._shown: tuple[object, ...] = ()
        self._subject: Subject | None = None

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"source": (read_source(self.application.session, self._chosen, self._state), 0.1)}

    @property
    def selected(self) -> int:
        """The number of the line under the cursor; 0: none."""
        source = self._source
        return self.cursor + 1 if source is not None and isinstance(source.text, Text) and source.text.lines else 0

    @property
    def location(self) -> str:
        """The line under the cursor as commands take it; "": none."""
        if not self.selected or self._source is None:
            return ""
        path = self._source.path
        plain = all(each.isalnum() or each in "/._-+@~" for each in path)
        return f"{path}:{self.selected}" if plain and not path[:1].isdigit() else f'"{path}":{self.selected}'

    # What is shown.

    def go(self, path: str, line: int = 1) -> None:
        """Show a file, by its recorded path; "": the one of pc."""
        self._chosen = path
        self._shown = (path, line) if path else ()
        self.cursor = max(0, line - 1)
        self.top = max(0, self.cursor - self.rows // 3)
        self.application.resubscribe(self)

    def draw(self, view: View) -> Sequence[Line] | None:
        if "source" not in view.values:
            return None
        source = view.get("source")
        if view.subject != self._subject:
            self._subject, self._state = view.subject, {}
            if self._source is not None:
                self.go("")
        if not isinstance(source, Source):
            self._source = None
            self.entitle("")
            return [((text, style),) for text, style in zip(NOTHING, ("", "dim"), strict=True)]
        self._source = source
        name = posixpath.basename(source.path)
        where = f"{clean(name)}:{source.line}" if source.line else clean(name)
        frame = f"  frame {source.frame}" if source.frame else ""
        self.entitle("  ".join(filter(None, (MODE_NAMES[source.mode], where, source.functions))) + frame)
        if source.waiting and not source.line:
            return self._message("reading the debugging information ...", "dim")
        if not source.path:
            return self._message(f"pc {source.pc:#x} has no source line", "")
        if source.text is None:
            return self._message(f"reading {clean(source.path, 200)} ...", "dim")
        if isinstance(source.text, str):
            hint = f"line {source.line} of it is where pc is" if source.line else "pc is elsewhere"
            self._shown = ()
            return [*_folded(source.text, max(20, self.columns)), ((hint, "dim"),)]
        moment = (source.path, source.line)
        if source.line and not self._chosen and moment != self._shown:
            self.cursor = source.line - 1
            if not self.top < self.cursor < self.top + self.rows - 2 or self._shown[:1] != moment[:1]:
                self.top = max(0, self.cursor - self.rows // 3)
        if not self._chosen:
            self._shown = moment if source.line else self._shown
        return _Rows(len(source.text.lines), partial(self._line, source))

    def _message(self, text: str, style: str) -> list[Line]:
        if self._source is not None and not self._chosen:
            self._shown = ()
        return [((text, style),)]

    def _line(self, source: Source, index: int) -> Line:
        assert isinstance(source.text, Text)
        number, digits = index + 1, max(4, len(str(len(source.text.lines))))
        at = number == source.line
        sign, _ = source.marks.get(number, (" ", ()))
        bar = " bar" if at else ""
        tone = f"{MODE_NAMES[source.mode]} bold" if at else "label" if number in source.code else "faint"
        spans: list[Span] = [
            (sign, f"{'dim' if sign == '○' else 'bad bold'}{bar}"),
            ("▶ " if at else "  ", f"{MODE_NAMES[source.mode]} bold{bar}"),
            (f"{number:>{digits}} ", f"{tone}{bar}"),
        ]
        spans += [(text, f"{style}{' bold' if at else ''}{bar}".strip()) for text, style in source.text.painted[index]]
        if at:
            used = 4 + digits + len(source.text.lines[index])
            spans.append((" " * max(0, self.columns - used), "bar"))
        return tuple(spans)

    # Keys.

    def action_follow(self) -> None:
        self.go("")
        if self._source is not None and self._source.line:
            self.cursor = self._source.line - 1
        self.redraw()

    def action_step_line(self) -> None:
        self.application.carry_out("sstep")

    def action_next_line(self) -> None:
        self.application.carry_out("snext")

    def action_breakpoint_here(self) -> None:
        source = self._source
        if source is None or not self.selected:
            self.application.action_breakpoint()
            return
        sign = source.marks.get(self.selected)
        if sign is not None and sign[1]:
            self.application.carry_out(f"delete {' '.join(map(str, sign[1]))}")
        elif sign is not None:
            self._at_line(self.application.toggle_breakpoint)
        else:
            self.application.carry_out(f"break {self.location}")

    def action_until(self) -> None:
        self.application.ask("run to which line or address?", "until ", self.location)

    def action_open(self) -> None:
        self.application.ask("show which file? FILE:LINE, or a function", "view ", "")

    def choose(self, row: int) -> None:
        self._at_line(self.application.show_code)

    def _at_line(self, action: Callable[[int], None]) -> None:
        """Do something with the address where the line under the cursor begins."""
        application: Application = self.application
        location = self.location
        if not location:
            return

        def find(machine: Machine) -> int:
            found = symbols_of(machine, application.session.subject).find(location)
            if found is None:
                raise LocationError(f"{location} has no code")
            return found

        def then(future: Future[int]) -> None:
            error = future.exception()
            failed = partial(application.say, str(error), error=True)
            what = failed if error is not None else partial(action, future.result())
            application.post_message(application.Asked(what))

        application.session.call(find).add_done_callback(then)

    def clicked(self, x: int, row: int, times: int) -> None:
        super().clicked(x, row, times)
        if x == 0 and self.selected:
            self.action_breakpoint_here()


def _folded(text: str, width: int) -> list[Line]:
    lines: list[Line] = []
    line = ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(((line, "warn"),))
            line = ""
        line = f"{line} {word}".strip()
    return [*lines, ((line, "warn"),)]
