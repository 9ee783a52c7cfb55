"""The user's config file: what may stand in it, what it says, and where each value comes from.

A file that is wrong in places still counts where it is right; each mistake is one line, FILE:LINE: what.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from emulator.errors import ConfigurationError
from rvtui import actions, panes
from rvtui.actions import DEFAULT, KEYMAPS, Change, Keymap
from rvtui.folders import config_folder
from rvtui.keeping import read_small
from rvtui.layout import BY_SIZE, LAYOUTS, MOST_TILES, RESERVED
from rvtui.text import clean
from rvtui.theme import THEMES

LONGEST_NAME: Final = 40
FRAMES: Final = (2, 60)


class _Wrong(ValueError):
    """A value that cannot be; says why."""


@dataclass(frozen=True)
class Setting:
    name: str
    usual: Any
    help: str
    check: Callable[[Any, Settings], None]
    """Raises _Wrong."""


def _one_of(known: Callable[[Settings], Mapping[str, Any] | tuple[str, ...]]) -> Callable[[Any, Settings], None]:
    def check(value: Any, settings: Settings) -> None:
        words = list(known(settings))
        if not isinstance(value, str) or value not in words:
            near = difflib.get_close_matches(str(value), words, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(words)}"
            raise _Wrong(f"there is no {clean(_toml(value), 60)}: {hint}")

    return check


def _number(low: int, high: int) -> Callable[[Any, Settings], None]:
    def check(value: Any, settings: Settings) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _Wrong(f"{clean(_toml(value), 60)} is no whole number from {low} to {high}")

    return check


def _switch(value: Any, settings: Settings) -> None:
    if not isinstance(value, bool):
        raise _Wrong(f"{clean(_toml(value), 60)} is neither true nor false")


_THEMES: Final = tuple(theme.name for theme in THEMES)

SETTINGS: Final = (
    Setting(
        "keymap", DEFAULT, "default, or vim: gg, n N, Ctrl-F Ctrl-B, . steps over a call, :w :q",
        _one_of(lambda _: KEYMAPS),
    ),
    Setting("theme", _THEMES[0], ", ".join(_THEMES), _one_of(lambda _: _THEMES)),
    Setting(
        "layout", BY_SIZE, "for programs without a choice of their own: a name that :layout lists",
        _one_of(lambda settings: settings.layouts),
    ),
    Setting("frames", 20, "pictures a second while the machine runs", _number(*FRAMES)),
    Setting("stops", True, "set the stops of last time", _switch),
    Setting("resume", True, "come back to the layout, pane and VM of last time", _switch),
)  # fmt: skip


@dataclass
class Settings:
    """What counts, and where each value comes from."""

    file: Path | None = None
    """That was read, or would be."""
    values: dict[str, Any] = field(default_factory=lambda: {each.name: each.usual for each in SETTINGS})
    places: dict[str, str] = field(default_factory=dict)
    """FILE:LINE by setting, or "layouts.NAME"."""
    layouts: dict[str, tuple[str, ...]] = field(default_factory=lambda: dict(LAYOUTS))
    keymap: Keymap = field(default_factory=Keymap)
    problems: list[str] = field(default_factory=list)
    """What is wrong, a line each."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def told(self) -> str:
        """The problems in one line, or ""."""
        more = len(self.problems) - 1
        return self.problems[0] + (f" (and {more} more: rvtui config)" if more > 0 else "") if self.problems else ""


def usual_file() -> Path | None:
    """$XDG_CONFIG_HOME/rvtui/config.toml."""
    folder = config_folder()
    return None if folder is None else folder / "config.toml"


