"""The application: panes around one session, keys, prompts, and the clock that brings views to the screen."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.containers import Horizontal
from textual.geometry import Size
from textual.message import Message
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Static

from emulator.errors import EmulatorError
from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import commands, panes
from rvtui.bars import Bar, KeyBar, Prompt, key_line, top_line
from rvtui.commands.memory import Look
from rvtui.commands.registry import DEEPEST, TOO_DEEP
from rvtui.gdb import Listener, serving
from rvtui.helpscreen import HelpScreen
from rvtui.layout import MINIMUM, Workspace, arrange
from rvtui.mapping import Wanted
from rvtui.panes.base import Pane
from rvtui.panes.code import CodePane
from rvtui.panes.console import ConsolePane
from rvtui.panes.csrs import CsrsPane
from rvtui.panes.map import MapPane
from rvtui.panes.memory import MemoryPane
from rvtui.panes.registers import RegistersPane
from rvtui.panes.source import SourcePane
from rvtui.panes.traps import TrapsPane
from rvtui.panes.vms import Overview, VmsPane, read_overview
from rvtui.panes.walk import WalkPane
from rvtui.reportscreen import ReportScreen
from rvtui.session import Session
from rvtui.subjects import Subject, subjects
from rvtui.terminal import GuestTerminal
from rvtui.theme import THEMES, Paint

T = TypeVar("T")

FRAME_SECONDS = 0.05
TYPING_SECONDS = 1.0
"""How long a key may take until the next one no longer waits for it."""
CONSOLE_BYTES = 4096
CONSOLE_SECONDS = 0.008
"""Time per frame and console for understanding what a guest prints; a flood waits."""

PANES = panes.every()
NAMES = tuple(pane.NAME for pane in PANES if pane.KEY)


class Palette(Provider):
    """The registry's commands in the command palette: those without arguments run, the others open the prompt."""

    def _rows(self) -> Iterator[tuple[commands.Command, object]]:
        application = self.app
        assert isinstance(application, Application)
        for _, command in sorted(commands.COMMANDS.items()):
            needs = any(not argument.optional for argument in command.arguments)
            action = (
                partial(application.ask, command.help, f"{command.name} ")
                if needs
                else partial(application.carry_out, command.name)
            )
            yield command, action

    async def discover(self) -> Hits:
        for command, action in self._rows():
            yield DiscoveryHit(command.name, action, help=command.help)  # type: ignore[arg-type]

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        found = [
            (max(matcher.match(command.name), matcher.match(command.help) * 0.8), command, action)
            for command, action in self._rows()
        ]
        for score, command, action in sorted(found, key=lambda each: -each[0]):  # those come first that are sent first
            if score > 0:
                yield Hit(score, matcher.highlight(command.usage), action, help=command.help)  # type: ignore[arg-type]


