package x86

import "seuss/guest"

// Bits of a page table's entries, Intel SDM vol. 3, 4.5. Accessed and dirty are set
// from the start, so that the processor never writes to the tables.
const (
	EntryPresent  = guest.PtePresent
	EntryWritable = guest.PteWritable
	EntryUser     = 1 << 2
	EntryAccessed = 1 << 5
	EntryDirty    = 1 << 6
	EntryLarge    = guest.PteLarge

	// TableEntry names a table, PageEntry a page that everything may be done to.
	TableEntry = EntryPresent | EntryWritable | EntryUser | EntryAccessed
	PageEntry  = TableEntry | EntryDirty

	// EntryAddress are the bits of an entry that hold an address.
	EntryAddress = 0xffffffffff000

	TableEntries = 512 // of a table
)
