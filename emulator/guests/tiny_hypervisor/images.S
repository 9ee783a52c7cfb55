# The images of the guests, as they lie in their memory from 0x8000_0000 on. build.py links and flattens them first.

    .macro  image name
    .global \name, \name\()_end
\name:
    .incbin "\name\().bin"
\name\()_end:
    .endm

    .section .rodata
    image   guest_a
    image   guest_b
