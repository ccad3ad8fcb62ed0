package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// smallDisk is a file system of its own with a copy of the tree in it and so many bytes of
// room beside that.
func smallDisk(t *testing.T, room int64) (state string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: only root may mount the small file system that this test fills")
	}
	source := treeCopy(t)
	size := int64(0)
	if err := filepath.Walk(source, func(_ string, info os.FileInfo, err error) error {
		if err == nil {
			size += (info.Size() + 4095) &^ 4095
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, fmt.Sprintf("size=%d", size+room)); err != nil {
		t.Skipf("skipped: no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	state = filepath.Join(disk, "state")
	if err := os.CopyFS(state, os.DirFS(source)); err != nil {
		t.Fatal(err)
	}
	return state
}

// fillDisk writes a file until nothing more fits, and returns what frees it.
func fillDisk(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "..", "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServeDiskFull: with the state directory's disk full invocations are served,
// what has to be stored is refused with the reason, and all of it works again
// when there is space.
func TestServeDiskFull(t *testing.T) {
	t.Parallel()
	c := newCLI(t)
	c.state = smallDisk(t, 12<<20)
	d := &daemon{cli: c}
	d.start()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the daemon's log:\n%.4000s", d.log)
		}
	})
	const source = "def handler(e, c):\n    print('x' * 5000)\n    return [%d, e]\n"
	d.create("before", fmt.Sprintf(source, 1), nil)
	for range 2 {
		free := fillDisk(t, c.state)
		for range 5 {
			d.wantOutput("before", `{"a": 1}`, `[1, {"a": 1}]`)
		}
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // what it printed is lost, by name
			if n := d.metric(`seuss_function_logs_total{entries="lost"}`); n != "0" && strings.Contains(d.log.String(), "function=before") {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%s entries are lost on a full disk", n)
			}
		}
		_, err := d.aws.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: aws.String("new"), Handler: aws.String("main.handler"),
			Runtime: types.RuntimePython311, Role: aws.String("r"), Code: &types.FunctionCode{ZipFile: zipped(t, fmt.Sprintf(source, 2))}})
		wantAPIError(t, err, "ServiceException", "no space left on device")
		_, err = d.aws.UpdateFunctionCode(t.Context(), &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("before"), ZipFile: zipped(t, fmt.Sprintf(source, 3))})
		wantAPIError(t, err, "ServiceException", "no space left on device")
		// An event is accepted only if it could be stored.
		refused := false
		for n := range 2000 {
			_, err := d.aws.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("before"), InvocationType: types.InvocationTypeEvent,
				Payload: fmt.Appendf(nil, `{"n": %d, "x": %q}`, n, strings.Repeat("x", 200_000))})
			if err != nil {
				wantAPIError(t, err, "ServiceException", "no space left on device")
				refused = true
				break
			}
		}
		if !refused {
			t.Error("events were accepted on a full disk without end")
		}
		d.wantOutput("before", `{}`, `[1, {}]`)
		_, err = d.invoke(t.Context(), "new", `{}`)
		wantAPIError(t, err, "ResourceNotFoundException", "new")
		free()
		d.create("new", fmt.Sprintf(source, 2), nil)
		d.wantOutput("new", `{}`, `[2, {}]`)
		d.want(0, "removed", "function", "rm", "new")
		d.wantOutput("before", `{}`, `[1, {}]`)
	}
	d.want(0, "entries before this were dropped", "function", "logs", "before")
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	d.start()
	d.wantOutput("before", `{}`, `[1, {}]`)
}
