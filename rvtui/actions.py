"""Actions and their keys: one table, of which come bindings, hints, help, palette, README and what a file may remap.

What works everywhere is listed here. A pane's own actions are its BINDINGS; they are called "pane.action" by the
binding's id, or by what the binding does. Keys are spelled as Textual has them; two with a blank between ("g g") are
pressed one after the other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from textual.binding import Binding, BindingsMap
from textual.keys import REPLACED_KEYS, Keys, _character_to_key, key_to_character

if TYPE_CHECKING:
    from rvtui.panes.base import Pane

DEFAULT, VIM = "default", "vim"
KEYMAPS: Final = (DEFAULT, VIM)
EVERYWHERE, ANY_PANE, PAGER = "", "pane", "report"
"""Where an action works: with any focus but a console; in every pane; in answers and help, which stand over all. Else
the NAME of a pane."""


@dataclass(frozen=True)
class Action:
    """Something that a key does."""

    name: str
    """As a config file has it."""
    does: str
    """For people: what the key is for."""
    keys: tuple[str, ...]
    call: str
    """As a Textual binding has it."""
    vim: tuple[str, ...] | None = None
    """Its keys in the vim keymap, where they are others."""
    where: str = EVERYWHERE
    hint: str = ""
    """What the key bar calls it; neighbours with the same are one."""
    rank: int = 0
    """How soon the hint makes room on a narrow terminal; 0: last."""

    def keys_in(self, keymap: str) -> tuple[str, ...]:
        return self.vim if keymap == VIM and self.vim is not None else self.keys


def _here(name: str, keys: str, call: str, does: str, hint: str = "", rank: int = 0, vim: str | None = None) -> Action:
    return Action(name, does, _split(keys), call, None if vim is None else _split(vim), EVERYWHERE, hint, rank)


def _split(keys: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in keys.split(",") if each.strip())


GENERAL: Final = (
    _here("run", "space,r", "toggle_run", "run the machine, or pause it", "run"),
    _here("step", "s", "step", "one instruction of what is looked at", "step"),
    _here("next", "n", "next", "one instruction, calls as a whole", "next", vim="full_stop"),
    _here("until", "u", "ask_until", "run to an address", "until", 1),
    _here("break", "b", "breakpoint", "stop at, or for, what is under the cursor; else asks where", "break"),
    _here("finish", "F", "finish", "run until the current function returns"),
    _here("edit", "e", "edit", "change a register or CSR: NAME=VALUE", "edit", 1),
    _here("walk", "w", "ask_walk", "translate an address through both stages, step by step", "walk", 1),
    _here("memory", "p", "memory_here", "the memory at the address under the cursor; else asks where"),
    _here("save", "S", "ask_save", "save the whole machine to a file", "save", 3),
    _here("picture", "P", "ask_picture", "a picture of a pane, or of the screen: .svg or .txt"),
    _here("load", "L", "ask_load", "go back to a saved machine", "load", 3),
    _here("previous-vm", "left_square_bracket", "other_vm(-1)", "look at the VM, hart or guest before", "VM", 2),
    _here("next-vm", "right_square_bracket", "other_vm(1)", "look at the next VM, hart or guest", "VM", 2),
    _here("jump", "f", "jump", "a letter on each pane and VM: press it to go there", "pane"),
    _here("next-pane", "tab", "other_pane(1)", "to the next pane"),
    _here("previous-pane", "shift+tab", "other_pane(-1)", "to the pane before"),
    _here("zoom", "z", "zoom", "the focused pane alone, and back", "zoom", 1),
    _here("layout", "ctrl+l", "next_layout", "the next arrangement of panes; :layout lists them", "layout", 4),
    _here("command", "colon", "command", "type a command; Tab completes, `help` lists", "command"),
    _here("palette", "ctrl+p", "command_palette", "find a command or key by what it does"),
    _here("help", "question_mark,f1", "help", "help for this pane, then for all; / searches in it", "help"),
    _here("back", "escape", "calm", "take a message away; leave zoom"),
    _here("interrupt", "ctrl+c", "interrupt", "pause; end a long command"),
    _here("quit", "q", "quit_now", "leave rvtui", "quit"),
)
MOVING: Final = tuple(
    Action(f"pane.{name}", does, _split(keys), call, None if vim is None else _split(vim), ANY_PANE)
    for name, keys, call, does, vim in (
        ("up", "up,k", "move(-1)", "a line up", None),
        ("down", "down,j", "move(1)", "a line down", None),
        ("page-up", "pageup", "page(-1)", "a page up", "pageup,ctrl+b"),
        ("page-down", "pagedown", "page(1)", "a page down", "pagedown,ctrl+f"),
        ("half-up", "ctrl+u", "half(-1)", "half a page up", None),
        ("half-down", "ctrl+d", "half(1)", "half a page down", None),
        ("top", "home,g", "edge(0)", "to the first line", "home,g g"),
        ("bottom", "end,G", "edge(1)", "to the last line", None),
        ("choose", "enter", "choose", "open, close or select the line", None),
        ("search", "slash", "ask_search", "find a text in the pane", None),
        ("search-next", "full_stop", "again(1)", "the next place where it stands", "n"),
        ("search-previous", "comma", "again(-1)", "the place before", "N"),
    )
)
"""What keys do in every pane."""


def bindings_of(actions: Iterable[Action]) -> list[Binding]:
    """As Textual takes them, with their default keys."""
    return [Binding(",".join(each.keys), each.call, each.does, show=False, id=each.name) for each in actions]


def _own(pane: type[Pane]) -> list[Action]:
    """A pane's own actions, from its BINDINGS."""
    found: dict[str, Action] = {}
    for binding in vars(pane).get("BINDINGS", ()):
        if not isinstance(binding, Binding):
            binding = Binding(*binding)
        name = binding.id or f"{pane.NAME}.{_slug(binding.action)}"
        keys = tuple(_character_to_key(key) if len(key) == 1 else key for key in _split(binding.key))
        vim = tuple("g g" if key == "g" else key for key in keys)
        found[name] = Action(name, binding.description, keys, binding.action, vim, pane.NAME)
    return list(found.values())


