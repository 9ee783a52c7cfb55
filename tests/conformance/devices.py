"""Devices as programs reach them: through both stages, in their widths, up to their edges."""

from __future__ import annotations

from assembler import assemble
from rig import ADUE, BASE, HS, HU, INTERRUPT, LEAF, MIE, ONES, SPVP, USER, VS, D, M, Rig, Tables, U

from emulator.devices.flash import FLASH, Flash
from emulator.hart import Mode
from emulator.machine import ACLINT, FINISHER, PLIC, RTC, UART

from .scene import ADDRESS, GPA, PAGE, Scene
from .suite import grid, rule

PMA = "Physical Memory Attributes"
LOADS = {
    "lw": (4, True), "lwu": (4, False), "ld": (8, False), "hlv.w": (4, True), "hlv.wu": (4, False), "hlv.d": (8, False),
}  # fmt: skip
STORES = {"sw": 4, "sd": 8, "hsv.w": 4, "hsv.d": 8}
COMPARE = ACLINT + 0x4000
"""Hart 0's mtimecmp: 64 bits that read as they were written."""


def scene_for(mode: Mode, text: str, at: int) -> Scene:
    """ADDRESS leads to the page of `at`; HLV and HSV are of the guest's."""
    guest = text.startswith("h")
    scene = Scene(mode, 0 if mode is M and not guest else 3, guest=guest, hstatus=HU | SPVP)
    page = at & ~0xFFF
    scene.first.map(ADDRESS, GPA if mode.virtual or guest else page, LEAF | (0 if mode.privilege or guest else USER))
    scene.second.map(GPA, page, LEAF | USER)
    return scene


def address_of(scene: Scene, at: int) -> int:
    return at if scene.mode is M and not scene.guest else ADDRESS | at & 0xFFF


def form(text: str) -> str:
    value = "a2" if text.startswith(("s", "hs")) else "a0"
    return f"{text} {value}, (a1)" if text.startswith("h") else f"{text} {value}, 0(a1)"


def choices(texts: dict[str, object]) -> dict[str, dict[str, object]]:
    modes = (M, HS, U, VS)
    return {k: v for k, v in grid(text=texts.keys(), mode=modes).items() if v["mode"] is not VS or v["text"][0] != "h"}


@rule(
    "device.load",
    "A load takes from a device as many bytes as it names and extends them, once, through whichever stages there are",
    section=PMA,
    cases=choices(LOADS),
)
def _(text: str, mode: Mode) -> None:
    scene = scene_for(mode, text, COMPARE)
    size, signed = LOADS[text]
    value = 0x8123_4567_89AB_CDEF
    scene.rig.hart.mtimecmp = value
    for offset in range(0, 8, size):
        for _ in range(2):
            found = scene.execute(form(text), address_of(scene, COMPARE + offset))
            part = value.to_bytes(8, "little")[offset : offset + size]
            assert found.cause is None
            assert found.value == int.from_bytes(part, "little", signed=signed) & ONES


@rule(
    "device.store",
    "A store gives a device as many bytes as it names",
    section=PMA,
    cases=choices(STORES),
)
def _(text: str, mode: Mode) -> None:
    scene = scene_for(mode, text, COMPARE)
    size, before = STORES[text], 0xEEEE_EEEE_DDDD_DDDD
    for offset in range(0, 8, size):
        scene.rig.hart.mtimecmp = before
        assert scene.execute(form(text), address_of(scene, COMPARE + offset)).cause is None
        expected = bytearray(before.to_bytes(8, "little"))
        expected[offset : offset + size] = (0x1122_3344_5566_7788).to_bytes(8, "little")[:size]
        assert scene.rig.hart.mtimecmp == int.from_bytes(expected, "little")


@rule(
    "device.byte",
    "Bytes of a device are bytes: the UART's scratch register keeps the one that was written",
    section=PMA,
    cases=grid(load=("lb", "lbu"), value=(0x7F, 0x80, 0xFF)),
)
def _(load: str, value: int) -> None:
    scene = scene_for(VS, "lb", UART)
    assert scene.execute(f"li a2, {value}\nsb a2, 0(a1)", ADDRESS + 7, steps=2).cause is None
    found = scene.execute(form(load), ADDRESS + 7)
    assert found.value == (value if load == "lbu" else value - 256 * (value >> 7)) & ONES


@rule(
    "device.misaligned",
    "A device takes no misaligned access: an access fault, with the address as the program gave it",
    section=PMA,
    cases=choices({**LOADS, **STORES}),
)
def _(text: str, mode: Mode) -> None:
    scene = scene_for(mode, text, COMPARE)
    scene.rig.hart.mtimecmp = 0
    store = text.startswith(("s", "hs"))
    for offset in range(1, {**STORES, **{name: size for name, (size, _) in LOADS.items()}}[text]):
        address = address_of(scene, COMPARE + offset)
        found = scene.execute(form(text), address)
        assert (found.cause, found.tval) == (7 if store else 5, address)
    assert scene.rig.hart.mtimecmp == 0


@rule(
    "device.edges",
    "A device answers from its first to its last byte; beside it there is nothing: an access fault",
    section=PMA,
    cases=grid(base={"finisher": FINISHER, "RTC": RTC, "ACLINT": ACLINT, "PLIC": PLIC, "UART": UART}, mode=(M, VS)),
)
def _(base: int, mode: Mode) -> None:
    spans = {at: device.size for at, device in Scene(M, 0).rig.machine.bus}
    size = spans[base]
    text = "lbu" if base == UART else "lw"
    width = 1 if base == UART else 4
    for at in (base - width, base, base + size - width, base + size):
        scene = scene_for(mode, text, at)
        inside = any(first <= at < first + length for first, length in spans.items())
        assert scene.execute(form(text), address_of(scene, at)).cause == (None if inside else 5), hex(at)


@rule(
    "device.order",
    "Behind a device access the program goes on with the next instruction, in its own mode",
    section=PMA,
    cases=grid(mode=(M, HS, VS)),
)
def _(mode: Mode) -> None:
    scene = scene_for(mode, "ld", COMPARE)
    scene.rig.hart.mtimecmp = 5
    text = "ld a0, 0(a1)\naddi a0, a0, 1\nsd a0, 0(a1)\nld a3, 0(a1)\nadd a0, a0, a3"
    found = scene.execute(text, address_of(scene, COMPARE), steps=5)
    assert (found.cause, found.value) == (None, 12)
    assert (scene.rig.hart.pc, scene.rig.hart.mode) == (BASE + 20, mode)


@rule(
    "device.interrupt",
    "A store that makes an interrupt pending retires, once, and the interrupt is taken before the next instruction",
    section="Machine Interrupt (mip and mie) Registers",
    cases=grid(which={"software": ("sw", ACLINT, 1, 3), "timer": ("sd", COMPARE, 0, 7)}, mode=(M, HS, U)),
)
def _(which: tuple[str, int, int, int], mode: Mode) -> None:
    store, at, value, code = which
    rig = Rig(f"{store} a2, 0(a1)\naddi a3, a3, 1\naddi a3, a3, 1\naddi a3, a3, 1", mode=mode)
    rig.hart.mtimecmp = ONES
    rig.set(mie=1 << code, mstatus=MIE)
    rig.put(a1=at, a2=value, a3=0)
    retired = rig.csr("minstret")
    rig.run(2)
    assert (rig.trap(), rig.csr("mepc"), rig.x("a3")) == ((M, INTERRUPT | code, 0), BASE + 4, 0)
    assert rig.csr("minstret") == retired + 1


READ_ARRAY, READ_ID = 0x00FF_00FF, 0x0090_0090
"""Commands for both chips of a bank."""


