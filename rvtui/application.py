"""The application: panes around one session, keys, prompts, and the clock that brings views to the screen."""

from __future__ import annotations

import gc
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingsMap
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.containers import Horizontal
from textual.filter import Monochrome, NoColor
from textual.geometry import Offset, Size
from textual.message import Message
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Input, Static

from emulator.errors import ConfigurationError, EmulatorError
from emulator.hart import Access, Mode
from emulator.machine import Machine
from rvtui import actions, commands, panes
from rvtui.actions import EVERYWHERE, VIM, Keymap
from rvtui.bars import Bar, KeyBar, Prompt, TopBar, key_line, top_line
from rvtui.colour import colourless
from rvtui.commands.memory import Look
from rvtui.commands.registry import DEEPEST, TOO_DEEP
from rvtui.configuration import Settings, checked_layout
from rvtui.gdb import Listener, serving
from rvtui.helpscreen import HelpScreen
from rvtui.jump import Elsewhere, JumpScreen, Target
from rvtui.layout import BY_SIZE, MINIMUM, MOST_TILES, Workspace, arrange
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
from rvtui.picture import Strips
from rvtui.reportscreen import ReportScreen
from rvtui.resume import Memory, Place
from rvtui.session import Session
from rvtui.subjects import Subject, subjects
from rvtui.terminal import GuestTerminal
from rvtui.theme import THEMES, Paint

T = TypeVar("T")
P = TypeVar("P", bound=Pane)

TYPING_SECONDS = 1.0
"""How long a key may take until the next one no longer waits for it."""
SCREEN_SECONDS = 3.0
"""How long a command waits for a picture of the screen."""
CONSOLE_BYTES = 1024
CONSOLE_SECONDS = 0.008
"""Time per frame and console for understanding what a guest prints; a flood waits."""

PANES = panes.every()
NAMES = tuple(pane.NAME for pane in PANES if pane.KEY)
VIM_COMMANDS = {
    "w": ("save", False), "w!": ("overwrite", False), "wq": ("save", True), "wq!": ("overwrite", True),
    "e": ("restore", False), "q": ("", True), "q!": ("", True), "qa": ("", True), "qa!": ("", True),
}  # fmt: skip
"""What lines of vim's mean: a command, and whether to leave then."""


class Palette(Provider):
    """The registry's commands in the command palette, those without arguments run, the others open the prompt; and what
    keys do, with the key."""

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

    def _keys(self) -> Iterator[tuple[str, str, object]]:
        """(what it does, its keys, the action) of what works everywhere and in the focused pane."""
        application = self.app
        assert isinstance(application, Application)
        for name, action in actions.every().items():
            if action.where in application.places:
                yield action.does, application.keymap.said(name), partial(application.perform, name)

    async def discover(self) -> Hits:
        for command, action in self._rows():
            yield DiscoveryHit(command.name, action, help=command.help)  # type: ignore[arg-type]
        for does, keys, action in self._keys():
            yield DiscoveryHit(does, action, help=keys)  # type: ignore[arg-type]

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        found = [
            (max(matcher.match(command.name), matcher.match(command.help) * 0.8), command, action)
            for command, action in self._rows()
        ]
        for score, command, action in sorted(found, key=lambda each: -each[0]):  # those come first that are sent first
            if score > 0:
                yield Hit(score, matcher.highlight(command.usage), action, help=command.help)  # type: ignore[arg-type]
        for does, keys, action in self._keys():
            if (score := matcher.match(does) * 0.9) > 0:
                yield Hit(score, matcher.highlight(does), action, help=keys)  # type: ignore[arg-type]