def _slug(call: str) -> str:
    """ "bit('sum')" as "bit-sum", "step(-1)" as "step-back"."""
    words = {"-1": "back", "1": "on"}
    return "-".join(words.get(word, word) for word in re.findall(r"-?\w+", call.replace("_", "-"))).replace("--", "-")


def scopes(pane: type[Pane]) -> list[str]:
    """Where the actions of a pane come from, those that win last."""
    return [ANY_PANE, *(vars(each)["NAME"] for each in reversed(pane.__mro__) if "NAME" in vars(each))]


@cache
def every() -> Mapping[str, Action]:
    """All actions by name: those that work everywhere, those that show a pane, those of panes."""
    from rvtui import panes
    from rvtui.reportscreen import ReportPane

    kinds = panes.every()
    show = [
        Action(f"show.{pane.NAME}", f"show {pane.TITLE}", (pane.KEY,), f"goto('{pane.NAME}')")
        for pane in kinds
        if pane.KEY
    ]
    with_own: tuple[type[Pane], ...] = (*kinds, ReportPane)
    own = [action for pane in with_own for action in _own(pane)]
    return {action.name: action for action in (*GENERAL, *show, *MOVING, *own)}


# --- keys as text ---

_NAMES: Final = {
    "esc": "escape", "del": "delete", "ins": "insert", "pgup": "pageup", "pgdn": "pagedown", "return": "enter",
    "bs": "backspace", "ctl": "ctrl", "control": "ctrl", "c": "ctrl", "s": "shift", "a": "alt", "meta": "alt",
}  # fmt: skip
_SAID: Final = {"pageup": "PgUp", "pagedown": "PgDn", "space": "space"}
_KNOWN: Final = frozenset(key.value for key in Keys if "+" not in key.value and not key.value.startswith("<")) | {
    "space"
}
_MODIFIERS: Final = ("ctrl", "alt", "shift")


class KeyNameError(ValueError):
    """Text that is no key; says why."""


def _character(key: str) -> str | None:
    return key_to_character(REPLACED_KEYS.get(key, key))


def parse_key(text: str) -> str:
    """A key as people write it ("?", "Ctrl-P", "pgup", "g g") as Textual has it. ValueError that says what is wrong."""
    presses = text.split() or ([" "] if text else [])
    if not presses or len(presses) > 2:
        raise KeyNameError(f"{text!r} is no key" + (": two presses are the most" if presses else ""))
    return " ".join(_parse_press("space" if each == " " else each) for each in presses)


def _parse_press(text: str) -> str:
    modifiers = []
    rest = text
    while match := re.match(r"(\w+)[+-](?=.)", rest):
        word = match[1].lower()
        word = _NAMES.get(word, word)
        if word not in _MODIFIERS:
            break
        modifiers.append(word)
        rest = rest[match.end() :]
    if len(rest) == 1:
        if not rest.isprintable():
            raise KeyNameError(f"{text!r} is no key")
        base = _character_to_key(rest.lower() if "ctrl" in modifiers else rest)
    else:
        base = _NAMES.get(rest.lower(), rest.lower().replace("-", "_"))
        if base not in _KNOWN and (len(base) == 1 or _character(base) is None):
            near = difflib.get_close_matches(base, [*_KNOWN, *_NAMES], 1)
            raise KeyNameError(f"{text!r} is no key" + (f", did you mean {near[0]!r}?" if near else ""))
    if modifiers == ["shift"] and len(base) == 1 and base.isalpha():
        return base.upper()
    return "+".join([*(each for each in _MODIFIERS if each in modifiers), base])


def spelled(key: str) -> str:
    """As a config file has it: "ctrl+]", "pageup", "g g"."""

    def press(text: str) -> str:
        *modifiers, base = text.split("+")
        character = _character(base)
        base = character if character and character.isprintable() and character != " " else base
        return "+".join([*modifiers, base])

    return " ".join(press(each) for each in key.split(" "))


