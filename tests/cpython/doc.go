// Package cpython runs CPython's own test suite, Debian's
// libpython3.11-testsuite, in guests: one module a guest. modules.txt names
// every module with the result that it must have.
//
// It keeps no state and has no lock.
package cpython