def load(file: str | Path | None = None) -> Settings:
    """What the file says; without one the user's own, if there is one. ConfigurationError where a file that was named
    is not there; all else is in `problems`."""
    path = Path(file) if file is not None else usual_file()
    settings = Settings(path)
    if path is None:
        return settings
    try:
        text = read_small(path).decode()
        whole = tomllib.loads(text)
    except FileNotFoundError:
        if file is None:
            return settings
        raise ConfigurationError(f"{path}: there is no such file") from None
    except OSError as error:
        settings.problems.append(f"{path}: {error.strerror}")
    except UnicodeDecodeError as error:
        settings.problems.append(f"{path}: not UTF-8 at byte {error.start}")
    except tomllib.TOMLDecodeError as error:
        settings.problems.append(_syntax(path, str(error), text))
    except (ValueError, RecursionError) as error:
        settings.problems.append(f"{path}: {clean(str(error), 120)}")
    else:
        _take(settings, whole, _Lines(path, text))
    return settings


def _syntax(path: Path, error: str, text: str) -> str:
    found = re.search(r"\(at line (\d+), column \d+\)", error)
    line = int(found[1]) if found else text.count("\n") + 1
    return f"{path}:{line}: {clean(re.sub(r' *[(]at .*', '', error), 120)}"


_WORD: Final = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_PAIR: Final = re.compile(rf"\s*({_WORD}(?:\s*\.\s*{_WORD})*)\s*=")


