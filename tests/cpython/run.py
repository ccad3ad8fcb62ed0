"""Runs modules of CPython's test suite with the suite's own runner.

A guest is one process. The suite knows such platforms (WASI is one) and has two
switches for them; the tests that need a second process are then skipped by name.
"""
import sys

from test import support

support.has_fork_support = support.has_subprocess_support = False

from test.libregrtest import main

main()
sys.exit(0)
