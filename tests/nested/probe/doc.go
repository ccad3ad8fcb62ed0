// Package probe holds the tests with which tests/nested proves itself: that
// the nested guest offers a KVM that makes virtual machines, that a test finds
// there what run.sh promises, and, with -fate, that a test which goes wrong
// makes the run fail. It owns no state and has no code outside its tests.
package probe