class _Lines:
    """Where keys stand in a file, as far as that can be told from its lines."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._found: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        for number, line in enumerate(text.splitlines(), 1):
            if head := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
                table = _parts(head[1])
                self._found.setdefault(table, number)
            elif pair := _PAIR.match(line):
                parts = _parts(pair[1])
                for end in range(1, len(parts) + 1):
                    self._found.setdefault(table + parts[:end], number)

    def place(self, *path: str) -> str:
        """FILE:LINE of a key."""
        wanted = tuple(part for name in path for part in name.split("."))
        for end in range(len(wanted), 0, -1):
            if wanted[:end] in self._found:
                return f"{self._path}:{self._found[wanted[:end]]}"
        return f"{self._path}:1"


def _parts(key: str) -> tuple[str, ...]:
    words = re.findall(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)", key)
    return tuple(part for word in words for part in "".join(word).split("."))


def _take(settings: Settings, whole: Mapping[str, Any], lines: _Lines) -> None:
    known = [each.name for each in SETTINGS] + ["keys", "layouts"]
    for name in whole:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}"
            settings.problems.append(f"{lines.place(name)}: no setting {clean(name, 40)!r}: {hint}")
    for name in ("keys", "layouts"):
        if not isinstance(whole.get(name, {}), dict):
            settings.problems.append(f"{lines.place(name)}: {name} is a table: write [{name}] on a line of its own")
    tables = {name: whole[name] if isinstance(whole.get(name), dict) else {} for name in ("layouts", "keys")}
    for name, value in tables["layouts"].items():
        place = lines.place("layouts", name)
        try:
            settings.layouts[name] = checked_layout(name, value)
            settings.places[f"layouts.{name}"] = place
        except ConfigurationError as error:
            settings.problems.append(f"{place}: {error}")
    for each in SETTINGS:
        if each.name in whole:
            place = lines.place(each.name)
            try:
                each.check(whole[each.name], settings)
            except _Wrong as error:
                settings.problems.append(f"{place}: {each.name}: {error}")
            else:
                settings.values[each.name] = whole[each.name]
                settings.places[each.name] = place
    changes = dict(_changes(tables["keys"], "", lines, settings.problems))
    settings.keymap = Keymap(settings["keymap"], changes)
    settings.problems += settings.keymap.problems
    settings.problems.sort(key=lambda text: int(text.removeprefix(f"{settings.file}:").partition(":")[0]))


def _changes(table: Mapping[str, Any], prefix: str, lines: _Lines, problems: list[str]) -> list[tuple[str, Change]]:
    found: list[tuple[str, Change]] = []
    for word, value in table.items():
        name = prefix + word
        place = lines.place("keys", name)
        if isinstance(value, dict):  # csrs.edit = ..., or [keys.csrs]
            found += _changes(value, f"{name}.", lines, problems)
            continue
        if name not in actions.every():
            problems.append(f"{place}: no action {clean(name, 60)!r}{actions.suggestion(name)}")
            continue
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            problems.append(f"{place}: {name}: a key in quotes, or a list of such")
            continue
        keys = []
        for text in texts:
            try:
                keys.append(actions.parse_key(text))
            except ValueError as error:
                problems.append(f"{place}: {name}: {clean(str(error), 120)}")
        if keys or not texts:
            found.append((name, Change(tuple(dict.fromkeys(keys)), place)))
    return found


def checked_layout(name: str, value: Any) -> tuple[str, ...]:
    """A layout that the user made. ConfigurationError that says what is wrong with it."""
    known = [pane.NAME for pane in panes.every()]
    if name in LAYOUTS or name in RESERVED or name in known:
        what = "a layout of ours" if name in LAYOUTS else "a pane" if name in known else "a word of the command"
        raise ConfigurationError(f"layout {name}: that is {what}; choose another name")
    if not re.fullmatch(r"[\w-]+", name) or len(name) > LONGEST_NAME:
        raise ConfigurationError(f"layout {clean(name, 40)!r}: letters, digits, - and _, at most {LONGEST_NAME}")
    return checked_panes(value, f"layout {name}: ")


def checked_panes(value: Any, what: str = "") -> tuple[str, ...]:
    """Names of panes that stand beside each other. ConfigurationError that says what is wrong with them."""
    known = [pane.NAME for pane in panes.every()]
    if not isinstance(value, list | tuple) or not value or len(value) > MOST_TILES:
        raise ConfigurationError(f"{what}a list of panes, at most {MOST_TILES}")
    for pane in value:
        if pane not in known:
            near = difflib.get_close_matches(str(pane), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
            raise ConfigurationError(f"{what}no pane {clean(_toml(pane), 40)}: {hint}")
    if len(set(value)) != len(value):
        raise ConfigurationError(f"{what}a pane can be there only once")
    return tuple(value)


# --- as text ---


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


def _keys_toml(keys: tuple[str, ...]) -> str:
    spelled = [actions.spelled(key) for key in keys]
    return _toml(spelled[0] if len(spelled) == 1 else spelled)


def _row(text: str, remark: str) -> str:
    return f"{text:<44}  # {remark}"


def effective(settings: Settings) -> list[str]:
    """All that counts, as a config file, with where each value comes from."""
    places = settings.places
    lines = [
        _row(f"{each.name} = {_toml(settings[each.name])}", places.get(each.name, "default")) for each in SETTINGS
    ]
    own = {name: members for name, members in settings.layouts.items() if name not in LAYOUTS}
    if own:
        lines += ["", "[layouts]"]
        lines += [_row(f"{name} = {_toml(members)}", places[f"layouts.{name}"]) for name, members in own.items()]
    keymap = settings.keymap
    lines += ["", "[keys]"]
    for name in actions.every():
        lines.append(_row(f"{_quoted(name)} = {_keys_toml(keymap.keys[name])}", keymap.source(name)))
    lines += [f"# {note}" for note in keymap.notes]
    return lines


def _quoted(name: str) -> str:
    return f'"{name}"' if "." in name else name


def example() -> list[str]:
    """A config file that changes nothing: every line is a remark."""
    lines = ["# rvtui reads this from ~/.config/rvtui/config.toml ($XDG_CONFIG_HOME), or --config FILE.", "#"]
    for each in SETTINGS:
        lines.append("# " + _row(f"{each.name} = {_toml(each.usual)}", each.help))
    lines += [
        "#", "# [layouts]  # panes by name, for :layout", '# mine = ["vms", "code", "console", "walk"]', "#",
        '# [keys]  # an action and its key, or a list: "x", "ctrl+x", "f5", "pgup"; "g g" is twice g; [] is none',
    ]  # fmt: skip
    for action in actions.every().values():
        lines.append("# " + _row(f"{_quoted(action.name)} = {_keys_toml(action.keys)}", action.does))
    return lines
