package languages

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"

	"seuss/tools/seussctl/samples/languages"
)

// program is a folder of programs, or of generators.
type program struct{ languages.Program }

type request = languages.Request

func programs(t *testing.T) []program {
	t.Helper()
	return programsIn(t, "../../tools/seussctl/samples/languages/programs")
}

// programsIn reads the programs of a folder.
func programsIn(t *testing.T, folder string) (list []program) {
	t.Helper()
	found, err := languages.Read(os.DirFS(folder))
	if err != nil || len(found) == 0 {
		t.Fatalf("no programs in %s: %v", folder, err)
	}
	for _, p := range found {
		list = append(list, program{p})
	}
	return list
}

// require skips a test where this machine lacks what the program needs, or fails it.
func (p *program) require(t *testing.T) {
	t.Helper()
	if lacks := p.Lacks(); lacks != "" && *strict {
		t.Fatalf("it needs %s: tests/languages/setup.sh", lacks)
	} else if lacks != "" {
		t.Skipf("skipped without %s", lacks)
	}
}

// code makes the program and returns its files, by their paths.
func (p *program) code(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := p.Code(t.TempDir(), ".")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// native is the program on this machine, not started yet, in a directory with its files.
func (p *program) native(t *testing.T, files map[string][]byte, port uint16, environment ...string) *exec.Cmd {
	t.Helper()
	c, err := p.Native(t.TempDir(), files, port, environment...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func local(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }
