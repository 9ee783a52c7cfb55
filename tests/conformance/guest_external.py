"""Guest external interrupts: hgeip, hgeie, VGEIN, SGEI and VSEIP."""

from __future__ import annotations

from rig import BASE, HS, INTERRUPT, ONES, SIE, VS, VU, M, Rig, U

from emulator.hart import Mode

from .suite import grid, rule

SECTION = "Hypervisor Guest External Interrupt Registers (hgeip and hgeie)"
REGISTERS = "Hypervisor Interrupt (hvip, hip, and hie) Registers"
SGEI, VSEI = 1 << 12, 1 << 10
MODES = (M, HS, U, VS, VU)


@rule(
    "hgei.bits",
    "hgeie has bits GEILEN to 1, VGEIN holds 0 to GEILEN, mideleg bit 12 is read-only one and hideleg bit 12 zero",
    section=SECTION,
    rows=(6, 78),
    cases=grid(geilen=(1, 5, 31, 63)),
)
def _(geilen: int) -> None:
    rig = Rig(guest_interrupts=geilen, hgeie=ONES, mideleg=0, hideleg=ONES, mie=ONES)
    assert rig.csr("hgeie") == (1 << geilen + 1) - 2
    assert rig.csr("mideleg") & SGEI and not rig.csr("hideleg") & SGEI
    assert rig.csr("mie") & SGEI == SGEI == rig.csr("hie") & SGEI
    rig.set(hie=0)
    assert not rig.csr("mie") & SGEI
    rig.set(hie=SGEI)
    assert rig.csr("mie") & SGEI
    for value in range(64):
        rig.set(hstatus=value << 12)
        found = rig.csr("hstatus") >> 12 & 0x3F
        assert found == value if value <= geilen else found <= geilen


@rule(
    "hgei.pending",
    "hgeip shows the wires, and cannot be written; hip.SGEIP is 1 exactly while hgeip AND hgeie is not zero",
    section=SECTION,
    rows=(73, 78),
    cases=grid(line=(1, 2, 5), enabled=(0, 1 << 1, 1 << 2, 1 << 5, 0x3E)),
)
def _(line: int, enabled: int) -> None:
    rig = Rig(guest_interrupts=5, hgeie=enabled)
    assert rig.csr("hgeip") == 0
    rig.hart.guest_wire(line, True)
    assert rig.csr("hgeip") == 1 << line
    sgei = SGEI if enabled >> line & 1 else 0
    assert rig.csr("hip") & SGEI == sgei == rig.csr("mip") & SGEI
    rig.write(BASE, "csrw hip, zero\ncsrw mip, zero")
    rig.run(2)
    assert rig.csr("hip") & SGEI == sgei
    rig.hart.guest_wire(line, False)
    assert (rig.csr("hgeip"), rig.csr("hip")) == (0, 0)


@rule(
    "hgei.vsei",
    "hip.VSEIP is hvip.VSEIP OR the bit of hgeip that VGEIN selects, whatever hgeie is; 0 selects none",
    section=REGISTERS,
    rows=(73, 78),
    cases=grid(vgein=(0, 1, 2, 5), line=(1, 2, 5), hgeie=(0, 0x3E), hvip=(0, VSEI)),
)
def _(vgein: int, line: int, hgeie: int, hvip: int) -> None:
    rig = Rig(guest_interrupts=5, hgeie=hgeie, hstatus=vgein << 12, hvip=hvip, hideleg=VSEI)
    rig.hart.guest_wire(line, True)
    expected = hvip or (VSEI if vgein == line else 0)
    assert rig.csr("hip") & VSEI == expected == rig.csr("mip") & VSEI
    assert rig.csr("vsip") == expected >> 1
    assert rig.csr("hvip") == hvip


@rule(
    "hgei.sgei",
    "SGEI is interrupt 12, goes to HS-mode from every mode below M, and cannot be delegated further",
    section=REGISTERS,
    rows=(75,),
    cases=grid(mode=MODES, sie=(0, SIE)),
)
def _(mode: Mode, sie: int) -> None:
    rig = Rig("nop", guest_interrupts=3, hgeie=8, mie=SGEI, mstatus=sie | 8, vsstatus=SIE, hideleg=ONES, mideleg=0)
    rig.hart.guest_wire(3, True)
    rig.hart.mode = mode
    rig.run(1)
    takes = mode in (U, VS, VU) or (mode is HS and sie)
    assert rig.trap() == ((HS, INTERRUPT | 12, 0) if takes else None)


@rule(
    "hgei.priority",
    "SGEI comes behind SEI, SSI and STI and before VSEI, VSSI and VSTI",
    section=REGISTERS,
    cases=grid(other=(9, 1, 5, 10, 2, 6)),
)
def _(other: int) -> None:
    rig = Rig("nop", mode=U, guest_interrupts=1, hgeie=2, mie=ONES, mideleg=0x222)
    rig.set(**({"mip": 1 << other} if other in (1, 5, 9) else {"hvip": 1 << other}))
    rig.hart.guest_wire(1, True)
    rig.run(1)
    assert rig.trap() == (HS, INTERRUPT | (other if other in (1, 5, 9) else 12), 0)


@rule(
    "hgei.wfi",
    "WFI wakes for VSEIP that comes from hgeip, and for SGEIP",
    section="Wait for Interrupt",
    rows=(77,),
    cases=grid(bit={"VSEI": VSEI, "SGEI": SGEI}, mode=(M, HS, VS)),
)
def _(bit: int, mode: Mode) -> None:
    rig = Rig("wfi\nnop\nnop", mode=mode, guest_interrupts=4, hstatus=4 << 12, hideleg=VSEI, mie=bit)
    rig.set(hgeie=1 << 4 if bit == SGEI else 0)
    rig.run(3)
    assert rig.hart.waiting
    rig.hart.guest_wire(4, True)
    rig.run(1)
    assert not rig.hart.waiting


@rule(
    "hgei.delivery",
    "VSEI from hgeip is code 10 in HS-mode and, delegated, code 9 in VS-mode",
    section=REGISTERS,
    rows=(76,),
    cases=grid(hideleg=(0, VSEI), mode=(VS, VU)),
)
def _(hideleg: int, mode: Mode) -> None:
    rig = Rig("nop", mode=mode, guest_interrupts=2, hstatus=2 << 12, hideleg=hideleg, mie=VSEI, vsstatus=SIE)
    rig.hart.guest_wire(2, True)
    rig.run(1)
    assert rig.trap() == ((VS, INTERRUPT | 9, 0) if hideleg else (HS, INTERRUPT | 10, 0))
