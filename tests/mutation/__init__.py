"""Break the hart in one small place after another, and see whether the conformance suite notices.

`python -m tests.mutation` tries every mutant of traps, translation, CSR access and interrupts.
"""
