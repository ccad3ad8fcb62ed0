// Package layers keeps the layers that owners publish for their functions, as AWS Lambda's
// API has them: numbered versions of a name, each an archive that never changes, and makes
// the images that functions with layers run in.
//
// On the disk a version is its archive and, written last, a description beside it:
// <owner>/<name>/<number>.zip and .json. Numbers are never given twice: the file "last" has
// the latest.
//
// Units: bytes.
//
// Ownership: the directory is the Store's. What an image is made of is copied into a layer
// of package images' own, so a version can be deleted while functions run with it.
//
// Locks: Store.mu, see docs/locks.md.
package layers
