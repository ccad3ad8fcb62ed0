// Package oci is the source of root file systems that are container images, by the
// schemes of skopeo(1) and containers-transports(5):
//
//	docker://HOST/REPO[:TAG][@DIGEST]  an image of a registry
//	oci:DIR[:TAG]                      of an OCI image layout
//	oci-archive:FILE[:TAG]             of a tar archive of one
//	docker-archive:FILE[:TAG]          of an archive of docker save
//
// Of several platforms linux/amd64 is taken. Everything that is read is hostile: sizes
// are bounded before memory or disk is used, and every manifest, config and layer is
// checked against its digest, layers packed and unpacked. A layer that the layer store
// has is not fetched again.
//
// Registries are spoken to over TLS, plain HTTP being for loopback and for those that the
// user names, with the credentials of docker login where there are any. A transfer that
// stands still for stallTimeout ends.
//
// Units: sizes in bytes. Ownership, locks: as in package source.
package oci
