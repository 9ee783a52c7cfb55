"""The config file: what it says, what is wrong in it, and how it is told."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from desk import failed, opened, run

from emulator.errors import ConfigurationError
from rvtui import actions, configuration
from rvtui.actions import Keymap
from rvtui.configuration import SETTINGS, Settings, load
from rvtui.layout import LAYOUTS


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_all_of_it(tmp_path: Path) -> None:
    path = written(tmp_path, """
keymap = "vim"
theme = "rvtui-safe"
layout = "mine"
frames = 10
stops = false
resume = false
[layouts]
mine = ["code", "walk"]
[keys]
step = ["x", "Ctrl-T"]
next = []
"registers.floating" = "o"
[keys.stops]
remove = "r"
""")  # fmt: skip
    settings = load(path)
    assert not settings.problems
    assert settings.values == {
        "keymap": "vim", "theme": "rvtui-safe", "layout": "mine", "frames": 10, "stops": False, "resume": False
    }  # fmt: skip
    assert settings.layouts["mine"] == ("code", "walk") and settings.layouts.keys() > LAYOUTS.keys()
    keys = settings.keymap.keys
    assert keys["step"] == ("x", "ctrl+t") and keys["next"] == () and keys["registers.floating"] == ("o",)
    assert keys["stops.remove"] == ("r",) and keys["pane.top"] == ("home", "g g")
    assert settings.keymap.source("step") == f"{path}:11" and settings.keymap.source("stops.remove") == f"{path}:15"
    assert settings.keymap.source("pane.top") == "vim" and settings.keymap.source("quit") == "default"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("kaymap = 'vim'", 1, "no setting 'kaymap': did you mean 'keymap'?"),
        ("\nkeymap = 'emacs'", 2, 'keymap: there is no "emacs": one of default, vim'),
        ("theme = 'rvtui-sfae'", 1, "did you mean 'rvtui-safe'?"),
        ("theme = 3", 1, "theme: there is no 3"),
        ("# first\n\nframes = 1000", 3, "frames: 1000 is no whole number from 2 to 60"),
        ("frames = true", 1, "frames: true is no whole number"),
        ("stops = 'yes'", 1, 'stops: "yes" is neither true nor false'),
        ("layout = 'nowhere'", 1, 'layout: there is no "nowhere"'),
        ("[keys]\nstpe = 'x'", 2, "no action 'stpe', did you mean 'step'?"),
        ("[keys]\nregisters.flaoting = 'x'", 2, "no action 'registers.flaoting', did you mean 'registers.floating'?"),
        ("[keys.registers]\n\nflaoting = 'x'", 3, "did you mean 'registers.floating'?"),
        ("[keys]\nstep = 'ctlr+x'", 2, "step: 'ctlr+x' is no key"),
        ("[keys]\nstep = 'pageupp'", 2, "did you mean 'pageup'?"),
        ("[keys]\nstep = 5", 2, "step: a key in quotes, or a list of such"),
        ("[keys]\nstep = 'n'", 2, "'n' is step and next"),
        ("[keys]\nuntil = 'x'\nstep = 'x'", 3, "'x' is until and step: the first keeps it"),
        ("[keys]\n'console.leave' = []", 2, "console.leave needs a key"),
        ("keys = 3", 1, "keys is a table"),
        ("[layouts]\nmine = ['code', 'wlak']", 2, "layout mine: no pane \"wlak\": did you mean 'walk'?"),
        ("[layouts]\nmine = ['code', 'code']", 2, "a pane can be there only once"),
        ("[layouts]\nmine = []", 2, "a list of panes"),
        ("[layouts]\nmine = 'code'", 2, "a list of panes"),
        ("[layouts]\nmine = [['code']]", 2, "no pane"),
        ("[layouts]\ncode = ['code']", 2, "that is a pane"),
        ("[layouts]\nby-size = ['code']", 2, "a layout of ours"),
        ("[layouts]\nsave = ['code']", 2, "a word of the command"),
        ("[layouts]\n'a b' = ['code']", 2, "letters, digits"),
        ("theme = 'rvtui-safe'\nframes = \n", 2, "Invalid value"),
        ("theme = 'rvtui-safe", 1, ""),
        ("a = 1\na = 2", 2, "Cannot overwrite a value"),
        ("[keys]\nwalk = 'w'\nwalk.mode = 'q'", 3, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = written(tmp_path, text)
    problem, *more = load(path).problems
    assert problem.startswith(f"{path}:{line}: ") and says in problem and "\n" not in problem and not more, problem


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"# " + b"x" * (1 << 20), "too large"),
        (b"a = " + b"[" * 20_000, ""),
        (b"\0", ":1: "),
    ],
)
def test_rubbish_is_told(tmp_path: Path, data: bytes, says: str) -> None:
    (problem,) = load(written(tmp_path, data)).problems
    assert says in problem and len(problem) < 400 and problem.isprintable()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "no regular file" in load(tmp_path).problems[0]
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in load(tmp_path / "pipe").problems[0], "and nothing waits for its other end"
    with pytest.raises(ConfigurationError, match="there is no such file"):
        load(tmp_path / "none")


def test_what_is_right_counts_beside_what_is_wrong(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "theme = 'none'\nframes = 30\n[keys]\nstep = ['frob', 'x']\nrun = 7\n"))
    assert settings["theme"] == "rvtui-dark" and settings["frames"] == 30 and len(settings.problems) == 3
    assert settings.keymap.keys["step"] == ("x",) and settings.keymap.keys["run"] == ("space", "r")


def test_the_users_own_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load().values == Settings().values and not load().problems, "none is no mistake"
    (tmp_path / "rvtui").mkdir()
    (tmp_path / "rvtui" / "config.toml").write_text("frames = 7")
    assert load()["frames"] == 7
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config" / "rvtui").mkdir(parents=True)
    (tmp_path / ".config" / "rvtui" / "config.toml").write_text("frames = 8")
    assert load()["frames"] == 8, "a relative one does not count"


def test_what_is_printed_is_a_config_file_that_says_the_same(tmp_path: Path) -> None:
    first = load(written(tmp_path, "keymap = 'vim'\nframes = 7\n[layouts]\nx = ['code']\n[keys]\nstep = ['x', '\"']\n"))
    assert not first.problems
    again = load(written(tmp_path, "\n".join(configuration.effective(first))))
    assert not again.problems and again.values == first.values and again.layouts == first.layouts
    assert again.keymap.keys == first.keymap.keys


def test_the_example_changes_nothing_and_has_all(tmp_path: Path) -> None:
    lines = configuration.example()
    assert all(line.startswith("#") for line in lines)
    said = [line.removeprefix("# ") for line in lines[2:] if line != "#"]
    said = [line for line in said if not line.startswith("mine")]
    settings = load(written(tmp_path, "\n".join(said)))
    assert not settings.problems and settings.values == Settings().values
    assert settings.keymap.keys == Keymap().keys
    whole = tomllib.loads("\n".join(said))
    assert whole.keys() == {*(each.name for each in SETTINGS), "layouts", "keys"}
    assert whole["keys"].keys() == actions.every().keys()


def test_the_command(tmp_path: Path) -> None:
    done = run("config", "--example")
    assert done.returncode == 0 and b"# keymap" in done.stdout
    path = written(tmp_path, "theme = 'rvtui-safe'\n[keys]\nstep = 'x'\n")
    done = run("config", "--config", path)
    text = done.stdout.decode()
    assert done.returncode == 0 and f"# {path}:1\n" in text and f"# {path}:3\n" in text and "# default\n" in text
    assert f"# {path}:3: in stops 'x' is stops.remove, not step" in text
    path.write_text("them = 'x'\nframes = 0")
    told = "no setting 'them': did you mean 'theme'? (and 1 more: rvtui config)"
    assert failed("config", "--config", path) == f"{path}:1: {told}"
    assert "there is no such file" in failed("--config", tmp_path / "none", "config")


async def test_the_application_starts_with_what_is_good_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, "theme = 'rvtui-light'\nfrmes = 3\n[keys]\nstep = 'x'\n")
    async with opened(["hello"], (120, 40), running=False, settings=load(path)) as desk:
        message = desk.application._keys.message
        assert f"{path}:2: no setting 'frmes': did you mean 'frames'?" in message and "✗" in message
        assert desk.application.theme == "rvtui-light"
        await desk.press("escape")
        assert "x step" in desk.screen()[-1]


async def test_pictures_a_second(tmp_path: Path) -> None:
    async with opened(["hello"], running=False, settings=load(written(tmp_path, "frames = 50"))) as desk:
        assert desk.session.frame_seconds == pytest.approx(0.018)
