"""A plugin of pytest: the tests run on the extension module that $MUTATION_NATIVE names."""

import os

from .engine import load_native

load_native(os.environ["MUTATION_NATIVE"])
