// Package oci carries lineages between stores as OCI images: in an image layout
// (a directory, or a tar archive of one) or through a registry.
//
// One image is one node with all its ancestors. The config names the nodes from
// the root down, with their metadata; there is one layer for the root image file,
// compressed with zstd, and one for each node, its file as lineage.Store.Export
// gives it. Layers are named by digest, so what the other side has already is not
// sent, and siblings share the layers of their ancestors.
//
// Everything that is read here is hostile: sizes are bounded before memory or disk
// is used, names are never taken from an archive, and a node becomes visible only
// after lineage has verified all of it. The store knows nothing of processors and
// images, so the importer passes in what judges them.
package oci
