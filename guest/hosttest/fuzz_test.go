package hosttest

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// programEnv tells the processes in which go test fuzzes where the program is
// that the first one has built.
const programEnv = "SEUSS_FUZZ_PROGRAM"

// inputTimeout is after how long an input counts as one that does not end.
const inputTimeout = 20 * time.Second

// fuzzer is a kernel/tests/*_fuzz.c that runs and waits for input.
type fuzzer struct {
	bin    string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	stderr bytes.Buffer
}

func (p *fuzzer) start() error {
	p.cmd = exec.Command(p.bin)
	p.cmd.Env = append(os.Environ(), "ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1", "UBSAN_OPTIONS=print_stacktrace=1")
	p.stderr.Reset()
	p.cmd.Stderr = &p.stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return err
	}
	return p.cmd.Start()
}

func (p *fuzzer) stop() {
	if p.cmd != nil {
		p.in.Close()
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

// run gives the program one input: false if it did not survive it.
func (p *fuzzer) run(data []byte) bool {
	hang := time.AfterFunc(inputTimeout, func() { p.cmd.Process.Kill() })
	defer hang.Stop()
	var answer [1]byte
	_, err := p.in.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(data))))
	if err == nil {
		_, err = p.in.Write(data)
	}
	if err == nil {
		_, err = io.ReadFull(p.out, answer[:])
	}
	return err == nil
}

// fuzz runs kernel/tests/NAME_fuzz.c, compiled with sanitizers, on what go
// test's mutator makes of its seed, of the named cases and of more seeds.
func fuzz(f *testing.F, name string, seeds ...[]byte) {
	if _, err := exec.LookPath("gcc"); err != nil {
		f.Skip("gcc is missing: the kernel library's parsers cannot be built as host programs")
	}
	p := &fuzzer{bin: os.Getenv(programEnv)}
	if filepath.Base(p.bin) != name {
		dir := f.TempDir()
		p.bin = filepath.Join(dir, name)
		objs := &objects{dir: dir, m: map[string]string{}}
		if err := objs.build(filepath.Join(kernelDir, "tests", name+"_fuzz.c"), p.bin); err != nil {
			f.Fatal(err)
		}
		f.Setenv(programEnv, p.bin)
	}
	seed, err := exec.Command(p.bin, "seed").Output()
	if err != nil || len(seed) == 0 {
		f.Fatalf("seed of %s: %v", name, err)
	}
	for _, s := range append(seeds, seed, nil) {
		f.Add(s)
	}
	f.Cleanup(p.stop)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p.cmd == nil {
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
		}
		if !p.run(data) {
			p.stop()
			t.Fatalf("%s did not survive %d bytes:\n%s", name, len(data), p.stderr.String())
		}
	})
}

// head is the beginning of a file of this machine, nil where there is none.
func head(path string, n int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return nil
	}
	return b
}

func FuzzRootImage(f *testing.F) { fuzz(f, "fs_image") }

func FuzzProgram(f *testing.F) {
	fuzz(f, "exec", head("/proc/self/exe", 4096), head("/bin/true", 4096))
}

// FuzzLoader: images/runtimes/loader reads the records of programs.
func FuzzLoader(f *testing.F) { fuzz(f, "loader") }

func FuzzVsock(f *testing.F) { fuzz(f, "vsock") }

func FuzzIdentity(f *testing.F) { fuzz(f, "identity") }
