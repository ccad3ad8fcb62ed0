package cmdline

import (
	"fmt"

	"github.com/dustin/go-humanize"

	"seuss/lineage"
)

// ParseMemory reads a size that guests can have as RAM: whole pages.
func ParseMemory(text string) (uint64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 256MiB", text)
	}
	if n == 0 || n%lineage.PageSize != 0 {
		return 0, fmt.Errorf("%q is %d bytes, want a multiple of %d", text, n, lineage.PageSize)
	}
	return n, nil
}

// MaxCommandWords bounds the words of a command line, a program's among them.
const MaxCommandWords = 1024
