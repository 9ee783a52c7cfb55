#!/bin/sh
# Rebuilds the ELF files here, with GNU tools (gcc 12 and binutils 2.40 made those that are kept):
#   sh tests/emulator/dwarf/build.sh
set -e
cd "$(dirname "$0")"
tool=${1:-riscv64-linux-gnu-}
build() { # NAME FLAGS...
    name=$1
    shift
    "$tool"gcc -c -march=rv64imac_zicsr -mabi=lp64 -mcmodel=medany -o start.o start.S
    "$tool"gcc -c -g "$@" -ffile-prefix-map="$PWD"=/source -ffreestanding -fno-pic -march=rv64imac_zicsr -mabi=lp64 \
        -mcmodel=medany -o lines.o lines.c
    "$tool"ld -n --no-warn-rwx-segments --build-id=none \
        -T lines.ld -o "$name.elf" start.o lines.o
    rm start.o lines.o
}
build v2-O0 -gdwarf-2 -O0
build v3-O2 -gdwarf-3 -O2
build v4-O2 -gdwarf-4 -O2
build v5-O0 -gdwarf-5 -O0
build v5-O2 -gdwarf-5 -O2
build v5-zlib -gdwarf-5 -Og
build v4-zlib-gnu -gdwarf-4 -O1
build noframes -gdwarf-5 -O0 -fno-asynchronous-unwind-tables
"$tool"objcopy --remove-section=.debug_frame noframes.elf
"$tool"objcopy --compress-debug-sections=zlib v5-zlib.elf
"$tool"objcopy --compress-debug-sections=zlib-gnu v4-zlib-gnu.elf
