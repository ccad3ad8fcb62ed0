// Package functions keeps what is deployed: of each function its settings and its
// code, of each published version the same, and the aliases of versions. It knows
// nothing of nodes, machines or requests.
//
// A Store is folders of a state directory:
//
//	functions/<name>.json   a deployment; <name>:<version>.json a published version
//	code/<digest>           the code of all deployments that have it
//	imports/<name>.<digest> what loading that code has imported: a hint
//	removed/<name>.json     that a deployment was removed, where it is a cluster's
//
// What belongs to another owner than the default one lies in a folder of his in each:
// functions/<owner>/<name>.json, code/<owner>/<digest>, imports/<owner>/... Owners share
// no code.
//
// A deployment is either unversioned, and then may be deployed again, or a version of
// a function, which never changes. An owner's deployments with the same code share one file; it
// goes with the last of them. Files are written by package sealed, code before the
// deployment that names it, so that a deployment never names code that is not there.
//
// Ownership: who opens a Store to write has the lock of the state directory, which
// package lineage takes. Values that a Store returns are the caller's.
//
// Lock order: Store.mu, which serialises changes, is a leaf. Reading takes no lock:
// it reads a file that is there whole.
//
// Digests are SHA-256 in lower-case hex. Errors match those of package lineage:
// ErrNotFound, ErrInvalid, ErrFormat, ErrChecksum, ErrReadOnly, ErrClosed.
package functions
