"""The terminal monitor: application, commands and command line. Imports `emulator` and `snapshots`; neither imports it."""
