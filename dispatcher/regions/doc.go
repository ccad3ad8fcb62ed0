// Package regions says what lies at an address of a guest: which part of its
// memory, which file of its image, which ELF symbol. It turns "pages 0x2f3 and
// 0x94a differ" into "the kernel library's console ring and the interpreter's small
// integers".
package regions
