// Package access says who may ask the service for what: tokens with their rights, and
// the owners whom they act for.
//
// A token has a name, an owner and rights on functions by pattern. What it deploys
// belongs to its owner; of other owners' functions it reaches those that its patterns
// name. To whoever may not reach a function it is as if there were none.
//
// They are in one file of the state directory, access.json, which only its user may
// read (File): of a token that is sent as a bearer token the SHA-256 of its secret, of
// one that signs (AWS's Signature Version 4) the secret itself, without which no
// signature can be checked. Who reads the file can act as the latter, not as the former.
// A Keeper follows the file: what is changed counts within a second, without a restart.
//
// To find a token takes one look into a map, by the secret's digest or by the name that
// a signature gives. Whether a name is unknown or its secret another one cannot be told
// from an answer, nor from the time that it takes: where there is no secret to check a
// signature with, one that nobody knows stands in for it.
//
// Ownership: a Keeper owns the goroutine that looks at the file, until Close. A Table
// and its Principals do not change.
//
// Locks: Keeper.mu, one reading of the file at a time. Who looks something up takes none.
package access
