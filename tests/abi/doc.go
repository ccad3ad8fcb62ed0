// Package abi compares the guest with Linux: small C programs, one for each
// area of the system call interface, print what calls return, and must print
// the same in a guest as natively.
//
// It keeps no state and has no lock.
package abi
