"""The snapshot files of the folder in use, and those that were saved here."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from emulator.errors import EmulatorError
from emulator.machine import Machine
from rvtui.commands.files import owners
from rvtui.panes.base import Pane
from rvtui.session import Reader, View
from rvtui.subjects import Subject
from rvtui.text import Line, Span, clean, count, fit, guest_time, size

if TYPE_CHECKING:
    from snapshots import Difference, Entry

LOOK_SECONDS = 2.0
"""Between looks at the folder."""


class SnapshotsPane(Pane):
    NAME = "snapshots"
    WIDE = True
    TITLE = "Snapshots"
    KEY = "H"
    CURSOR = True
    HEAD = 1
    TOLD_BY = "snapshots"
    HELP = (
        "The snapshot files beside the one in use, or in the present folder, and those that were saved here, the newest"
        " first: how many instructions the machine had executed, how far that is from now, its guests, the note. ▶ is"
        " the one that the machine came from or was saved to last. Enter restores, and asks first where what the"
        " machine is now stands in no file; S saves; d tells what the one under the cursor has that the machine has not"
        " (Ctrl-C ends that); x or Delete deletes it, after asking. Commands: snapshots, save, restore, differs,"
        " remove."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "differ", "what differs from now", show=False),
        Binding("x,delete", "remove", "delete the file; asks first", show=False),
    ]

    class Listed(Message):
        """The folder was looked at."""

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self._known: dict[str, Entry] = {}
        self._problem = ""
        self._looking = False
        self._looked = 0.0
        self._told: dict[str, tuple[int, str]] = {}
        """What differs, by path, and what the machine had executed then."""

    def readers(self) -> Mapping[str, tuple[Reader, float]]:
        return {"unsaved": (self._unsaved, 0.2)}

    def _unsaved(self, machine: Machine, subject: Subject) -> bool:
        return self.application.session.unsaved

    def on_mount(self) -> None:
        self.set_interval(LOOK_SECONDS / 4, self._look)

    # The folder, on a thread of its own: disks may be slow.

    @property
    def folder(self) -> Path:
        path = self.application.session.path
        return Path(path).absolute().parent if path and Path(path).is_file() else Path.cwd()

    def _look(self, *, now: bool = False) -> None:
        if not self.display or self._looking or (not now and time.monotonic() - self._looked < LOOK_SECONDS):
            return
        self._looking = True
        session = self.application.session
        threading.Thread(target=self._list, args=(self.folder, tuple(session.saved)), daemon=True).start()

    def _list(self, folder: Path, files: tuple[str, ...]) -> None:
        import snapshots
        from snapshots.folder import entry_of

        problem = ""
        found: list[Entry] = []
        try:
            found = snapshots.listing(folder, self._known)
        except EmulatorError as error:
            problem = str(error)
        paths = {each.path for each in found}
        more = [entry_of(path, self._known) for path in files if path not in paths]
        found += [each for each in more if each is not None]
        found.sort(key=lambda each: (-each.modified, each.path))
        changed = found != self._entries or problem != self._problem
        self._entries, self._problem = found, problem
        self._looking, self._looked = False, time.monotonic()
        if changed:
            self.post_message(self.Listed())

    def on_snapshots_pane_listed(self) -> None:
        self.redraw()

    # Keys.

    @property
    def selected(self) -> Entry | None:
        at = self.cursor - self.HEAD
        return self._entries[at] if 0 <= at < len(self._entries) else None

    def choose(self, row: int) -> None:
        entry = self.selected
        if entry is None:
            return
        path = _quoted(entry.path)
        if self.application.session.unsaved:
            self.application.ask("which file?", "restore ", path, title="not saved: Enter restores all the same")
        else:
            self.application.carry_out(f"restore {path}")

    def action_remove(self) -> None:
        if self.selected is not None:
            path = _quoted(self.selected.path)
            self.application.ask("which file?", "remove ", path, title="delete this file? Enter deletes")

    def action_differ(self) -> None:
        entry = self.selected
        if entry is None:
            return
        path = entry.path
        self._told[path] = -1, "comparing ..."
        self.redraw()
        commanding = self.application.commanding
        commanding.cancelled.clear()

        def compare(machine: Machine) -> tuple[int, str]:
            import snapshots
            from rvtui.commands.values import progress

            tell = progress(commanding, f"comparing with {Path(path).name}")
            return machine.executed, _told(snapshots.difference(machine, path, tell))

        def done(future: Future[tuple[int, str]]) -> None:
            error = future.exception()
            self._told[path] = (-1, clean(str(error), 200)) if error is not None else future.result()
            self.post_message(self.Listed())

        self.application.session.call(compare).add_done_callback(done)

    def moved(self) -> None:
        self.redraw()

    # Drawing.

    def draw(self, view: View) -> list[Line]:
        self._look()
        session = self.application.session
        current = str(Path(session.path).absolute()) if session.path else ""
        latest = session.saved[-1] if session.saved else current
        self.entitle(clean(str(self.folder), max(10, self.columns - 24)))
        longest = max((len(Path(each.path).name) for each in self._entries), default=0)
        names = max(12, min(32, longest, self.columns - 50))
        head = f"  {'file':<{names}} {'executed':>10} {'from now':>9}  {'size':>9}  guests, note"
        lines: list[Line] = [((head, "dim"),)]
        lines += [self._line(each, names, view.executed, each.path == latest) for each in self._entries]
        if self._problem:
            lines.append(((self._problem, "warn"),))
        elif not self._entries:
            lines.append((("  none here: S saves the machine as it is now", "dim"),))
        self.pinned = self._details(view)
        return lines

    def _line(self, entry: Entry, names: int, executed: int, mark: bool) -> Line:
        name = clean(Path(entry.path).name, 200)
        spans: list[Span] = [("▶ " if mark else "  ", "good"), (fit(name, names) + " ", "bold" if mark else "")]
        info = entry.info
        if info is None:
            return (*spans, (clean(entry.problem, 200), "bad"))
        away = info.executed - executed
        sign = "" if not away else "+" if away > 0 else "-"
        spans += [
            (f"{count(info.executed):>10} ", ""),
            (f"{sign}{count(abs(away))}".rjust(9) if away else "here".rjust(9), "dim" if away else "good"),
            (f"  {size(entry.size):>9}  ", "dim"),
            (owners(info.vms, info.harts), "label"),
        ]
        if info.note:
            spans.append((f"  {clean(info.note, 100)}", "dim"))
        return tuple(spans)

    def _details(self, view: View) -> list[Line]:
        entry = self.selected
        unsaved = view.get("unsaved")
        state: Span = ("not saved", "warn") if unsaved else ("saved", "good")
        lines: list[Line] = [(("now: ", "dim"), (f"{view.executed:,} instructions, ", ""), state)]
        if entry is None or entry.info is None:
            return lines
        info = entry.info
        text = f"{info.executed:,} instructions, {guest_time(info.clock)}; {info.pages:,} pages in use"
        parent = f"; a difference to {clean(info.parent, 60)}" if info.parent else ""
        lines.insert(0, ((f"{clean(Path(entry.path).name, 40)}: ", "dim"), (text + parent, "")))
        told = self._told.get(entry.path)
        if told is None:
            lines.append((("differs: ", "dim"), ("d tells", "dim")))
        else:
            old = told[0] not in (-1, view.executed)
            text = told[1] + (" (when it was asked)" if old else "")
            lines.append((("differs: ", "dim"), (text, "dim" if old else "")))
        return lines


def _told(found: Difference) -> str:
    if found.same:
        return "nothing"
    parts = [f"{found.pages:,} page{'s' * (found.pages != 1)}"] if found.pages else []
    parts += [f"hart {hart}: {len(names)} registers and the like" for hart, names in enumerate(found.harts) if names]
    return ", ".join(parts + list(found.others))


def _quoted(path: str) -> str:
    """As a command takes it."""
    with contextlib.suppress(ValueError):
        path = str(Path(path).relative_to(Path.cwd()))
    return shlex.quote(path)
