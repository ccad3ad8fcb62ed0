// Package sealedtest makes the file system fail under package sealed: an operation that
// returns an error or kills the process, and power that is cut.
package sealedtest
