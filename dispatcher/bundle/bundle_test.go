package bundle

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func zipOf(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range entries {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if _, err := f.Write([]byte("# " + name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func names(files map[string][]byte) string {
	var out []string
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestLoadCode(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"main.py", "lib/util.py", ".git/config", "lib/__pycache__/util.pyc", "data.bin"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	archive := writeFile(t, "code.zip", string(zipOf(t, "main.py", "other.py", "pkg/", "pkg/__init__.py", ".hidden/x")))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, files, handler string }{
		{dir, "data.bin lib/util.py main.py", "main.handler"},
		{link, "data.bin lib/util.py main.py", "main.handler"},
		{filepath.Join(dir, "main.py"), "main.py", "main.handler"},
		{archive, "main.py other.py pkg/__init__.py", ""},
	} {
		files, handler, err := Load(c.from)
		if err != nil || names(files) != c.files || handler != c.handler {
			t.Errorf("%s: %q, %q, %v", c.from, names(files), handler, err)
		}
	}
}

func TestLoadCodeRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "zero.py")); err != nil {
		t.Fatal(err)
	}
	for want, from := range map[string]string{
		"holds no files":              t.TempDir(),
		"file, a directory or a .zip": writeFile(t, "code.txt", "x"),
		"no such file":                filepath.Join(dir, "none.py"),
		"not a file but":              dir,
		"neither a file nor":          "/dev/null",
		"not a valid zip":             writeFile(t, "a.zip", "PK nonsense"),
		"not a clean path":            writeFile(t, "b.zip", string(zipOf(t, "../x.py"))),
		"two files named":             writeFile(t, "c.zip", string(zipOf(t, "x.py", "x.py"))),
		"both a file and a director":  writeFile(t, "d.zip", string(zipOf(t, "x", "x/y.py"))),
	} {
		if _, _, err := Load(from); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
}

func TestZipBombIsBounded(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("zero.bin")
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 1<<20)
	for range MaxCodeBytes/len(chunk) + 1 {
		if _, err := f.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Zip(bytes.NewReader(b.Bytes()), int64(b.Len())); err == nil || !strings.Contains(err.Error(), "bytes (64 MiB) unpacked") {
		t.Errorf("%d bytes of archive: %v", b.Len(), err)
	}
}

func FuzzReadZip(f *testing.F) {
	f.Add(zipOf(f, "main.py", "pkg/x.py"))
	f.Add(zipOf(f, "a/../b"))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := Zip(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		total := 0
		for name, content := range files {
			if !fs.ValidPath(name) || name == "." {
				t.Errorf("file name %q", name)
			}
			total += len(content)
		}
		if total > MaxCodeBytes {
			t.Errorf("%d bytes", total)
		}
	})
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestZipDirectoryIsBounded: of an archive that is nothing but a directory no more is read
// than that of a deployment could have; what skipped entries take counts too.
func TestZipDirectoryIsBounded(t *testing.T) {
	// The end of a directory, and entries of it without names (APPNOTE.TXT 4.3.12, 4.3.16).
	entry := make([]byte, 46)
	copy(entry, "PK\x01\x02")
	entries := 2 * maxDirectory / len(entry)
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	binary.LittleEndian.PutUint16(end[8:], uint16(entries))
	binary.LittleEndian.PutUint16(end[10:], uint16(entries))
	binary.LittleEndian.PutUint32(end[12:], uint32(entries*len(entry)))
	archive := append(bytes.Repeat(entry, entries), end...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Zip(bytes.NewReader(archive), int64(len(archive)))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "directory") {
		t.Error(err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8*maxDirectory {
		t.Errorf("it took %d bytes", took)
	}
	var many []string
	for n := range maxCodeFiles { // with long names, and byte code beside them
		many = append(many, fmt.Sprintf("%s/module%d.py", strings.Repeat("d", 100), n), fmt.Sprintf("__pycache__/module%d.pyc", n))
	}
	if files, err := Zip(readerOf(zipOf(t, many...))); err != nil || len(files) != maxCodeFiles {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func readerOf(b []byte) (*bytes.Reader, int64) { return bytes.NewReader(b), int64(len(b)) }

func TestWriteZipReadsBack(t *testing.T) {
	files := map[string][]byte{"a.py": []byte("x"), "b/c.txt": bytes.Repeat([]byte("y"), 10_000), "b/d": {}}
	var first, second bytes.Buffer
	if err := WriteZip(&first, files); err != nil {
		t.Fatal(err)
	}
	if err := WriteZip(&second, files); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of the same files differ", err)
	}
	got, err := Zip(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil || !maps.EqualFunc(got, files, bytes.Equal) {
		t.Errorf("%v %v", got, err)
	}
}

// TestLoadProgram: a file that is no archive is the program, by the name that is given.
func TestLoadProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "anything")
	if err := os.WriteFile(file, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	for from, name := range map[string]string{file: "bootstrap", filepath.Dir(file): "anything"} {
		files, err := LoadProgram(from, "bootstrap")
		if err != nil || len(files) != 1 || string(files[name]) != "\x7fELF" {
			t.Errorf("%s: %q, %v", from, files, err)
		}
	}
	if _, err := LoadProgram(t.TempDir(), "bootstrap"); err == nil {
		t.Error("an empty folder is a program")
	}
}
