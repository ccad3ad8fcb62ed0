// Package gostd runs the tests of Go's standard library, compiled static, in
// guests: one package a guest. packages.tsv names the packages and, with its
// reason, each test that is left out.
//
// It keeps no state and has no lock.
package gostd
