// Package lineage keeps the snapshot tree: nodes, the page deltas that they
// store against their parents, and the views that resolve a guest page of a
// node to the bytes that hold it. The tree follows SEUSS (EuroSys 2020); a
// node may have any kind below any other, and lineages may be of any depth.
//
// A Store is one state directory:
//
//	lock                      held by the one process that may write
//	images/<digest>.img       root images, written by package images
//	nodes/<id>.node           one sealed file a node, see package nodefile
//	nodes/<id>.from-<n>       hard links to files that hold pages of it, see share.go
//	nodes/<id>.load           what its first run needed, see hints.go
//	hits                      use counts, best effort, see hints.go
//	marks                     pins, tags and expiries
//	catalogue                 cache of the nodes' metadata, see cache.go
//
// Others may keep more there: deployments are those of package dispatcher/functions.
//
// The Store makes, loads and removes nodes. A Catalogue is what it holds at one moment;
// Marks changes what people say of nodes, Inspection looks whether they are what was
// sealed and what they take, Transfer takes them out and in, and Changes tells caches
// what has changed. Below it, package nodefile reads and writes the bytes of files,
// package pages says where pages are, package sealed writes whatever is durable, and
// says what a crash leaves of it; that is swept when the Store is opened.
//
// Every page has a checksum and a digest; it is compared with the checksum before a
// machine sees it, with the digest by Inspection.Verify.
//
// Units: a page is 4 KiB. Page numbers are guest frame numbers unless a name
// says otherwise (page of a blob); offsets in files are bytes; durations are
// time.Duration; digests are SHA-256, in lower-case hex where they are text;
// checksums are CRC-32C (Castagnoli).
//
// Ownership: the Store owns files and catalogue. A node's file belongs to the node and
// to those that have a link to it: the file system counts them. What package pages says
// of Blobs and Views holds here: removing or unloading a node, or closing the Store,
// never pulls memory from under a machine that still uses a View. Node is immutable, but
// for its use count, and safe for concurrent use.
//
// Lock order: Store.mu, which serialises changes of the directory and of the
// catalogue, and Node.mu, which serialises loading one node, are never held
// together; siblings.mu is below both; hotSet.mu and the locks of package pages are
// leaves. Readers of the catalogue and of Changes take no lock.
package lineage
