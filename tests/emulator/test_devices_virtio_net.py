"""The network device, against virtio 1.2, "Network Device": a driver by hand, and programs in a machine and in VMs."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from assembler import Program, assemble
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import BASE, DATA, Rig
from test_devices_virtio import BUFFERS, EVENTS, HOSTILE, INDIRECTS, NOTIFY, RAM, STATUS, VERSION_1, Board, play, steps
from test_network import ALL, arp, echo, frame, opened, packet

import snapshots
from emulator.devices.network import Hub
from emulator.devices.virtio import VIRTIO_SLOTS, Drive, Entropy, Network
from emulator.devicetree import parse
from emulator.errors import ConfigurationError, StateError
from emulator.hart import ExitReason
from emulator.machine import Machine
from emulator.vmm import Hypervisor, Vm
from emulator.vmm.vm import RAM_BASE

RECEIVE, TRANSMIT = 0, 1
NEXT, WRITE, INDIRECT = 1, 2, 4
MAC, MTU_BIT, MAC_BIT, STATUS_BIT = "52:54:00:12:34:56", 3, 5, 16
PING = frame(packet(1, echo(b"\0\1\0\2 there?")))


class Card(Board):
    """A driver with rings for both queues, each with an area of 64 KiB, receive buffers from its middle on."""

    def __init__(self, hub: Hub | None = None, features: int = VERSION_1 | INDIRECTS, network: Network | None = None):
        self.network = network or Network(MAC)
        super().__init__(self.network, features)
        if hub is not None:
            hub.connect(self.network.port)
        self.header = 12 if features & VERSION_1 else 10
        self.counts = {RECEIVE: [0, 0], TRANSMIT: [0, 0]}
        self.negotiate()
        for queue in self.counts:
            self.place(queue, *(self.area(queue) + n * 0x1000 for n in (1, 2, 3)))
        self[STATUS] = 15

    @staticmethod
    def area(queue: int) -> int:
        return RAM + (queue + 1 << 16)

    def put(self, queue: int, *rows: tuple[int, int, int, int], head: int = 0, notify: bool = True) -> None:
        """Offer a chain whose first descriptor is `head`."""
        at = self.area(queue)
        self.describe(*rows, table=at + 0x1000, at=head)
        counts = self.counts[queue]
        self.memory.write_int(at + 0x2004 + 2 * (counts[0] % 8), 2, head)
        counts[0] += 1
        self.memory.write_int(at + 0x2002, 2, counts[0] & 0xFFFF)
        if notify:
            self[NOTIFY] = queue

    def back(self, queue: int) -> tuple[int, int] | None:
        at, counts = self.area(queue) + 0x3000, self.counts[queue]
        if self.memory.read_int(at + 2, 2) == counts[1] & 0xFFFF:
            return None
        place = at + 4 + 8 * (counts[1] % 8)
        counts[1] += 1
        return self.memory.read_int(place, 4), self.memory.read_int(place + 4, 4)

    def transmit(self, data: bytes, header: bytes | None = None) -> None:
        self.memory.write(BUFFERS + 0x40000, (bytes(self.header) if header is None else header) + data)
        length = len(data) + (self.header if header is None else len(header))
        self.put(TRANSMIT, (BUFFERS + 0x40000, length, 0, 0))
        assert self.back(TRANSMIT) == (0, 0), self.problem

    def offer_buffer(self, size: int = 2048, head: int = 0, notify: bool = True) -> None:
        self.put(RECEIVE, (self.area(RECEIVE) + 0x8000 + 0x800 * head, size, WRITE, 0), head=head, notify=notify)

    def received(self) -> bytes | None:
        """The next frame, behind the header that must be all zeros but num_buffers."""
        used = self.back(RECEIVE)
        if used is None:
            return None
        data = self.memory.read(self.area(RECEIVE) + 0x8000 + 0x800 * used[0], used[1])
        assert data[: self.header] == bytes(10) + (b"\1\0" if self.header == 12 else b"")
        return data[self.header :]


def test_what_it_offers() -> None:
    card = Card()
    assert card[8] == 1
    card[0x14] = 0
    assert card[0x10] & 0xFFFFFF == 1 << MTU_BIT | 1 << MAC_BIT | 1 << STATUS_BIT, "no offloads, no control queue"
    for queue, most in ((RECEIVE, 256), (TRANSMIT, 256), (2, 0)):
        card[0x30] = queue
        assert card[0x34] == most
    assert [card.bus.read(0x100 + n, 1) for n in range(6)] == list(bytes.fromhex("525400123456"))
    assert card.bus.read(0x106, 2) == 1, "VIRTIO_NET_S_LINK_UP"
    assert card.bus.read(0x10A, 2) == 1500 and card.bus.read(0x10C, 4) == 0
    card.bus.write(0x100, 4, 0)
    assert card.bus.read(0x100, 2) == 0x5452, "the address is read-only"


@pytest.mark.parametrize("features", [VERSION_1, 0], ids=["version 1", "legacy header"])
def test_a_ping(features: int) -> None:
    hub = Hub()
    card = Card(hub, features)
    card.offer_buffer()
    card.transmit(PING)
    answer = card.received()
    assert answer is not None and opened(answer, 1)[1] == echo(b"\0\1\0\2 there?", 0)
    assert card.level and card.received() is None
    state = card.network.port.state()
    assert state == {"received": 1, "received_bytes": len(PING), "sent": 1, "sent_bytes": len(PING), "dropped": 0}


def test_frames_may_be_cut_anywhere() -> None:
    card = Card(Hub())
    data = bytes(12) + PING
    card.memory.write(BUFFERS + 0x40000, data)
    at = card.area(RECEIVE) + 0x8000
    card.put(RECEIVE, (at, 5, WRITE | NEXT, 1), (at + 5, 0, WRITE | NEXT, 2), (at + 5, 2000, WRITE, 0))
    card.put(TRANSMIT, (BUFFERS + 0x40000, 3, NEXT, 1), (BUFFERS + 0x40003, 20, NEXT, 2),
             (BUFFERS + 0x40017, len(data) - 23, 0, 0))  # fmt: skip
    assert card.back(TRANSMIT) == (0, 0)
    answer = card.received()
    assert answer is not None and opened(answer, 1)[1] == echo(b"\0\1\0\2 there?", 0)


def test_what_is_no_frame_is_dropped() -> None:
    hub = Hub()
    card = Card(hub)
    for data, header in [
        (PING, b"\1" + bytes(11)), (PING, b"\0\1" + bytes(10)), (b"", None), (PING[:13], None), (bytes(1519), None),
        (bytes(60000), None), (b"", bytes(11)),
    ]:  # fmt: skip
        card.transmit(data, header)
    assert card.network.port.dropped == 7 and hub.host_port.received == card.network.port.sent == 0
    card.put(TRANSMIT, (BUFFERS, 100, WRITE, 0))
    assert card.back(TRANSMIT) == (0, 0) and card.network.port.dropped == 8, "nothing to read"
    card.transmit(frame(bytes(1504), 0x8100, target=ALL))
    assert hub.host_port.received == 1, "a frame with a tag"


def test_frames_wait_for_buffers_and_are_dropped_beyond() -> None:
    card = Card(Hub())
    for _ in range(300):
        card.transmit(PING)
    port = card.network.port
    assert (port.sent, port.received, port.dropped, len(card.network.backlog)) == (300, 256, 44, 256)
    for number in range(256):
        card.offer_buffer(head=number % 8)
        assert card.received() is not None
    card.offer_buffer()
    assert card.received() is None and card.network.backlog == []
    card.transmit(PING)
    assert card.received() is not None, "buffers wait for frames, too"


@pytest.mark.parametrize("size", [0, 1, 11, 12, 12 + len(PING) - 1])
def test_buffers_that_are_too_small_cost_the_frame(size: int) -> None:
    card = Card(Hub())
    card.offer_buffer(size)
    card.transmit(PING)
    assert card.received() is None and card.network.port.dropped == 1 and card.problem == ""
    card.transmit(PING)
    assert card.network.port.dropped == 2 and card.network.backlog == []


def test_a_card_that_nobody_drives_drops() -> None:
    hub = Hub()
    card, idle = Card(hub), Network("52:54:00:12:34:57")
    idle.port.name = "idle"
    other = Board(idle)
    hub.connect(idle.port)
    card.transmit(frame(arp(1, "10.0.2.99"), 0x0806, target=ALL))
    assert idle.port.dropped == 1 and idle.backlog == []
    other.start(TRANSMIT)
    card.transmit(frame(arp(1, "10.0.2.99"), 0x0806, target=ALL))
    assert len(idle.backlog) == 1
    other[STATUS] = 0
    assert idle.backlog == []


@pytest.mark.parametrize(("words", "rows"), HOSTILE.items(), ids=list(HOSTILE))
def test_hostile_chains_need_a_reset(words: str, rows: list[tuple[int, int, int, int]]) -> None:
    """In the queue that frames come in by, while the other one is served."""
    card = Card(Hub())
    if "stands in one itself" in words:
        rows = [(BUFFERS, 16, INDIRECT, 0)]
        card.describe(*rows, table=BUFFERS)
    if "2064" in words:
        rows = [(BUFFERS, 257 * 16, INDIRECT, 0)]
    card.put(RECEIVE, *rows, notify=False)
    card.memory.write(BUFFERS + 0x40000, bytes(12) + PING)
    card.put(TRANSMIT, (BUFFERS + 0x40000, 12 + len(PING), 0, 0))
    assert card.problem and "queue 0" in card.problem
    assert card.back(RECEIVE) is None


def test_macs() -> None:
    for wrong in ("", "52:54", "53:54:00:12:34:56", "52-54-00-12-34-56", "5254:00:12:34:56", 5, b"x"):
        with pytest.raises(ConfigurationError, match="no MAC address"):
            Network(wrong)  # type: ignore[arg-type]
    assert Network("52:54:00:AB:cd:EF").configuration() == {"mac": "52:54:00:ab:cd:ef"}


@settings(deadline=None, max_examples=100)
@given(steps=steps, features=st.sampled_from([0, EVENTS]))
def test_any_driver_is_survived_and_saved_exactly(steps: list[tuple[str, Any]], features: int) -> None:
    hubs = Hub(), Hub()
    boards = [Board(Network(MAC), VERSION_1 | INDIRECTS | features) for _ in hubs]
    for hub, board in zip(hubs, boards, strict=True):
        hub.connect(board.transport.function.port)  # type: ignore[union-attr]
    one, two = boards
    one.start()

    def act(board: Board, what: str, value: Any) -> None:
        function = board.transport.function
        assert isinstance(function, Network)
        if what == "feed":
            for _ in range(3):
                function.port.receive((bytes(14) + value) * (1 + len(value)))
        else:
            play(board, what, value)

    for step in steps[: len(steps) // 2]:
        act(one, *step)
    two.transport.restore(one.transport.state())
    hubs[1].restore(hubs[0].state())
    two.memory.write(RAM, one.memory.read(RAM, 1 << 20))
    two.offered = one.offered
    for step in steps[len(steps) // 2 :]:
        act(one, *step)
        act(two, *step)
        assert one.transport.state() == two.transport.state() and hubs[0].state() == hubs[1].state()
    assert one.memory.read(RAM, 1 << 20) == two.memory.read(RAM, 1 << 20)


def test_a_damaged_state_changes_nothing() -> None:
    card = Card(Hub())
    card.transmit(PING)
    before = card.transport.state()
    inner = before["function"]
    fresh = Card(Hub()).transport.state()["function"]
    for damage in (
        {"status": -1}, {"function": {**inner, "backlog": [b"x" * 1519]}}, {"function": {**inner, "backlog": [1]}},
        {"function": {**inner, "backlog": [b""] * 257}}, {"function": {**inner, "port": {}}},
        {"function": {**fresh, "backlog": 3}}, {"function": {**fresh, "more": 3}},
    ):  # fmt: skip
        with pytest.raises(StateError):
            card.transport.restore({**before, "function": fresh, **damage})
        assert card.transport.state() == before


# --- in the machine ---

CARD_AT = 0x1000_1000 + 0x1000 * (VIRTIO_SLOTS - 2)
DRIVER = f"""
        li    s0, {CARD_AT}
        li    s1, data
        li    t0, 3
        sw    t0, 0x70(s0)
        li    t0, 1
        sw    t0, 0x24(s0)
        sw    t0, 0x20(s0)        # VERSION_1
        li    t0, 11
        sw    t0, 0x70(s0)
        li    s2, 0               # both queues
