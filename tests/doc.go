// Package tests holds the end-to-end tests: real Debian Python in real
// machines, through the dispatcher and through the seussctl command. Unit tests
// stand beside the code that they test.
//
// Every test that needs KVM skips with one line where there is none, and fails
// there if CI_KVM=1.
package tests
