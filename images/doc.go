// Package images turns a file tree into a guest root image and opens such
// images again.
//
// An image is one immutable file that the monitor maps read-only above guest
// RAM. It holds the root file system, the kernel library, and the extents
// that place the kernel library and an ET_EXEC program at their link
// addresses. The layout is struct abi_image_* of guest/abi/image.h.
//
// In the loaded layout of a position-independent object, system calls jump to
// the kernel library instead of executing the syscall instruction, unless the
// Spec says otherwise; package direct says how and where.
//
// Units: every offset, size and address is in bytes; offsets count from the
// start of the image, addresses are guest-physical. Times are whole seconds
// since 1970. Modes in a Spec are fs.FileMode, modes in an image are Linux
// st_mode.
//
// Determinism: the bytes of an image depend on its Spec and on the content,
// permissions and modification times of the host files that it names, on
// nothing else. Equal input gives an equal digest.
//
// Ownership: a Spec belongs to its caller and is only read. An Image owns its
// open file until Close; everything it returns by slice is shared and must not
// be changed. An Image is safe for concurrent readers; Close must come last.
//
// Locks: none. A Store relies on atomic renames, so several processes may
// use one directory.
package images