queue:  sw    s2, 0x30(s0)
        li    t0, 8
        sw    t0, 0x38(s0)
        slli  t1, s2, 12
        add   t0, s1, t1
        sw    t0, 0x80(s0)
        sw    zero, 0x84(s0)
        addi  t1, t0, 0x100
        sw    t1, 0x90(s0)
        sw    zero, 0x94(s0)
        addi  t1, t0, 0x200
        sw    t1, 0xa0(s0)
        sw    zero, 0xa4(s0)
        li    t0, 1
        sw    t0, 0x44(s0)
        addi  s2, s2, 1
        bne   s2, t0, ready
        j     queue
ready:  li    t0, 15
        sw    t0, 0x70(s0)
"""
WAIT = """
wait:   lhu   t0, 0x202(s1)       # a frame has come?
        beqz  t0, wait
"""
SLEEP = f"""
        li    t0, 0xc000000       # PLIC: the card's source, context 0
        li    t1, 1
        sw    t1, {4 * (VIRTIO_SLOTS - 1)}(t0)
        li    t0, 0xc002000
        li    t1, {1 << VIRTIO_SLOTS - 1}
        sw    t1, 0(t0)
        li    t0, 1 << 9
        csrw  sie, t0
        wfi
        li    t0, 0xc201004 - 0x1000
        lw    s3, 0(t0)
        lhu   s4, 0x202(s1)
