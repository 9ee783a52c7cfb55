"""Devices of the machine: plain classes on the bus, total functions of what guests write."""
