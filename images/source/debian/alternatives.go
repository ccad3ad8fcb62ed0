package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// alternativesDir is where update-alternatives(1) keeps what links it has made.
const alternativesDir = "/var/lib/dpkg/alternatives"

// addAlternatives adds the links that update-alternatives has made to files that were
// collected: no package holds them, and /usr/bin/php is one.
func (c *Collector) addAlternatives() error {
	dir := c.Host(alternativesDir)
	records, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read alternatives: %w", err)
	}
	for _, record := range records {
		text, err := os.ReadFile(filepath.Join(dir, record.Name()))
		if err != nil {
			return fmt.Errorf("read alternatives: %w", err)
		}
		for _, link := range alternativeLinks(string(text)) {
			real, info, err := c.Resolve(link, nil)
			if err != nil || !info.Mode().IsRegular() {
				continue // it leads nowhere
			}
			if _, ok := c.files[real]; !ok {
				continue
			}
			if _, err := c.Add(link); err != nil {
				return err
			}
		}
	}
	return nil
}

// alternativeLinks are the links of a record: its own in the second line, and behind it, up
// to an empty line, names and links of those that follow it.
func alternativeLinks(record string) (links []string) {
	lines := strings.Split(record, "\n")
	for n := 1; n < len(lines); n += 2 {
		links = append(links, lines[n])
		if n+1 < len(lines) && lines[n+1] == "" {
			break
		}
	}
	return links
}
