// Package nodefile reads and writes the files of a state directory's nodes: bytes in,
// structure out. It opens no file, maps nothing and keeps nothing but a few buffers; all
// functions may be called concurrently.
//
// What it reads may be hostile. A file is validated in the order magic, version,
// length, checksum, content, and the error matches the sentinel of the first that is
// wrong; reading takes memory of the order of what a file holds, or of what its bounded
// header says that it unpacks to. What is accepted is written again the same.
//
//	header.go           a node file: header and sections
//	info.go             what is said of a node; identity.go: its metadata section and its id
//	index.go            which guest pages it changes, with a checksum and a digest of each
//	donors.go           which of them lie in files of siblings
//	differences.go      the words that differ, coded by words.go; differences_v2.go: as
//	                    version 2 had them
//	loadingset.go       what a first run needed
//	cachefile.go        the metadata of many nodes; entry.go: of one
//
// Units: a page is 4 KiB; page numbers are guest frame numbers unless a name says data
// page, which is one of a node's own; integers are little endian; digests are SHA-256,
// checksums CRC-32C (Castagnoli).
package nodefile