def said(key: str) -> str:
    """As people read it: "Ctrl-]", "PgUp", "gg"."""

    def press(text: str) -> str:
        *modifiers, base = text.split("+")
        base = spelled(base)
        head = "".join(f"{each.capitalize()}-" for each in modifiers)
        if len(base) == 1:
            return head + (base.upper() if head else base)
        return head + _SAID.get(base, base.capitalize())

    presses = [press(each) for each in key.split(" ")]
    return "".join(presses) if all(len(each) == 1 for each in presses) else " ".join(presses)


# --- keymaps ---


@dataclass(frozen=True)
class Change:
    """Keys that the user gave an action."""

    keys: tuple[str, ...]
    place: str
    """FILE:LINE."""


class Keymap:
    """Which keys do what. What the user asked for wins over what comes with a keymap; `problems` tells of keys that two
    actions of one place want, `notes` of keys that a pane takes from what works everywhere."""

    def __init__(self, base: str = DEFAULT, changes: Mapping[str, Change] | None = None) -> None:
        self.base = base
        self.changes = dict(changes or {})
        self.keys: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        table = every()
        taken: dict[tuple[str, str], str] = {}
        for name in dict.fromkeys((*self.changes, *table)):  # the user's first, in his order
            action, change = table[name], self.changes.get(name)
            kept = []
            for key in change.keys if change is not None else action.keys_in(base):
                other = taken.setdefault((action.where, key), name)
                if other == name:
                    kept.append(key)
                    continue
                asked = self.changes[other]  # no keymap of ours has a key twice: a test says so
                where = f" in {action.where}" if action.where else ""
                text = f"{spelled(key)!r} is {other} and {name}{where}"
                rest = "the first keeps it" if change is not None else f"give {name} another key, or []"
                self.problems.append(f"{(change or asked).place}: {text}: {rest}")
            self.keys[name] = tuple(kept)
        if not self.keys.get("console.leave", ("",)):
            self.keys["console.leave"] = table["console.leave"].keys
            place = self.changes["console.leave"].place
            self.problems.append(f"{place}: console.leave needs a key: a console gets all others")
        self._note()
        self.prefixes = frozenset(key.split(" ")[0] for keys in self.keys.values() for key in keys if " " in key)
        """Keys after which another decides."""

    def _note(self) -> None:
        table = every()
        general = {key: name for name, keys in self.keys.items() if table[name].where == EVERYWHERE for key in keys}
        for name, keys in self.keys.items():
            action = table[name]
            for key in keys if action.where not in (EVERYWHERE, PAGER) else ():
                other = general.get(key)
                change = self.changes.get(name) or (self.changes.get(other) if other else None)
                if other is not None and change is not None:
                    where = "every pane" if action.where == ANY_PANE else action.where
                    self.notes.append(f"{change.place}: in {where} {spelled(key)!r} is {name}, not {other}")

    def source(self, name: str) -> str:
        """Where its keys come from: FILE:LINE, or which keymap."""
        if name in self.changes:
            return self.changes[name].place
        return VIM if self.base == VIM and every()[name].keys_in(VIM) != every()[name].keys else DEFAULT

    def said(self, name: str, most: int = 9) -> str:
        """Its keys for people: "space r"; "" where it has none."""
        return "  ".join(said(key) for key in self.keys[name][:most])

    def doing(self, pane: type[Pane], key: str) -> Action | None:
        """What a key does in a pane, as its own action."""
        wanted = scopes(pane)[1:]
        found = (name for name, keys in self.keys.items() if key in keys and every()[name].where in wanted)
        name = next(found, None)
        return every()[name] if name is not None else None

    def bindings(self, places: Sequence[str]) -> BindingsMap:
        """For Textual: the keys of actions of these places, those of later ones win."""
        table = every()
        merged: dict[str, list[Binding]] = {}
        for place in places:
            for name, keys in self.keys.items():
                action = table[name]
                if action.where == place:
                    for key in keys:
                        merged[key] = [Binding(key, action.call, action.does, show=False, id=name)]
        return BindingsMap.from_keys(merged)

    def of_pane(self, pane: type[Pane]) -> BindingsMap:
        return self.bindings(scopes(pane))


def suggestion(name: str) -> str:
    """What a name that is no action's may have meant: ", did you mean 'step'?" or ""."""
    near = difflib.get_close_matches(name, every(), 1)
    return f", did you mean {near[0]!r}?" if near else ""


def _ways(action: Action) -> str:
    return " ".join(f"`{said(key)}`" for key in action.keys)


def markdown() -> str:
    """The table in README.md: what works everywhere, with default keys."""
    rows = [(_ways(action), action.does) for action in GENERAL]
    rows.append(("digits, capitals", "show a pane: its title has the key"))
    leave = every()["console.leave"]
    rows.append((_ways(leave), leave.does))
    half = (len(rows) + 1) // 2
    lines = ["| key | does | key | does |", "|---|---|---|---|"]
    for index in range(half):
        left, right = rows[index], rows[index + half] if index + half < len(rows) else ("", "")
        lines.append(f"| {left[0]} | {left[1]} | {right[0]} | {right[1]} |")
    return "\n".join(lines) + "\n"

