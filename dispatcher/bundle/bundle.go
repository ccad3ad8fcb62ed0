// Package bundle reads a function's code into memory: from a source file, a
// directory or a zip archive, within the limits of a deployment. What it reads
// may be hostile; names are clean paths below the task root or refused.
//
// It keeps no state and has no locks; the files belong to the caller.
package bundle

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"seuss/images/runtimes"
	_ "seuss/images/runtimes/all"
)

// Limits of code, as AWS Lambda's ("Lambda quotas").
const (
	MaxZipBytes  = 50 << 20  // of an archive
	MaxUnpacked  = 250 << 20 // of a function's files with those of its layers
	MaxLayers    = 5         // of a function
	MaxCodeBytes = 64 << 20  // of the files that are sent to a service, which keeps them
)

const (
	maxCodeFiles = 10_000
	// maxDirectory bounds the directory of an archive, in bytes: in memory each entry takes
	// several times what it takes there, and there may be more than maxCodeFiles, since some
	// are left out.
	maxDirectory = 8 << 20
)

// Load reads a function's files from a source file, a directory or a .zip,
// by path relative to the task root, and returns the handler that the files
// suggest: "" if none. They take at most MaxUnpacked.
func Load(from string) (map[string][]byte, string, error) {
	files, err := readCode(from)
	if err != nil {
		return nil, "", fmt.Errorf("read function code: %w", err)
	}
	if len(files) == 0 {
		return nil, "", fmt.Errorf("read function code: %s holds no files", from)
	}
	return files, SuggestHandler(files), nil
}

// LoadProgram is Load for code that is a program's: a file that is no archive is it, by
// the name that is given.
func LoadProgram(from, program string) (map[string][]byte, error) {
	st, err := os.Stat(from)
	c := codeFiles{most: MaxUnpacked}
	switch {
	case err != nil:
	case st.IsDir():
		c.files, err = readDir(from)
	case !st.Mode().IsRegular():
		err = fmt.Errorf("%s is neither a file nor a directory but %v", from, st.Mode().Type())
	case strings.HasSuffix(from, ".zip"):
		c.files, err = readZipFile(from, st.Size())
	default:
		err = c.add(program, func() (io.ReadCloser, error) { return os.Open(from) })
	}
	if err == nil && len(c.files) == 0 {
		err = fmt.Errorf("%s holds no files", from)
	}
	if err != nil {
		return nil, fmt.Errorf("read function code: %w", err)
	}
	return c.files, nil
}

func readCode(from string) (map[string][]byte, error) {
	st, err := os.Stat(from)
	switch {
	case err != nil:
		return nil, err
	case st.IsDir():
		return readDir(from)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is neither a file nor a directory but %v", from, st.Mode().Type())
	case strings.HasSuffix(from, ".zip"):
		return readZipFile(from, st.Size())
	case runtimes.ByFileEnding(from) != nil:
		c := codeFiles{most: MaxUnpacked}
		err := c.add(filepath.Base(from), func() (io.ReadCloser, error) { return os.Open(from) })
		return c.files, err
	}
	endings := runtimes.Endings()
	last := len(endings) - 1
	return nil, fmt.Errorf("%s: want a %s or %s file, a directory or a .zip", from, strings.Join(endings[:last], ", "), endings[last])
}

// SuggestHandler takes the only module at the top as the one with the handler.
func SuggestHandler(files map[string][]byte) string {
	var handlers []string
	for name := range files {
		module := strings.TrimSuffix(name, path.Ext(name))
		if r := runtimes.ByFileEnding(name); r != nil && !strings.ContainsAny(module, "/.") {
			handlers = append(handlers, module+"."+r.Handler)
		}
	}
	if len(handlers) == 1 {
		return handlers[0]
	}
	return ""
}

// codeFiles collects files within the limits of a deployment.
type codeFiles struct {
	files       map[string][]byte
	bytes, most int
}