class _ScreenPort:
    """What commands may ask of the application, from the worker's thread."""

    def __init__(self, application: Application) -> None:
        self._application = application

    @property
    def keymap(self) -> Keymap:
        return self._application.keymap

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

    def find_in_console(self, text: str) -> None:
        self._post(partial(self._application.find_in_console, text))

    def pane(self, name: str) -> tuple[Pane, Size]:
        return self._application.pane_and_size(name)

    def strips(self) -> Strips:
        taken: Future[Strips] = Future()
        self._post(lambda: taken.set_result(self._application.screen_strips()))
        try:
            return taken.result(SCREEN_SECONDS)
        except TimeoutError:
            raise commands.CommandError("the screen does not answer") from None

    def zoom(self) -> None:
        self._post(self._application.action_zoom)

    def help(self) -> None:
        self._post(self._application.action_help)

    def quit(self, code: int | None) -> None:
        self._post(partial(self._application.exit, return_code=code or 0))

    def progress(self, text: str) -> None:
        self._post(partial(self._application.say, text))

    @property
    def layouts(self) -> Mapping[str, Sequence[str]]:
        return self._application.layouts

    @property
    def themes(self) -> Sequence[str]:
        return [theme.name for theme in THEMES]

    @property
    def chosen(self) -> tuple[str, Sequence[str], str]:
        application = self._application
        return application.layout_name, application.shown, application.theme

    def arrange(self, layout: str, panes: Sequence[str], anew: bool) -> None:
        self._post(partial(self._application.arrange, layout, tuple(panes), anew=anew))

    def save_layout(self, name: str) -> str:
        return self._application.save_layout(name)

    def dress(self, theme: str) -> None:
        self._post(partial(setattr, self._application, "theme", theme))


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
    CommandList:nocolor > .option-list--option-highlighted { text-style: bold underline; }
    """
    ENABLE_COMMAND_PALETTE = True
    AUTO_FOCUS = None
    COMMANDS: ClassVar[set[type[Provider]]] = {Palette}  # type: ignore[assignment]

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

    def __init__(
        self,
        session: Session,
        *,
        title: str = "",
        start: bool = False,
        settings: Settings | None = None,
        memory: Memory | None = None,
    ) -> None:
        """`memory`: what is kept of a program from one time to the next; else nothing is."""
        super().__init__()
        # Textual would have greys, and have them for NO_COLOR="" as well.
        self.no_color = colourless()
        self._filters = [each for each in self._filters if not isinstance(each, Monochrome | NoColor)]
        if self.no_color:
            self._filters.append(NoColor())
        for theme in THEMES:
            self.register_theme(theme)
        self.settings = settings or Settings()
        self.theme = self.settings["theme"]
        self.keymap = self.settings.keymap
        self._bindings = self.keymap.bindings([EVERYWHERE])
        self._memory = memory or Memory()
        self._left: Place | None = None
        """Where the user was when he left."""
        self._resuming: Place | None = None
        """What is not back yet."""
        self._chord = ""
        """A key that another has to follow."""
        self.session = session
        session.frame_seconds = 0.9 / self.settings["frames"]
        self.heading = title
        self._start = start
        self._terminals: dict[int, GuestTerminal] = {}
        self._machine = session.machine
        self._panes = {pane.NAME: pane() for pane in PANES}
        self._top = TopBar(self.paint_for, self.perform)
        self._workspace = Workspace(*self._panes.values())
        self._small = Static(id="small")
        self._keys = KeyBar(self.paint_for, self.perform)
        self._prompt = Prompt(self._complete, self._answered)
        self._label = Static(id="label")
        self._asking = Horizontal(self._label, self._prompt, id="asking")
        self._wanted = "console"
        self.layouts = self._known(self.settings.layouts)
        self.layout_name = BY_SIZE
        """"" where the user named panes."""
        self._tiles: tuple[str, ...] = ()
        """The panes of the layout; none: as there is room."""
        self._away: Pane | None = None
        """What had the focus when the terminal became too small."""
        self._then: Callable[[str], None] | None = None
        """Who asked at the prompt, where that is no command."""
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
        self._screen_port = _ScreenPort(self)
        self._commanding = commands.Context(session, self._screen_port, NAMES, follow=self._follow)
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
        if isinstance(self._away, ConsolePane) and self._away.typing and not self._asking.display:
            return  # meant for a guest that cannot be seen: it is neither its nor ours
        self._typed.append(event)
        if len(self._typed) == 1:
            await self._deliver()
        elif time.monotonic() - self._typed_at > TYPING_SECONDS:
            await self._dealt_with(self._typed[0])

    async def _deliver(self) -> None:
        event, target = self._typed[0], self.focused or self.screen
        self._typed_at = time.monotonic()
        if isinstance(event, events.Key) and await self._chorded(event.key):
            self._passed(None, event)
            return
        await super().on_event(event)
        self._passed(target, event)

    async def _chorded(self, key: str) -> bool:
        """Whether the key is the first of two, or the second of two that mean something."""
        first, self._chord = self._chord, ""
        focused = self.focused
        typing = isinstance(focused, Input) or getattr(focused, "editing", False) or getattr(focused, "typing", False)
        if not self.keymap.prefixes or typing:
            return False
        if first and await self._check_bindings(f"{first} {key}"):
            return True
        if key in self.keymap.prefixes and any(
            bound.startswith(f"{key} ")
            for _, bindings in self.screen._modal_binding_chain
            for bound in bindings.key_to_bindings
        ):
            self._chord = key
            return True
        return False

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
        self.screen._bindings = BindingsMap()  # Tab and Ctrl-C are in the table
        for pane in self._panes.values():
            pane.entitle("")
        self.layouts |= self._known({**self._memory.saved_layouts(), **self.settings.layouts})
        place = self._memory.recall(self.layouts) if self.settings["resume"] else None
        self._resuming = place
        place = place or Place(layout=self.settings["layout"], shown="")
        self.arrange(place.layout, place.panes, shown=place.shown)
        if place.zoomed in self._panes:
            self._zoomed = place.zoomed
            self._arrange()
        focus = self._panes.get(place.zoomed or place.focus, self._panes["vms"])
        if focus.display:
            focus.focus()
        if problems := [*filter(None, [self.settings.told]), *self._memory.problems]:
            self.say("; ".join(problems), error=True)
        elif kept := self.session.kept_stops:
            self.say(f"{kept} stop{'s' * (kept != 1)} of last time: B lists them")
        self._memory.problems.clear()
        self.set_interval(1 / self.settings["frames"], self._frame)
        self.theme_changed_signal.subscribe(self, lambda _: self._repaint())
        self.call_after_refresh(self._refresh_view)
        if self._start:  # not before: the first picture should not have to wait for the machine
            self.call_after_refresh(self.session.run)

    def get_css_variables(self) -> dict[str, str]:
        found = {**THEMES[0].variables, **super().get_css_variables()}
        return found | {"input-cursor-text-style": "reverse"} if self.no_color else found

    def paint_for(self, widget: Widget) -> Paint:
        theme = self.current_theme
        bar = isinstance(widget, Bar)
        return Paint(
            {**THEMES[0].variables, **theme.variables},
            theme.foreground or "#d8dee4",
            (theme.panel if bar else theme.background) or "#0f1419",
            colours=not self.no_color,
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
        if not self._refresh_view():
            self._bars()

    def _refresh_view(self) -> bool:
        """Draw what is new, the bars as well; False: there was no new view."""
        session = self.session
        if session.machine is not self._machine:
            self._machine = session.machine
            self._terminals.clear()
            self._pane(VmsPane).forget()
        if warnings := session.take_warnings():
            self.say("; ".join(warnings), error=True)
        view = session.view
        self._pane(VmsPane).sample(view, time.monotonic())
        overview = view.get("overview")
        if isinstance(overview, Overview):
            if self._resuming is not None:
                found = (runner for runner in overview.runners if runner.name == self._resuming.subject)
                if (runner := next(found, None)) is not None and runner.subject != session.subject:
                    session.select(runner.subject)
                self._resuming = None
            if overview.height != self._vms_height:
                self._vms_height = overview.height
                self._arrange()
        self._feed_terminals()
        if view.sequence == self._sequence:
            return False
        self._sequence = session.seen = view.sequence
        for pane in self._panes.values():
            if pane.display:
                pane.show(view)
        self._bars()
        return True

    def _bars(self) -> None:
        view = self.session.view
        overview = view.get("overview")
        runner = overview.runner(view.subject) if isinstance(overview, Overview) else None
        mode, name = (runner.mode, runner.name) if runner is not None else (None, "")
        width = self.size.width
        self._top.put(top_line(view, self.heading, mode, name, width))
        focused = self._focus_below
        console = None
        if isinstance(focused, ConsolePane) and focused.typing:
            index = focused.index
            console = view.consoles[index] if index < len(view.consoles) else "the guest"
        self._keys.update(key_line(self.keymap, view.running, console, width))

    # Consoles.

    def terminal(self, index: int) -> GuestTerminal:
        if index not in self._terminals:
            terminal = GuestTerminal(80, 24, partial(self.session.send, index))
            old, begun = self.session.old_output(index)
            terminal.feed(old, live=False, begun=begun)
            self._terminals[index] = terminal
        return self._terminals[index]

    def _feed_terminals(self) -> None:
        for index in range(len(self.session.view.consoles)):
            deadline = time.monotonic() + CONSOLE_SECONDS
            fed = False
            while time.monotonic() < deadline:
                data, begun = self.session.drain_begun(index, CONSOLE_BYTES)
                if not data:
                    break
                fed = True
                self.terminal(index).feed(data, begun=begun)
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
        focused = self._focus_below
        if not fits:
            self._small.update(
                f"terminal too small ({size.width}x{size.height}):\nrvtui needs {MINIMUM[0]}x{MINIMUM[1]}"
            )
            if isinstance(focused, Pane):
                self._away = focused
            workspace.place({})
            self._sync()
            return
        area = Size(size.width, size.height - 2)
        count = len(self.session.view.consoles)
        workspace.place(arrange(area, self._wanted, self._zoomed, self._vms_height, count, self._tiles))
        self._sync()
        away, self._away = self._away, None
        if away is not None and away.display and not self._asking.display:
            away.focus()
        else:
            self.call_later(self._rest)  # after those who have asked for the focus by now

    @property
    def _focus_below(self) -> Widget | None:
        """What has the focus among the panes, whatever is over them."""
        return self._screen_stack[0].focused if self._screen_stack else None

    @property
    def shown(self) -> list[str]:
        """The panes on the screen, in reading order."""
        return list(self._workspace.places)

    @property
    def places(self) -> list[str]:
        """Where actions have to be to work now."""
        focused = self._focus_below
        return [EVERYWHERE, *(actions.scopes(type(focused)) if isinstance(focused, Pane) else ())]

    def _rest(self) -> None:
        """Have the focus on something that is on the screen."""
        focused = self._focus_below
        if self._away is None and (
            (focused is None and self._zoomed is None) or (isinstance(focused, Pane) and not focused.display)
        ):
            resting = self._resting()
            self._screen_stack[0].set_focus(resting)

    def _resting(self) -> Pane | None:
        """A pane that can have the focus without taking all keys."""
        found = (self._panes[name] for name in ("vms", *self.shown) if self._panes[name].display)
        return next((pane for pane in found if not isinstance(pane, ConsolePane)), None)

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
        pane = self._show(name)
        pane.focus()
        if isinstance(pane, ConsolePane):
            pane.type()

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
        """Ctrl-]: the keys are the application's again, and the pane's, to look."""
        self._stop_typing()
        self.redraw_consoles()

    def _stop_typing(self) -> None:
        for pane in self._panes.values():
            if isinstance(pane, ConsolePane):
                pane.typing = False

    def redraw_consoles(self) -> None:
        for pane in self._panes.values():
            if isinstance(pane, ConsolePane) and pane.display:
                pane.redraw()
        self._bars()

    def _pane(self, kind: type[P]) -> P:
        pane = self._panes[kind.NAME]
        assert isinstance(pane, kind)
        return pane

    def _bring(self, kind: type[P]) -> P:
        """A pane that a command has something for. It gets the focus unless the user has gone elsewhere since."""
        pane = self._pane(kind)
        self._show(kind.NAME)
        if self._gone == self._gone_before:
            pane.focus()
        return pane

    def show_walk(self, address: int, access: Access, mode: Mode | None, physical: bool = False) -> None:
        self._bring(WalkPane).ask(address, access, mode, physical)

    def walk_in(self, guest: Subject | None, address: int, access: Access, mode: Mode) -> None:
        """The same at once, looking at `guest` if it is one."""
        if guest is not None and not guest.same(self.session.subject):
            self.session.select(guest)
        self._gone_before = self._gone
        self.show_walk(address, access, mode)

    def show_memory(self, look: Look) -> None:
        self._bring(MemoryPane).ask(look)

    def show_map(self, wanted: Wanted) -> None:
        self._bring(MapPane).ask(wanted)

    def seek_in_map(self, address: int) -> None:
        self._bring(MapPane).seek(address)

    def show_trap(self, key: tuple[object, ...]) -> None:
        self._pane(TrapsPane).hold(key)
        self._show("traps").focus()

    def show_source(self, path: str, line: int) -> None:
        self._bring(SourcePane).go(path, line)

    def show_code(self, address: int) -> None:
        """The instructions from an address on."""
        self.goto("code")
        self._pane(CodePane).seek(address)

    def find_in_console(self, text: str) -> None:
        """In the one that has the focus, or had it when the question was asked; else the first."""
        pane = self.focused if isinstance(self.focused, ConsolePane) else self._panes["console"]
        assert isinstance(pane, ConsolePane)
        if not pane.display:
            self._show(pane.NAME)
        if self._gone == self._gone_before:
            pane.typing = False
            pane.focus()
        if not pane.find(text):
            self.say(f"{text!r} stands nowhere on this console", error=True)

    # Pictures.

    def pane_and_size(self, name: str) -> tuple[Pane, Size]:
        """On any thread."""
        pane = self._panes[name]
        if pane.display and pane.size:
            return pane, pane.outer_size
        return pane, Size(max(MINIMUM[0], self.size.width), max(MINIMUM[1], self.size.height) - 2)

    def screen_strips(self) -> Strips:
        """All that is on the screen, with what is open over the panes."""
        update = self.screen._compositor.render_update(full=True, screen_stack=self._background_screens)
        return [[part for strip in row for part in strip] for row in getattr(update, "strips", ())]

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

    def carry_out(self, line: str, *, quits: bool = False) -> None:
        """Run a command line; what it says appears in the bar below. `quits`: leave when it is done."""
        self._gone_before = self._gone
        future = commands.invoke(self._commanding, line)
        future.add_done_callback(lambda done: self.post_message(self.Finished(line, done)))
        if quits:
            future.add_done_callback(
                lambda done: None if done.exception() else self._screen_port.quit(None)
            )

    def perform(self, name: str) -> None:
        """Do what a key does, by the action's name."""
        action = actions.every()[name]
        focused = self._focus_below
        here = action.where != EVERYWHERE and focused is not None
        self.call_later(self.run_action, action.call, focused if here else self)

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

    def ask(
        self, label: str, prefix: str = "", value: str = "", *, title: str = "",
        then: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        """A line from the user, that completes the command `prefix`; or that `then` gets, also an empty one. `label`
        says what, until something is typed; `title` stands before it all the time, instead of the command."""
        self._then = then
        self._left_console = self._away or self._focus_below
        self._keys.display = False
        self._label.update(title or prefix.strip() or ":")
        self._asking.display = True
        self._prompt.ask(label, prefix, value, whole=then is None)

    def _answered(self, line: str | None) -> None:
        self._asking.display = False
        self._keys.display = self._workspace.display
        back = self._left_console
        if isinstance(back, Pane) and back.display:
            back.focus()
        else:
            self.screen.set_focus(None)
        then, self._then = self._then, None
        if then is not None:
            if line is not None:
                then(line)
        elif line:
            self._give(line)

    def _give(self, line: str) -> None:
        """A line from the command bar: with the vim keymap :w, :q and their like as there."""
        word, _, rest = line.partition(" ")
        if self.keymap.base != VIM or word not in VIM_COMMANDS:
            self.carry_out(line)
            return
        name, quits = VIM_COMMANDS[word]
        if name in ("save", "overwrite") and not rest:
            self.action_ask_save()
        elif name:
            self.carry_out(f"{name} {rest}".strip(), quits=quits)
        else:
            self.action_quit_now()

    def _complete(self, line: str) -> list[str]:
        if self._then is not None:
            return []
        return commands.complete(self._commanding, line)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        typing = isinstance(self.focused, Prompt) or (isinstance(self.focused, ConsolePane) and self.focused.typing)
        return not (action == "command_palette" and typing)

    # Keys.

    def action_toggle_run(self) -> None:
        self._watch(self.session.toggle(), "run")

    def action_interrupt(self) -> None:
        self._scripts.clear()
        self._commanding.cancelled.set()  # of a long command, which the pause would wait for
        if self.session.running:
            self._watch(self.session.pause(), "pause")
        else:
            self.say(f"{self.keymap.said('quit', 1) or ':quit'} quits")

    def action_step(self) -> None:
        self._watch(self.session.step(), "step")

    def action_next(self) -> None:
        self._watch(self.session.step_over(), "next")

    def action_ask_until(self) -> None:
        address = self._code_address()
        self.ask(
            "to which address? a symbol, number or expression",
            "until ",
            f"{address:#x}" if address is not None else "",
        )

    def action_breakpoint(self) -> None:
        focused = self.focused
        if isinstance(focused, Pane) and (line := focused.stop_line()):
            self.when_done(self.session.toggle_stop(line), self.say)
            return
        address = self._code_address()
        if address is None:
            self.ask("at which address? a symbol, number or expression", "break ")
            return
        self.toggle_breakpoint(address)

    def toggle_breakpoint(self, address: int) -> None:
        self.when_done(
            self.session.toggle_breakpoint(address),
            lambda there: self.say(f"breakpoint at {address:#x} {'set' if there else 'removed'}"),
        )

    def action_finish(self) -> None:
        self.carry_out("finish")

    def _code_address(self) -> int | None:
        code = self._pane(CodePane)
        return code.selected if code.display and code.has_focus else None

    def action_edit(self) -> None:
        pane = self.focused
        name = pane.selected if isinstance(pane, CsrsPane | RegistersPane) else ""
        self.ask("NAME=VALUE, for example a0=sp+16 or sstatus=sstatus|2", "set ", f"{name}=" if name else "")

    def action_ask_walk(self) -> None:
        focused = self.focused
        if isinstance(focused, Pane) and focused.walk_here():
            return
        self.ask("which address? ADDRESS [fetch|load|store] [M|HS|U|VS|VU]", "walk ")

    def action_memory_here(self) -> None:
        """The address under the focused pane's cursor, in the pane of memory."""
        focused = self.focused
        if isinstance(focused, Pane) and (place := focused.place_here()):
            self.carry_out(f"memory {place}")
        else:
            self.ask("look at memory where? sp, main+8, gpa:0x80000000; then: follow", "memory ")

    def action_ask_save(self) -> None:
        self.ask("save to which file?", "save ", unused("machine", ".snap"))

    def action_ask_load(self) -> None:
        self.ask("restore which file?", "restore ", self.session.path)

    def action_ask_picture(self) -> None:
        focused = self._focus_below
        name = focused.NAME if isinstance(focused, Pane) else "screen"
        name = "console" if name == "console2" else name
        value = f"{name} {unused(name, '.svg')}"
        self.ask("of a pane or the screen, into which file? .svg or .txt, 120x40", "screenshot ", value)

    def action_other_vm(self, direction: int) -> None:
        def change(machine: Machine) -> None:
            every = subjects(machine)
            current = self.session.subject
            index = every.index(current) if current in every else 0
            self.session.select(every[(index + direction) % len(every)])

        self.session.call(change)

    def action_other_pane(self, direction: int) -> None:
        """Consoles are looked at then: what types there would not come any further."""
        self._stop_typing()
        self.screen.focus_next() if direction > 0 else self.screen.focus_previous()

    def action_zoom(self) -> None:
        self.zoom(self._focus_below)

    def zoom(self, pane: Widget | None) -> None:
        """A pane alone, or all again."""
        if self._zoomed is not None:
            self._zoomed = None
        elif isinstance(pane, Pane):
            self._zoomed = pane.NAME
        self._arrange()

    # Layouts.

    def _known(self, layouts: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """Layouts, of the panes that there are."""
        found = {name: tuple(each for each in members if each in self._panes) for name, members in layouts.items()}
        return {name: members for name, members in found.items() if members or name == BY_SIZE}

    def arrange(self, layout: str, panes: tuple[str, ...] = (), *, shown: str = "", anew: bool = False) -> None:
        """Have a layout by its name, or `panes` beside each other, with `shown` among them. `anew`: also without zoom
        and with what the layout begins with."""
        self.layout_name = layout if layout in self.layouts else "" if panes else BY_SIZE
        self._tiles = self.layouts[self.layout_name] if self.layout_name else panes
        self._zoomed = None
        tiles = [name for name in self._tiles if name != "vms"] or list(self._tiles)
        if shown in self._panes:
            self._wanted = shown
        elif tiles:
            self._wanted = tiles[0]
        elif anew or self._wanted not in self._panes:
            self._wanted = "console"
        self._arrange()

    def action_next_layout(self) -> None:
        names = list(self.layouts)
        at = names.index(self.layout_name) + 1 if self.layout_name in names else 0
        name = names[at % len(names)]
        self.arrange(name, anew=name == BY_SIZE)
        self.say(f"layout {name}: {' '.join(self.shown)}")

    def save_layout(self, name: str) -> str:
        """Keep the panes that are on the screen as a layout; on the worker. ConfigurationError where the name cannot
        be."""
        if f"layouts.{name}" in self.settings.places:
            raise ConfigurationError(f"layout {name} is in {self.settings.places[f'layouts.{name}']}: change it there")
        panes = checked_layout(name, self.shown[:MOST_TILES])
        self._memory.save_layout(name, panes)
        self.layouts = {**self.layouts, name: panes}
        self._screen_port.arrange(name, (), False)
        return f"saved layout {name}: {' '.join(panes)}"

    def place(self) -> Place:
        """Where the user is."""
        focused = self._away or self._focus_below
        overview = self.session.view.get("overview")
        runner = overview.runner(self.session.subject) if isinstance(overview, Overview) else None
        subject = runner.name if runner is not None else ""
        name = focused.NAME if isinstance(focused, Pane) else ""
        panes = () if self.layout_name else self._tiles
        return Place(self.layout_name, panes, self._wanted, name, self._zoomed, subject)

    # Jumping.

    def action_jump(self) -> None:
        targets = []
        for name in self.shown:
            at = self._panes[name].region.offset
            targets.append(Target(Offset(at.x + 1, at.y), partial(self.goto, name)))
        vms = self._pane(VmsPane)
        if vms.display:
            at = vms.content_region.offset
            for row, subject in enumerate(vms.subjects, 1 - vms.top):
                if 0 <= row < vms.rows:
                    targets.append(Target(Offset(at.x, at.y + row), partial(self.session.select, subject), 2))
        elsewhere, keys = [], {}
        for pane in PANES:
            go = partial(self.goto, pane.NAME)
            own = self.keymap.keys.get(f"show.{pane.NAME}", ())
            keys.update(dict.fromkeys(own, go))
            if own and pane.NAME not in self.shown:
                elsewhere.append(Elsewhere(actions.said(own[0]), pane.TITLE, go))
        self.push_screen(JumpScreen(targets, elsewhere, keys))

    def action_goto(self, name: str) -> None:
        self.goto(name)

    def action_command(self) -> None:
        self.ask("a command; Tab completes, help lists")

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            focused = self._focus_below
            shown = [pane for pane in PANES if pane.KEY or isinstance(focused, pane)]
            self.push_screen(HelpScreen(shown, focused.NAME if isinstance(focused, Pane) else "", self.keymap))

    def action_calm(self) -> None:
        self._keys.hush()
        if self._zoomed is not None:
            self.action_zoom()

    def action_quit_now(self) -> None:
        self.exit(0)

    def exit(self, result: int | None = None, return_code: int = 0, message: Any = None) -> None:
        if self._left is None:
            self._left = self.place()  # while there still is a focus
        super().exit(result, return_code, message)

    def on_unmount(self) -> None:
        self._memory.remember(self._left or self.place())
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


def unused(stem: str, suffix: str) -> str:
    """A file's name that is not taken here: "machine.snap", or "machine-2.snap" and so on."""
    names = (f"{stem}{f'-{number}' if number > 1 else ''}{suffix}" for number in range(1, 1000))
    return next((name for name in names if not Path(name).exists()), stem + suffix)


def run(
    machine: Machine,
    *,
    title: str = "",
    path: str = "",
    start: bool = True,
    gdb: Listener | None = None,
    folders: Sequence[str] = (),
    settings: Settings | None = None,
    fresh: bool = False,
) -> int:
    """Open the application on a machine; returns the exit code. A debugger may come to `gdb`. `folders`: where sources
    are, as `SourceFiles.add` takes it; `fresh`: without what is kept of the program, which stays as it is."""
    session = Session(machine, path=path)
    session.files.add_all(folders)
    settings = settings or Settings()
    memory = Memory() if fresh else Memory.of(machine)
    if settings["stops"] and not fresh:
        session.book.open()
        session.kept_stops = len(session.book.stops)
    session.start()
    try:
        if gdb is not None:
            title = f"{title}, gdb {gdb}"
        application = Application(session, title=title, start=start, settings=settings, memory=memory)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: application.exit(return_code=128 + number))
        gc.freeze()  # what there is by now stays: looking through it takes longer than a key may
        with serving(session, gdb, runs=start):
            application.run()
    finally:
        session.close()
    return application.return_code or 0
