"""Hints by name: Zihintpause (pause), Zihintntl (ntl.*) and Zicbop (prefetch.*). None does or raises anything.

Each is a narrower pattern within an instruction of the base set that has no effect in this form.
"""

from __future__ import annotations

from .description import compressed, instruction

EXTENSION = "Zihintntl"


@instruction("pause", "0000 0001 0000 00000 000 00000 0001111", extension="Zihintpause")
def pause():
    """A FENCE that orders nothing. The hart goes on at once: its clock counts instructions, not waiting."""


def describe_locality(name: str, rs2: int) -> None:
    @instruction(f"ntl.{name}", f"0000000 {rs2:05b} 00000 000 00000 0110011")
    def hint():
        """There is no cache that could keep or not keep what the next instruction accesses."""

    compressed(f"c.ntl.{name}", f"100 1 00000 {rs2:05b} 10", f"ntl.{name}", extension="Zihintntl", needs="Zca")


for _rs2, _name in enumerate(("p1", "pall", "s1", "all"), 2):
    describe_locality(_name, _rs2)


def describe_prefetch(kind: str, operation: str) -> None:
    @instruction(f"prefetch.{kind} imm(rs1)", f"imm[11:5] {operation} rs1 110 00000 0010011", extension="Zicbop")
    def prefetch():
        """Raises no exception whatever the address ("Cache Management Operations", section "Traps")."""


for _kind, _operation in (("i", "00000"), ("r", "00001"), ("w", "00011")):
    describe_prefetch(_kind, _operation)
