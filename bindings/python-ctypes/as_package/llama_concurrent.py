"""The package's name for what is over ctypes, so that the package's tests run with it."""

import sys

import llama_concurrent_ctypes

sys.modules[__name__] = llama_concurrent_ctypes
