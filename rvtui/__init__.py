"""The terminal monitor: application, commands, command line. Over `snapshots` and `emulator`, which do not know it."""
