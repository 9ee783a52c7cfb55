"""The panes of the application, one file each. Grouped by what they look at:

machines: vms, exits, events; the CPU: registers, csrs, code; memory: gstage, walk; the guest's face: console.
"""
