// Package languages deploys programs of many languages over each contract, and holds what
// they answer against the same programs on this machine, without a guest. A folder of
// programs is a program: program.json says what it needs and how it is started, the files
// beside it are its code.
//
//	go test ./tests/languages            the slice that needs no packages of its own
//	go test ./tests/languages -all       every program whose packages this machine has
//
// Units: memory in MiB.
//
// It keeps no state and has no lock.
package languages