func (c *codeFiles) add(name string, open func() (io.ReadCloser, error)) error {
	if c.files == nil {
		c.files = map[string][]byte{}
	}
	if len(c.files) == maxCodeFiles {
		return fmt.Errorf("more than %d files", maxCodeFiles)
	}
	if _, ok := c.files[name]; ok {
		return fmt.Errorf("two files named %q", name)
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	left := c.most - c.bytes
	data, err := io.ReadAll(io.LimitReader(r, int64(left)+1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > left {
		return fmt.Errorf("its files take more than %d bytes (%d MiB) unpacked, the most that is allowed", c.most, c.most>>20)
	}
	c.files[name] = data
	c.bytes += len(data)
	return nil
}

// Skipped says which parts of a tree are never a function's: what starts with
// a dot (version control, editors) and byte code, which an interpreter would distrust.
func Skipped(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || part == "__pycache__" {
			return true
		}
	}
	return false
}

// readDir reads a directory; symbolic links are followed only to files.
func readDir(dir string) (map[string][]byte, error) {
	c := codeFiles{most: MaxUnpacked}
	root, err := filepath.EvalSymlinks(dir) // WalkDir does not follow a link at its root
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		switch {
		case rel == ".":
			return nil
		case Skipped(rel) && d.IsDir():
			return fs.SkipDir
		case Skipped(rel) || d.IsDir():
			return nil
		}
		st, err := os.Stat(p)
		if err != nil {
			return err
		}
		if !st.Mode().IsRegular() {
			return fmt.Errorf("%s is not a file but %v", p, st.Mode().Type())
		}
		return c.add(filepath.ToSlash(rel), func() (io.ReadCloser, error) { return os.Open(p) })
	})
	return c.files, err
}

func readZipFile(name string, size int64) (map[string][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > MaxZipBytes {
		return nil, fmt.Errorf("%s has %d bytes, at most %d (%d MiB) are allowed zipped", name, size, MaxZipBytes, MaxZipBytes>>20)
	}
	files, err := unzip(f, size, MaxUnpacked)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return files, nil
}

// Zip unpacks an archive into memory, by path relative to the task root: at most
// MaxCodeBytes. Its directory is hostile until the names are checked; sizes are bounded by
// what really comes out.
func Zip(r io.ReaderAt, size int64) (map[string][]byte, error) { return unzip(r, size, MaxCodeBytes) }

// OpenZip opens an archive whose directory is bounded. Its names are hostile.
func OpenZip(r io.ReaderAt, size int64) (*zip.Reader, error) {
	directory := &directoryReader{r, maxDirectory}
	z, err := zip.NewReader(directory, size)
	directory.left = math.MaxInt64
	return z, err
}

func unzip(r io.ReaderAt, size int64, most int) (map[string][]byte, error) {
	z, err := OpenZip(r, size)
	if err != nil {
		return nil, err
	}
	c := codeFiles{most: most}
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, "/")
		switch {
		case !fs.ValidPath(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\\x00"):
			return nil, fmt.Errorf("entry %q: not a clean path below the archive", f.Name)
		case f.FileInfo().IsDir() || Skipped(name):
			continue
		case !f.Mode().IsRegular():
			return nil, fmt.Errorf("entry %q is not a file but %v", f.Name, f.Mode().Type())
		}
		if err := c.add(name, f.Open); err != nil {
			return nil, err
		}
	}
	return c.files, checkTree(c.files)
}

// directoryReader reads an archive while its directory is looked for.
type directoryReader struct {
	io.ReaderAt
	left int64 // bytes that may be read
}

func (d *directoryReader) ReadAt(p []byte, offset int64) (int, error) {
	if d.left < int64(len(p)) {
		return 0, fmt.Errorf("its directory takes more than %d MiB, the most that is allowed", maxDirectory>>20)
	}
	d.left -= int64(len(p))
	return d.ReaderAt.ReadAt(p, offset)
}

// checkTree refuses an archive in which one file is another one's directory.
func checkTree(files map[string][]byte) error {
	for name := range files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := files[dir]; ok {
				return fmt.Errorf("%q is both a file and a directory", dir)
			}
		}
	}
	return nil
}

// WriteZip writes files as an archive that Zip reads back, the same bytes for
// the same files.
func WriteZip(w io.Writer, files map[string][]byte) error {
	z := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			return fmt.Errorf("archive %s: %w", name, err)
		}
	}
	return z.Close()
}