class _ScreenPort:
    """What commands may ask of the application, from the worker's thread."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def _post(self, action: object) -> None:
        self._application.post_message(Application.Asked(action))

    def goto(self, pane: str) -> None:
        self._post(partial(self._application.goto, pane))

    def walk(self, address: int, access: Access, mode: Mode | None) -> None:
        self._post(partial(self._application.show_walk, address, access, mode))

    def walk_physical(self, address: int, access: Access) -> None:
        self._post(partial(self._application.show_walk, address, access, None, True))

    def memory(self, look: Look) -> None:
        self._post(partial(self._application.show_memory, look))

    def map(self, wanted: Wanted) -> None:
        self._post(partial(self._application.show_map, wanted))

    def seek(self, address: int) -> None:
        self._post(partial(self._application.seek_in_map, address))

    def source(self, path: str, line: int) -> None:
        self._post(partial(self._application.show_source, path, line))

    def zoom(self) -> None:
        self._post(self._application.action_zoom)

    def help(self) -> None:
        self._post(self._application.action_help)

    def quit(self, code: int | None) -> None:
        self._post(partial(self._application.exit, return_code=code or 0))

    def progress(self, text: str) -> None:
        self._post(partial(self._application.say, text))


class Application(App[int]):
    """`run()` returns the exit code."""

    TITLE = "rvtui"
    CSS = """
    Screen { background: $background; layers: base top; }
    #workspace { height: 1fr; width: 1fr; overflow: hidden; }
    Pane {
        background: $background;
        border: round $paint-faint;
        border-title-color: $paint-label;
        border-subtitle-color: $paint-dim;
        padding: 0;
    }
    Pane:focus { border: heavy $primary; border-title-color: $primary; border-title-style: bold; }
    #small { display: none; width: 1fr; height: 1fr; content-align: center middle; text-align: center; }
    #asking { height: 1; display: none; background: $panel; }
    #label { width: auto; padding: 0 1; color: $accent; text-style: bold; }
    CommandPalette > Vertical { width: 80%; max-width: 90; }
    """
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider]]] = {Palette}  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,r", "toggle_run", "run or pause", show=False),
        Binding("s", "step", "step", show=False),
        Binding("n", "next", "step over", show=False),
        Binding("u", "ask_until", "run to address", show=False),
        Binding("b", "breakpoint", "stop here, or for this", show=False),
        Binding("F", "finish", "to the end of the function", show=False),
        Binding("e", "edit", "edit", show=False),
        Binding("w", "ask_walk", "walk", show=False),
        Binding("p", "memory_here", "memory", show=False),
        Binding("S", "ask_save", "save", show=False),
        Binding("L", "ask_load", "load", show=False),
        Binding("left_square_bracket", "other_vm(-1)", "previous VM", show=False),
        Binding("right_square_bracket", "other_vm(1)", "next VM", show=False),
        Binding("tab", "app.focus_next", "next pane", show=False),
        Binding("shift+tab", "app.focus_previous", "previous pane", show=False),
        Binding("z", "zoom", "zoom", show=False),
        Binding("colon", "command", "command", show=False),
        Binding("question_mark,f1", "help", "help", show=False),
        Binding("escape", "calm", "back", show=False),
        Binding("q", "quit_now", "quit", show=False),
        Binding("ctrl+c", "interrupt", "pause", show=False),
        *[Binding(pane.KEY, f"goto('{pane.NAME}')", pane.TITLE, show=False) for pane in PANES if pane.KEY],
    ]

    class Published(Message):
        """A new view is there."""

    class Asked(Message):
        """The worker asks for something on this thread."""

        def __init__(self, action: object) -> None:
            super().__init__()
            self.action = action

    class Finished(Message):
        """A command is done."""

        def __init__(self, line: str, future: Future[commands.Answer]) -> None:
            super().__init__()
            self.line = line
            self.future = future

    def __init__(self, session: Session, *, title: str = "", start: bool = False) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self.session = session
        self.heading = title
        self._start = start
        self._terminals: dict[int, GuestTerminal] = {}
        self._machine = session.machine
        self._panes = {pane.NAME: pane() for pane in PANES}
        self._top = Bar("top", self.paint_for)
        self._workspace = Workspace(*self._panes.values())
        self._small = Static(id="small")
        self._keys = KeyBar(self.paint_for)
        self._prompt = Prompt(self._complete, self._answered)
        self._label = Static(id="label")
        self._asking = Horizontal(self._label, self._prompt, id="asking")
        self._wanted = "console"
        self._gone = self._gone_before = 0
        """How often the user went to a pane, by now and when the last command was given."""
        self._zoomed: str | None = None
        self._subscribed: set[str] = set()
        self._sequence = -1
        self._published = False
        self._leaving = False
        self._left_console: Widget | None = None
        self._typed: deque[events.Event] = deque()
        self._typed_at = 0.0
        self._subject: Subject | None = None
        self._vms_height = 5
        self._commanding = commands.Context(session, _ScreenPort(self), NAMES, follow=self._follow)
        self._scripts: list[Iterator[tuple[str, str]]] = []
        """What is left of scripts, within each other."""
        self._scripted: Future[Any] | None = None
        """What they wait for."""
        self._where = ""

    # Typing.

    async def on_event(self, event: events.Event) -> None:
        """Keys and pastes are dealt with one after another: what one of them focuses gets the next, however fast they
        come. On its own Textual hands all of them to what has the focus when they arrive."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
            return
        self._typed.append(event)
        if len(self._typed) == 1:
            await self._deliver()
        elif time.monotonic() - self._typed_at > TYPING_SECONDS:
            await self._dealt_with(self._typed[0])

    async def _deliver(self) -> None:
        event, target = self._typed[0], self.focused or self.screen
        self._typed_at = time.monotonic()
        await super().on_event(event)
        self._passed(target, event)

    def _passed(self, node: MessagePump | None, event: events.Event) -> None:
        """Follow the event on its way up from `node`: each hop runs after what the event did there."""
        if node is None or node is self:
            # One more hop for a focus that it asked for.
            self.call_later(self.call_later, self._dealt_with, event)
        elif not node.call_later(self._passed, node._parent, event):
            self._passed(node._parent, event)

    async def _dealt_with(self, event: events.Event) -> None:
        if self._typed and self._typed[0] is event:
            self._typed.popleft()
            if self._typed:
                await self._deliver()

    # Building.

    def compose(self) -> ComposeResult:
        yield self._top
        yield self._workspace
        yield self._small
        yield self._keys
        yield self._asking

    def on_mount(self) -> None:
        self.session.on_view = self._on_view
        for pane in self._panes.values():
            pane.entitle("")
        self._arrange()
        self._panes["vms"].focus()
        self.set_interval(FRAME_SECONDS, self._frame)
        self.theme_changed_signal.subscribe(self, lambda _: self._repaint())
        self.call_after_refresh(self._refresh_view)
        if self._start:  # not before: the first picture should not have to wait for the machine
            self.call_after_refresh(self.session.run)

    def get_css_variables(self) -> dict[str, str]:
        return {**THEMES[0].variables, **super().get_css_variables()}

    def paint_for(self, widget: Widget) -> Paint:
        theme = self.current_theme
        bar = isinstance(widget, Bar)
        return Paint(
            {**THEMES[0].variables, **theme.variables},
            theme.foreground or "#d8dee4",
            (theme.panel if bar else theme.background) or "#0f1419",
        )

    def _repaint(self) -> None:
        for pane in self._panes.values():
            pane.forget_paint()
        for bar in (self._top, self._keys):
            bar.forget_paint()

    # Views.

    def _on_view(self) -> None:
        """On the worker's thread."""
        if not self._published:
            self._published = True
            self.post_message(self.Published())

    def on_application_published(self) -> None:
        self._published = False
        if self.is_attached and not self._leaving:
            self._refresh_view()

    def _frame(self) -> None:
        self.session.nudge()
        self._refresh_view()
        self._bars()

    def _refresh_view(self) -> None:
        session = self.session
        if session.machine is not self._machine:
            self._machine = session.machine
            self._terminals.clear()
            vms = self._panes["vms"]
            assert isinstance(vms, VmsPane)
            vms.forget()
        if warnings := session.take_warnings():
            self.say("; ".join(warnings), error=True)
        view = session.view
        vms = self._panes["vms"]
        assert isinstance(vms, VmsPane)
        vms.sample(view, time.monotonic())
        overview = view.get("overview")
        if isinstance(overview, Overview):
            height = 3 + len(overview.runners) + len(overview.harts)
            if height != self._vms_height:
                self._vms_height = height
                self._arrange()
        self._feed_terminals()
        if view.sequence == self._sequence:
            return
        self._sequence = session.seen = view.sequence
        for pane in self._panes.values():
            if pane.display:
                pane.show(view)
        self._bars()

    def _bars(self) -> None:
        view = self.session.view
        overview = view.get("overview")
        mode, name = None, ""
        if isinstance(overview, Overview):
            for runner in overview.runners:
                if runner.subject == view.subject:
                    mode, name = runner.mode, runner.name
        width = self.size.width
        self._top.put(top_line(view, self.heading, mode, name, width))
        focused = self._screen_stack[0].focused if self._screen_stack else None
        console = None
        if isinstance(focused, ConsolePane):
            index = focused.index
            console = view.consoles[index] if index < len(view.consoles) else "the guest"
        self._keys.update(key_line(view.running, console, width))

    # Consoles.

    def terminal(self, index: int) -> GuestTerminal:
        if index not in self._terminals:
            terminal = GuestTerminal(80, 24, partial(self.session.send, index))
            terminal.feed(self.session.old_output(index), live=False)
            self._terminals[index] = terminal
        return self._terminals[index]

    def _feed_terminals(self) -> None:
        for index in range(len(self.session.view.consoles)):
            deadline = time.monotonic() + CONSOLE_SECONDS
            fed = False
            while time.monotonic() < deadline:
                data = self.session.drain(index, CONSOLE_BYTES)
                if not data:
                    break
                fed = True
                for at in range(0, len(data), 512):
                    self.terminal(index).feed(data[at : at + 512])
            if fed:
                for pane in self._panes.values():
                    if isinstance(pane, ConsolePane) and pane.display and pane.index == index:
                        pane.show(self.session.view)

    # Arrangement.

    def on_resize(self, event: events.Resize) -> None:
        self._arrange(event.size)

    def _arrange(self, size: Size | None = None) -> None:
        size = size or self.size
        if not self._screen_stack:
            return
        workspace = self._workspace
        fits = size.width >= MINIMUM[0] and size.height >= MINIMUM[1]
        workspace.display = self._top.display = fits
        self._keys.display = fits and not self._asking.display
        self._small.display = not fits
        if not fits:
            self._small.update(
                f"terminal too small ({size.width}x{size.height}):\nrvtui needs {MINIMUM[0]}x{MINIMUM[1]}"
            )
            workspace.place({})
            self._sync()
            return
        area = Size(size.width, size.height - 2)
        count = len(self.session.view.consoles)
        workspace.place(arrange(area, self._wanted, self._zoomed, self._vms_height, count))
        self._sync()
        focused = self._screen_stack[0].focused
        if (focused is None and self._zoomed is None) or (isinstance(focused, Pane) and not focused.display):
            (self._panes["vms"] if self._panes["vms"].display else self._panes[self._wanted]).focus()

    def _sync(self) -> None:
        """Subscribe to what the visible panes need, and to nothing else."""
        wanted = {"overview": (read_overview, 0.1)}
        for pane in self._panes.values():
            if pane.display:
                wanted.update(pane.readers())
        self.session.unsubscribe(self._subscribed - wanted.keys())
        for key in wanted.keys() - self._subscribed:
            reader, every = wanted[key]
            self.session.subscribe(key, reader, every=every)
        self._subscribed = set(wanted)

    def resubscribe(self, pane: Pane) -> None:
        """The pane wants to read something else than before."""
        if pane.display and pane.is_mounted:
            for key, (reader, every) in pane.readers().items():
                self.session.subscribe(key, reader, every=every)
                self._subscribed.add(key)

    def goto(self, name: str) -> None:
        """Make a pane visible and focus it."""
        self._gone += 1
        self._show(name).focus()

    def _show(self, name: str) -> Pane:
        pane = self._panes[name]
        if self._zoomed is not None and self._zoomed != name:
            self._zoomed = name
        if not pane.display or self._zoomed is not None:
            self._wanted = name
        self._arrange()
        if not pane.display:
            self._wanted = name
            self._arrange()
        return pane

    def leave_console(self) -> None:
        """Ctrl-]: the keys are the application's again."""
        self.screen.set_focus(None) if self._zoomed is not None else self._panes["vms"].focus()
        self.redraw_consoles()

    def redraw_consoles(self) -> None:
        for pane in self._panes.values():
            if isinstance(pane, ConsolePane) and pane.display:
                pane.redraw()
        self._bars()

    def show_walk(self, address: int, access: Access, mode: Mode | None, physical: bool = False) -> None:
        pane = self._panes["walk"]
        assert isinstance(pane, WalkPane)
        self._show("walk")
        if self._gone == self._gone_before:  # else the user has gone elsewhere since, and types there
            pane.focus()
        pane.ask(address, access, mode, physical)

    def show_memory(self, look: Look) -> None:
        pane = self._panes["memory"]
        assert isinstance(pane, MemoryPane)
        self._show("memory")
        if self._gone == self._gone_before:
            pane.focus()
        pane.ask(look)

    def _map(self) -> MapPane:
        pane = self._panes["map"]
        assert isinstance(pane, MapPane)
        self._show("map")
        if self._gone == self._gone_before:
            pane.focus()
        return pane

    def show_map(self, wanted: Wanted) -> None:
        self._map().ask(wanted)

    def seek_in_map(self, address: int) -> None:
        self._map().seek(address)

    def show_trap(self, key: tuple[object, ...]) -> None:
        pane = self._panes["traps"]
        assert isinstance(pane, TrapsPane)
        pane.hold(key)
        self._show("traps").focus()

    def show_source(self, path: str, line: int) -> None:
        pane = self._panes["source"]
        assert isinstance(pane, SourcePane)
        self._show("source")
        if self._gone == self._gone_before:
            pane.focus()
        pane.go(path, line)

    def show_code(self, address: int) -> None:
        """The instructions from an address on."""
        pane = self._panes["code"]
        assert isinstance(pane, CodePane)
        self.goto("code")
        pane.seek(address)

    # Commands.

    @property
    def commanding(self) -> commands.Context:
        """Where its commands are given."""
        return self._commanding

    def when_done(self, future: Future[T], then: Callable[[T], None]) -> None:
        """Have its result on this thread, or tell what went wrong."""

        def go_on() -> None:
            if (error := future.exception()) is not None:
                self.say(str(error), error=True)
            else:
                then(future.result())

        future.add_done_callback(lambda _: self.post_message(self.Asked(go_on)))

    def say(self, text: str, *, error: bool = False) -> None:
        self._keys.say(text, error=error)

    def carry_out(self, line: str) -> None:
        """Run a command line; what it says appears in the bar below."""
        self._gone_before = self._gone
        future = commands.invoke(self._commanding, line)
        future.add_done_callback(lambda done: self.post_message(self.Finished(line, done)))

    def _follow(self, lines: Iterable[tuple[str, str]]) -> None:
        """On the worker: a command has lines that come next."""
        if len(self._scripts) == DEEPEST:
            raise commands.CommandError(TOO_DEEP)
        self._scripts.append(iter(lines))

    def _go_on(self) -> None:
        """The next line of a script, once the machine stands."""
        self._scripted = future = self.session.when_standing(lambda machine: None)
        future.add_done_callback(lambda done: self.post_message(self.Asked(self._next_line)))

    def _next_line(self) -> None:
        while self._scripts:
            line = next(self._scripts[-1], None)
            if line is None:
                self._scripts.pop()
                continue
            text, where = line
            self._where = where or self._where
            self._scripted = future = commands.invoke(self._commanding, text)
            self._watch(future, text)
            return
        self._scripted, self._where = None, ""

    def on_application_asked(self, message: Asked) -> None:
        action = message.action
        if callable(action):
            action()

    def on_application_finished(self, message: Finished) -> None:
        error = message.future.exception()
        scripted = message.future is self._scripted
        if scripted and error is not None:
            self._scripts.clear()
            where, self._where, self._scripted = self._where, "", None
            self.say(f"{where}: {error}" if where else str(error), error=True)
            return
        if self._scripts and (scripted or self._scripted is None):
            self._go_on()
        elif scripted:
            self._scripted = None
        if error is None:
            answer = message.future.result()
            lines = str(answer).split("\n") if answer is not None else []
            if len(lines) > 1 and not scripted:
                self.push_screen(ReportScreen(message.line, lines))
            elif lines:
                self.say(lines[0] or "nothing")
        elif isinstance(error, EmulatorError | OSError):
            self.say(str(error), error=True)
        else:
            self.say(f"{message.line}: {type(error).__name__}: {error}", error=True)

    def _watch(self, future: Future[Any], line: str) -> None:
        future.add_done_callback(lambda done: self.post_message(self.Finished(line, done)))

    def ask(self, label: str, prefix: str = "", value: str = "", *, title: str = "") -> None:
        """Have the user enter the rest of a command. `label` says what, until something is typed; `title` stands before
        it all the time, instead of the command."""
        self._left_console = self.screen.focused
        self._keys.display = False
        self._label.update(title or prefix.strip() or ":")
        self._asking.display = True
        self._prompt.ask(label, prefix, value)

    def _answered(self, line: str | None) -> None:
        self._asking.display = False
        self._keys.display = self._workspace.display
        back = self._left_console
        if isinstance(back, Pane) and back.display:
            back.focus()
        else:
            self.screen.set_focus(None)
        if line:
            self.carry_out(line)

    def _complete(self, line: str) -> list[str]:
        return commands.complete(self._commanding, line)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action == "command_palette" and isinstance(self.focused, ConsolePane | Prompt))

    # Keys.

    def action_toggle_run(self) -> None:
        self._watch(self.session.toggle(), "run")

    def action_interrupt(self) -> None:
        self._scripts.clear()
        self._commanding.cancelled.set()  # of a long command, which the pause would wait for
        if self.session.running:
            self._watch(self.session.pause(), "pause")
        else:
            self.say("q quits")

    def action_step(self) -> None:
        self._watch(self.session.step(), "step")

    def action_next(self) -> None:
        self._watch(self.session.step_over(), "next")

    def action_ask_until(self) -> None:
        address = self._code_address()
        self.ask(
            "run to which address? a symbol, number or expression",
            "until ",
            f"{address:#x}" if address is not None else "",
        )

    def action_breakpoint(self) -> None:
        focused = self.focused
        if isinstance(focused, Pane) and (line := focused.stop_line()):
            self._toggle(self.session.toggle_stop(line))
            return
        address = self._code_address()
        if address is None:
            self.ask("break at which address? a symbol, number or expression", "break ")
            return
        self.toggle_breakpoint(address)

    def toggle_breakpoint(self, address: int) -> None:
        self._toggle(
            self.session.toggle_breakpoint(address),
            lambda there: f"breakpoint at {address:#x} {'set' if there else 'removed'}",
        )

    def _toggle(self, future: Future[T], told: Callable[[T], str] = str) -> None:
        """Say what became of it."""

        def change(future: Future[T]) -> None:
            error = future.exception()
            text = str(error) if error else told(future.result())
            self.post_message(self.Asked(partial(self.say, text, error=error is not None)))

        future.add_done_callback(change)

    def action_finish(self) -> None:
        self.carry_out("finish")

    def _code_address(self) -> int | None:
        code = self._panes["code"]
        assert isinstance(code, CodePane)
        return code.selected if code.display and code.has_focus else None

    def action_edit(self) -> None:
        pane = self.focused
        name = pane.selected if isinstance(pane, CsrsPane | RegistersPane) else ""
        self.ask("NAME=VALUE, for example a0=sp+16 or sstatus=sstatus|2", "set ", f"{name}=" if name else "")

    def action_ask_walk(self) -> None:
        focused = self.focused
        if isinstance(focused, Pane) and (line := focused.walk_command()):
            self.carry_out(line)
            return
        failed = self._panes["traps"]
        assert isinstance(failed, TrapsPane)
        if failed.display and failed.has_focus and (walk := failed.walk()) is not None:
            at, access, mode, guest = walk
            if guest is not None and not guest.same(self.session.subject):
                self.session.select(guest)
            self._gone_before = self._gone
            self.show_walk(at, access, mode)
            return
        self.ask("walk which address? ADDRESS [fetch|load|store] [M|HS|U|VS|VU]", "walk ")

    def action_memory_here(self) -> None:
        """The address under the focused pane's cursor, in the pane of memory."""
        focused = self.focused
        if isinstance(focused, Pane) and (place := focused.place_here()):
            self.carry_out(f"memory {place}")
        else:
            self.ask("look at memory where? sp, main+8, gpa:0x80000000; then: follow", "memory ")

    def action_ask_save(self) -> None:
        names = (f"machine{f'-{number}' if number > 1 else ''}.snap" for number in range(1, 1000))
        self.ask(
            "save to which file?", "save ", next((name for name in names if not Path(name).exists()), "machine.snap")
        )

    def action_ask_load(self) -> None:
        self.ask("restore which file?", "restore ", self.session.path)

    def action_other_vm(self, direction: int) -> None:
        def change(machine: Machine) -> None:
            every = subjects(machine)
            current = self.session.subject
            index = every.index(current) if current in every else 0
            self.session.select(every[(index + direction) % len(every)])

        self.session.call(change)

    def action_zoom(self) -> None:
        focused = self._screen_stack[0].focused
        if self._zoomed is not None:
            self._zoomed = None
        elif isinstance(focused, Pane):
            self._zoomed = focused.NAME
        self._arrange()

    def action_goto(self, name: str) -> None:
        self.goto(name)

    def action_command(self) -> None:
        self.ask("a command; Tab completes, help lists")

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            focused = self._screen_stack[0].focused
            self.push_screen(
                HelpScreen([pane for pane in PANES if pane.KEY], focused.NAME if isinstance(focused, Pane) else "")
            )

    def action_calm(self) -> None:
        self._keys.hush()
        if self._zoomed is not None:
            self.action_zoom()

    def action_quit_now(self) -> None:
        self.exit(0)

    def on_unmount(self) -> None:
        self._leaving = True
        self.session.on_view = lambda: None

    def _print_error_renderables(self) -> None:
        """A fault of ours ends the application with a line that can be reported, not with a page of locals."""
        error = self._exception
        if error is None:
            super()._print_error_renderables()
            return
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        print(
            f"rvtui: internal error: {type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {text}",
            file=sys.stderr,
        )
        self._exit_renderables.clear()


def run(
    machine: Machine, *, title: str = "", path: str = "", start: bool = True, gdb: Listener | None = None,
    folders: Sequence[str] = (),
) -> int:  # fmt: skip
    """Open the application on a machine; returns the exit code. A debugger may come to `gdb`. `folders`: where sources
    are, as `SourceFiles.add` takes it."""
    session = Session(machine, path=path)
    session.files.add_all(folders)
    session.book.open()
    session.start()
    try:
        if gdb is not None:
            title = f"{title}, gdb {gdb}"
        application = Application(session, title=title, start=start)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: application.exit(return_code=128 + number))
        with serving(session, gdb, runs=start):
            application.run()
    finally:
        session.close()
    return application.return_code or 0
