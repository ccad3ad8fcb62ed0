package contracts

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"seuss/dispatcher/functions"
	"seuss/images"
	"seuss/lineage"
)

// What a program's own generators of random numbers hold when it is captured, every
// instance has. Drivers seed those of their runtimes anew; of another program nobody knows
// where they are. It holds none if it has taken in nothing that a generator is seeded
// with: docs/contracts.md says what is known of which language.

// CheckGenerators refuses a program that is ready and may have seeded its generators, and
// says why. The error matches lineage.ErrInvalid.
func CheckGenerators(p *functions.Program, taken lineage.Purity, files *Files) error {
	why := Seeded(p, taken, files)
	if why == "" {
		return nil
	}
	return fmt.Errorf("instances of it may draw the same random numbers: %s. What comes from the kernel at each draw (getrandom, /dev/urandom, Go's crypto/rand) always differs; if nothing else has to, deploy it with --allow-shared-generators (allow_shared_generators; of AWS Lambda's API SnapStart PublishedVersions): %w", why, lineage.ErrInvalid)
}

// Seeded says why a program may have seeded generators by now; "": it has not.
func Seeded(p *functions.Program, taken lineage.Purity, files *Files) (why string) {
	exe := files.executable(p.Command[0])
	switch {
	case exe.goProgram:
		why = "it is a Go program, whose generators (math/rand, math/rand/v2, maps) were seeded at its start"
	case taken.Entropy > exe.ownDraws():
		why = fmt.Sprintf("it has drawn random bytes %d times by now, and may have seeded generators with them", taken.Entropy)
	case taken.Clock > 0:
		why = fmt.Sprintf("it has read the clock %d times by now, and may have seeded generators with it", taken.Clock)
	}
	return why
}

// Files are those that a program sees: its code's, and its image's.
type Files struct {
	code  map[string][]byte
	image *images.Image
}

// FilesOf opens the files of code as it is stored, and of the image at a path.
func FilesOf(code []byte, imagePath string) (*Files, error) {
	var l Load
	if err := json.Unmarshal(code, &l); err != nil {
		return nil, fmt.Errorf("read code: %w", err)
	}
	im, err := images.Open(imagePath, images.SkipDigest())
	if err != nil {
		return nil, err
	}
	return &Files{l.Files, im}, nil
}

// Close closes the image.
func (f *Files) Close() error { return f.image.Close() }

// open finds a file by its path, which may be relative to TaskRoot.
func (f *Files) open(name string) (io.ReaderAt, error) {
	if !path.IsAbs(name) {
		name = path.Join(TaskRoot, name)
	}
	if own, ok := strings.CutPrefix(path.Clean(name), TaskRoot+"/"); ok {
		if content, ok := f.code[own]; ok {
			return bytes.NewReader(content), nil
		}
	}
	e, err := f.image.Lookup(name)
	if err != nil {
		return nil, err
	}
	return f.image.Content(e)
}

// executable is what the file says that a command leads to.
type executable struct {
	goProgram bool
	glibc     bool // dynamically linked with it
}

// ownDraws is how often the C library draws random bytes for itself: glibc's malloc does
// it once, for a key of its lists (its tcache_key_initialize).
func (e executable) ownDraws() uint64 {
	if e.glibc {
		return 1
	}
	return 0
}

// maxInterpreters is how many `#!` lines lead from one to the next, as on Linux.
const maxInterpreters = 5

// executable looks at the program that a command starts, behind its `#!` lines. What
// cannot be read is none of the kinds that are told apart.
func (f *Files) executable(command string) (e executable) {
	for range maxInterpreters {
		r, err := f.open(command)
		if err != nil {
			return e
		}
		var head [256]byte
		n, err := r.ReadAt(head[:], 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return e
		}
		line, script := strings.CutPrefix(string(head[:n]), "#!")
		if !script {
			_, err := buildinfo.Read(r)
			return executable{goProgram: err == nil, glibc: linksGlibc(r)}
		}
		line, _, _ = strings.Cut(line, "\n")
		words := strings.Fields(line)
		if len(words) == 0 {
			return e
		}
		command = words[0]
	}
	return e
}

func linksGlibc(r io.ReaderAt) bool {
	f, err := elf.NewFile(r)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 256 {
			var name [256]byte
			n, _ := p.ReadAt(name[:p.Filesz], 0)
			return strings.HasPrefix(path.Base(string(name[:n])), "ld-linux")
		}
	}
	return false
}
