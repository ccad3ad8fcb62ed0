// Package languages deploys programs of many languages over each contract, and holds what
// they answer against the same programs on this machine, without a guest. The
// programs are those of tools/seussctl/samples/languages, and the folders of generators.
//
//	go test ./tests/languages            the slice that needs no packages of its own
//	go test ./tests/languages -all       every program whose packages this machine has
//
// Units: memory in MiB.
//
// It keeps no state and has no lock.
package languages