"""


def rings(write: Any, data: int, sent: bytes = b"") -> None:
    """For DRIVER: one receive buffer, and a frame to send, already offered."""
    for queue, at, length, flags in ((0, data + 0x2000, 2048, WRITE), (1, data + 0x3000, 12 + len(sent), 0)):
        write(data + 0x1000 * queue, struct.pack("<QIHH", at, length, flags, 0))
        write(data + 0x1000 * queue + 0x100, struct.pack("<HHH", 0, int(queue == 0 or bool(sent)), 0))
    write(data + 0x3000, bytes(12) + sent)


def pinging() -> Rig:
    rig = Rig()
    rig.machine.attach(Network(), VIRTIO_SLOTS - 2)
    rig.program = rig.write(BASE, DRIVER + WAIT + "done: j done", data=DATA)
    rings(rig.machine.memory.write, DATA, PING)
    return rig


def test_a_guest_pings() -> None:
    rig = pinging()
    rig.reach("done")
    length = rig.load(DATA + 0x208, 4)
    answer = rig.machine.memory.read(DATA + 0x200C - 0xC, length)[12:]
    assert opened(answer, 1)[1] == echo(b"\0\1\0\2 there?", 0)
    assert "port virtio6: received 1, received_bytes 49, sent 1" in rig.machine.facts()
    assert rig.machine.hub.places == {bytes.fromhex("525400123456"): "virtio6"}


def test_a_snapshot_anywhere_in_between(tmp_path: Path) -> None:
    rig = pinging()
    rig.machine.run(200)
    wanted = rig.machine.state_hash()
    for count in range(0, 90, 7):
        machine = pinging().machine
        machine.run(count)
        snapshots.save(machine, tmp_path / "s")
        again = snapshots.load(tmp_path / "s")
        assert again.state_hash() == machine.state_hash()
        again.run(200 - count)
        assert again.state_hash() == wanted, count


def test_a_machine_with_a_network() -> None:
    machine = Machine(memory=1 << 20, network=True, entropy=0)
    assert [machine.bus.read(0x1000_1008 + 0x1000 * n, 4) for n in range(8)] == [0] * 6 + [1, 4]
    machine.attach(Network())
    assert [port.name for port in machine.hub.ports.values()] == ["host", "virtio6", "virtio0"]
    assert machine.state()["config"]["virtio"][0] == {"kind": "network", "mac": "52:54:00:12:34:57"}
    again = Machine.from_state(machine.state())
    assert again.state() == machine.state()
    for damage in ({"mac": "x"}, {"mac": 5}, {}):
        state = machine.state()
        state["config"]["virtio"][6] = {"kind": "network", **damage, **({} if damage else {"max": 1})}
        with pytest.raises(StateError):
            Machine.from_state(state)
    state = machine.state()
    state["network"]["places"] = [[bytes(6), "virtio5"]]
    with pytest.raises(StateError, match="network"):
        Machine.from_state(state)


# --- in VMs ---

MIB = 1 << 20
GUEST_DATA = RAM_BASE + MIB
OFF = "li a7, 0x53525354; li a6, 0; li a0, 0; li a1, 0; ecall"


def host(vms: int = 1) -> tuple[Machine, Hypervisor]:
    machine = Machine(memory=(16 + 8 * vms) * MIB)
    machine.host = hypervisor = Hypervisor(machine, time_slice=10_000)
    return machine, hypervisor


def networked(hypervisor: Hypervisor, name: str, text: str, sent: bytes = b"") -> tuple[Vm, Program]:
    vm = hypervisor.create_vm(name, 4 * MIB)
    vm.attach(Network(), VIRTIO_SLOTS - 2)
    program = assemble(RAM_BASE, DRIVER + text, data=GUEST_DATA)
    vm.memory.write(RAM_BASE, program.code)
    rings(vm.memory.write, GUEST_DATA, sent)
    vm.boot(RAM_BASE)
    return vm, program


def heard(vm: Vm) -> bytes:
    return vm.memory.read(GUEST_DATA + 0x2000, vm.memory.read_int(GUEST_DATA + 0x208, 4))[12:]


def test_a_guest_of_the_hypervisor_pings_and_sleeps_till_the_answer() -> None:
    machine, hypervisor = host()
    vm, _ = networked(hypervisor, "one", SLEEP + OFF, PING)
    exit = machine.run(100_000)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0), exit
    assert opened(heard(vm), 1)[1] == echo(b"\0\1\0\2 there?", 0)
    assert (vm.vcpus[0].get_reg("x19"), vm.vcpus[0].get_reg("x20")) == (7, 1), "source 7, one frame"


@pytest.mark.parametrize("sleeps", [True, False])
def test_guests_hear_each_other(sleeps: bool) -> None:
    machine, hypervisor = host(2)
    hello = frame(b"hello neighbour", 0x88B5, bytes.fromhex("525400123457"), ALL)
    one, _ = networked(hypervisor, "one", (SLEEP if sleeps else WAIT) + OFF)
    two, _ = networked(hypervisor, "two", OFF, hello)
    exit = machine.run(500_000)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0), exit
    assert heard(one) == hello and heard(two) == b""
    assert list(machine.hub.ports) == ["host", "one/virtio6", "two/virtio6"]
    assert machine.hub.ports["one/virtio6"].received == machine.hub.ports["two/virtio6"].sent == 1
    assert "vm two: " in machine.facts()


def test_a_vm_that_is_gone_is_unplugged() -> None:
    machine, hypervisor = host(2)
    one, _ = networked(hypervisor, "one", WAIT + OFF)
    networked(hypervisor, "two", OFF, frame(b"hello", 0x88B5, bytes.fromhex("525400123457"), ALL))
    hypervisor.destroy_vm(one)
    machine.run(100_000)
    assert list(machine.hub.ports) == ["host", "two/virtio6"] and machine.hub.host_port.received == 1
    new, _ = networked(hypervisor, "one", OFF)
    assert new.virtio.configuration()[6] == {"kind": "network", "mac": "52:54:00:12:34:58"}, "no address twice"
    with pytest.raises(ConfigurationError):
        hypervisor.create_vm("large", 1 << 40)
    assert len(machine.shared.slots) == 3, "the machine's own, and one for each VM"


DISK_AT = 0x1000_1000
WRITER = f"""
        li    s0, {DISK_AT}
        li    s1, data
        li    t0, 3
        sw    t0, 0x70(s0)
        li    t0, 1
        sw    t0, 0x24(s0)
        sw    t0, 0x20(s0)
        li    t0, 11
        sw    t0, 0x70(s0)
        li    t0, 8
        sw    t0, 0x38(s0)
        sw    s1, 0x80(s0)
        sw    zero, 0x84(s0)
        addi  t1, s1, 0x100
        sw    t1, 0x90(s0)
        sw    zero, 0x94(s0)
        addi  t1, s1, 0x200
        sw    t1, 0xa0(s0)
        sw    zero, 0xa4(s0)
        li    t0, 1
        sw    t0, 0x44(s0)
        li    t0, 15
        sw    t0, 0x70(s0)
        li    t0, 2               # two requests: a sector is written, and read to another place
        sh    t0, 0x102(s1)
        lr.d  t2, (s1)
        sw    zero, 0x50(s0)
        sc.d  s3, t2, (s1)
        lhu   s4, 0x202(s1)
        li    t0, data + 0x3000
        ld    s5, 0(t0)
{OFF}
"""


def writing(path: Path, mode: str = "copy", vms: int = 1) -> tuple[Machine, list[Vm]]:
    machine, hypervisor = host(vms)
    found = []
    for name in "abcdef"[:vms]:
        vm = hypervisor.create_vm(name, 4 * MIB)
        vm.attach(Drive(path, mode))
        vm.attach(Entropy(3), 7)
        vm.memory.write(RAM_BASE, assemble(RAM_BASE, WRITER, data=GUEST_DATA).code)
        write, at = vm.memory.write, GUEST_DATA
        for n, row in enumerate([
            (at + 0x400, 16, NEXT, 1), (at + 0x1000, 512, NEXT, 2), (at + 0x500, 1, WRITE, 0),
            (at + 0x410, 16, NEXT, 4), (at + 0x3000, 512, NEXT | WRITE, 5), (at + 0x501, 1, WRITE, 0),
        ]):  # fmt: skip
            write(at + 16 * n, struct.pack("<QIHH", *row))
        write(at + 0x100, struct.pack("<HHHH", 0, 0, 0, 3))
        write(at + 0x400, struct.pack("<IIQIIQ", 1, 0, 3, 0, 0, 3))
        write(at + 0x1000, b"in VM " + name.encode() * 506)
        vm.boot(RAM_BASE)
        found.append(vm)
    return machine, found


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "d.img"
    path.write_bytes(bytes(8192))
    return path


def test_a_guest_of_the_hypervisor_writes_a_disk(image: Path) -> None:
    machine, (a, b) = writing(image, vms=2)
    exit = machine.run(200_000)
    assert (exit.reason, exit.code) == (ExitReason.HALTED, 0), exit
    for vm, name in ((a, b"a"), (b, b"b")):
        assert vm.memory.read(GUEST_DATA + 0x3000, 512) == b"in VM " + name * 506, "each has changes of its own"
        vcpu = vm.vcpus[0]
        assert (vcpu.get_reg("x19"), vcpu.get_reg("x20")) == (1, 2), "SC fails after a device wrote"
        assert vcpu.get_reg("x21") == int.from_bytes(b"in VM " + name * 2, "little")
    assert image.read_bytes() == bytes(8192)


def test_a_disk_that_a_vm_may_write(image: Path) -> None:
    machine, _ = writing(image, "rw")
    machine.run(200_000)
    assert image.read_bytes()[1536:2048] == b"in VM " + b"a" * 506
    _, hypervisor = host(2)
    hypervisor.create_vm("a", MIB).attach(Drive(image, "rw"))
    for mode in ("rw", "ro"):
        with pytest.raises(ConfigurationError, match="same file as another"):
            hypervisor.create_vm(mode, MIB).attach(Drive(image, mode))
    with pytest.raises(ConfigurationError, match="same file as another"):
        hypervisor.machine.add_drive(image)


def test_a_vm_is_saved_and_goes_on(image: Path, tmp_path: Path) -> None:
    machine, _ = writing(image, vms=2)
    machine.run(300)
    wanted = machine.state_hash()
    for count in range(0, 150, 11):
        one, _ = writing(image, vms=2)
        one.run(count)
        snapshots.save(one, tmp_path / "s")
        two = snapshots.load(tmp_path / "s")
        assert two.state_hash() == one.state_hash() and two.warnings == []
        two.run(300 - count)
        assert two.state_hash() == wanted, count


def test_two_vms_on_the_network_are_saved_and_go_on() -> None:
    machine, hypervisor = host(2)
    networked(hypervisor, "one", SLEEP + OFF)
    networked(hypervisor, "two", OFF, frame(b"hello", 0x88B5, bytes.fromhex("525400123457"), ALL))
    for _ in range(40):
        machine.run(13)
        again = Machine.from_state(machine.state())
        assert again.state() == machine.state()
    assert machine.host is not None and machine.host.finished is not None


def test_what_a_device_writes_is_in_the_dirty_log(image: Path) -> None:
    machine, (vm,) = writing(image)
    slot = vm.slots[0]
    machine.run(5)
    vm.start_dirty_log(slot)
    machine.run(100_000)
    assert vm.ended and GUEST_DATA + 0x3000 in vm.dirty_log(slot), "the page that only the device wrote"
    assert GUEST_DATA + 0x1000 not in vm.dirty_log(slot)


def test_memory_outside_of_the_vm_is_none(image: Path) -> None:
    machine, (vm,) = writing(image)
    vm.memory.write(GUEST_DATA + 16 * 4, struct.pack("<QIHH", RAM_BASE + 8 * MIB, 512, NEXT | WRITE, 5))
    before = machine.state_hash()
    machine.run(100_000)
    assert "is not memory" in vm.virtio[0].problem and vm.exit_code == 0
    assert vm.vcpus[0].get_reg("x20") == 1 and machine.state_hash() != before


def test_the_tree_of_a_vm_tells_of_its_transports() -> None:
    _, hypervisor = host()
    vm = hypervisor.create_vm("one", MIB)
    soc = parse(vm.device_tree()).find("soc")
    plic = soc.find("plic") if soc is not None else None
    assert soc is not None and plic is not None
    for n in range(8):
        node = soc.find(f"virtio_mmio@1000{n + 1}000")
        assert node is not None and node.cells("interrupts") == [n + 1]
        assert node.cells("reg") == [0, 0x1000_1000 + 0x1000 * n, 0, 0x1000]
        assert node.cells("interrupt-parent") == plic.cells("phandle")


def test_a_vm_that_boots_again_finds_its_devices_reset(image: Path) -> None:
    machine, (vm,) = writing(image)
    machine.run(60)
    vm.boot(RAM_BASE)
    assert vm.virtio[0].status == 0 and not vm.plic.levels
    vm.memory.write(GUEST_DATA + 0x200, bytes(4))
    machine.run(100_000)
    assert vm.exit_code == 0 and vm.vcpus[0].get_reg("x20") == 2


def test_damaged_vms_are_refused(image: Path) -> None:
    machine, _ = writing(image)
    for name, value in [
        ("virtio", []), ("virtio", [3] * 8), ("virtio", [{"kind": "teapot"}] * 8), ("virtio", None),
        ("virtio", [{"kind": "block", "path": "/dev/null", "mode": "ro"}] + [None] * 7),
        ("transports", []), ("transports", [{}] * 8), ("transports", 5), ("transports", [5] * 8),
    ]:  # fmt: skip
        state = machine.state()
        state["host"]["vms"][0][name] = value
        with pytest.raises(StateError) as error:
            Machine.from_state(state)
        assert "\n" not in str(error.value)


def test_a_snapshot_opens_no_file_of_a_vm_for_writing(image: Path) -> None:
    machine, _ = writing(image, "rw")
    again = Machine.from_state(machine.state())
    for region in machine.memory.regions:
        for page in region.pages_nonzero():
            at = region.base + 4096 * page
            again.memory.write(at, machine.memory.read(at, 4096))
    again.run(100_000)
    assert image.read_bytes() == bytes(8192) and "was writable" in again.warnings[0]
    assert again.host.finished is not None  # type: ignore[union-attr]
