package functions

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// Container is the container image that a function was made of over AWS Lambda's API, and
// what was asked for in place of what the image says of its program.
type Container struct {
	URI        string   `json:"uri"`    // as it was named
	Digest     string   `json:"digest"` // of what was there when the image was built, sha256:...
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	WorkingDir string   `json:"working_dir,omitempty"` // absolute
}

// maxContainerBytes bounds each text of a Container, and its lists together.
const maxContainerBytes = 4096

// Check refuses what no image can have.
func (c *Container) Check() error {
	words := 0
	for _, word := range append(append([]string{c.URI, c.WorkingDir}, c.Entrypoint...), c.Command...) {
		if words += len(word) + 1; strings.ContainsRune(word, 0) || !utf8.ValidString(word) {
			return fmt.Errorf("%.100q holds a zero byte, or is no text", word)
		}
	}
	switch {
	case words > maxContainerBytes:
		return fmt.Errorf("the image's name, EntryPoint, Command and WorkingDirectory take %d bytes, at most %d are allowed", words, maxContainerBytes)
	case c.URI == "":
		return fmt.Errorf("the image has no name")
	case c.WorkingDir != "" && !path.IsAbs(c.WorkingDir):
		return fmt.Errorf("working directory %q is not absolute", c.WorkingDir)
	}
	return nil
}