@rule(
    "device.flash",
    "Flash that shows its array is read-only memory, for walks too; else it is neither executed nor walked",
    section=PMA,
    cases=grid(shown=(True, False), before=(True, False)),
)
def _(shown: bool, before: bool) -> None:
    """`before`: the other way was tried first, so that what was known of it must be forgotten."""
    rig = Rig(flash=[Flash()])
    rig.machine.memory.fill(FLASH + 0x1_0000, 0x1_0000)  # erased, it is all ones
    tables = Tables(rig, at=FLASH + 0x1_0000)
    tables.map(BASE, BASE, LEAF)
    tables.map(ADDRESS, PAGE, LEAF)
    tables.map(ADDRESS + 0x1000, PAGE, LEAF & ~D)
    rig.store(FLASH + 8, 0x0123_4567_89AB_CDEF)
    rig.store(PAGE, 77)
    rig.machine.memory.write(FLASH + 0x100, b"\x82\x80" * 8)  # c.jr ra
    rig.set(menvcfg=ADUE)

    def attempt(text: str, mode: Mode, address: int, steps: int = 1) -> int | None:
        rig.write(BASE, text)
        rig.set(satp=0 if mode is M else tables.atp)
        rig.hart.flush_translation()
        rig.hart.pc, rig.hart.mode = BASE, mode
        rig.put(a1=address, a2=READ_ID)
        rig.run(steps)
        trap = rig.trap()
        return trap[1] if trap else None

    for way in (not shown, shown) if before else (shown,):
        assert attempt("sw a2, 0(a1)", M, FLASH) is None, "a store is a command"
        rig.machine.bus.write(FLASH, 4, READ_ARRAY if way else READ_ID)
        assert attempt("ld a0, 0(a1)", M, FLASH + 8) is None
        assert (rig.x("a0") == 0x0123_4567_89AB_CDEF) == way
        assert attempt("jalr ra, 0(a1)\nnop", M, FLASH + 0x100, 2) == (None if way else 1)
        assert attempt("ld a0, 0(a1)", HS, ADDRESS) == (None if way else 1), "the instruction's own walk comes first"
        if way:
            assert rig.x("a0") == 77
            assert attempt("sd a0, 0(a1)", HS, ADDRESS) is None
            assert attempt("sd a0, 0(a1)", HS, ADDRESS + 0x1000) == 7, "D cannot be set"
        for atomic in ("amoadd.d a0, a1, (a1)", "sc.d a0, a1, (a1)"):
            assert attempt(atomic, M, FLASH + 8) == 7, "not for atomics"
        assert rig.load(FLASH + 8) == 0x0123_4567_89AB_CDEF
        assert rig.load(tables.slot(ADDRESS + 0x1000)) & D == 0


@rule(
    "device.flash.itself",
    "A store from flash that hides its own bank retires, once, and the next instruction cannot be fetched",
    section=PMA,
    cases=grid(command={"identity": READ_ID, "array": READ_ARRAY}),
)
def _(command: int) -> None:
    rig = Rig(flash=[Flash()])
    rig.machine.memory.write(FLASH + 0x200, assemble(FLASH + 0x200, "sw a2, 0(a1)\naddi a0, a0, 1\nself: j self").code)
    rig.put(a0=0, a1=FLASH, a2=command)
    rig.hart.pc = FLASH + 0x200
    before = rig.csr("minstret")
    rig.run(2)
    hides = command == READ_ID
    assert (rig.trap(), rig.x("a0")) == (((M, 1, FLASH + 0x204), 0) if hides else (None, 1))
    assert rig.csr("minstret") - before == (1 if hides else 2)


@rule(
    "device.flash.across",
    "Of a store from RAM into flash nothing is stored: the second part is an access fault, and mtinst has its place",
    section=PMA,
    cases=grid(room=(1, 4, 7)),
)
def _(room: int) -> None:
    rig = Rig(flash=[Flash()])
    tables = Tables(rig)
    for address, to in ((BASE, BASE), (ADDRESS, PAGE), (ADDRESS + 0x1000, FLASH)):
        tables.map(address, to, LEAF)
    rig.store(PAGE + 0xFF8, ONES)
    rig.write(BASE, "sd a2, 0(a1)")
    rig.put(a1=ADDRESS + 0x1000 - room, a2=0)
    rig.set(satp=tables.atp)
    rig.hart.mode = HS
    rig.run(1)
    assert rig.trap() == (M, 7, ADDRESS + 0x1000)
    assert rig.csr("mtinst") >> 15 & 31 == room
    assert rig.load(PAGE + 0xFF8) == ONES == rig.load(FLASH)
