package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// Children are processes of a zygote's that sleep at once.
type Children struct {
	N     int     `json:"n"`          // as many as fit: while half of what memory was free is
	Bytes float64 `json:"bytes_each"` // by which MemAvailable fell, for each
	Took  float64 `json:"took_s"`
}

// childrenProgram forks until there are so many, or memory or processes run out.
const childrenProgram = `
import json, os, sys, time
most, seconds = int(sys.argv[1]), float(sys.argv[2])
def available():
    for line in open("/proc/meminfo"):
        if line.startswith("MemAvailable"): return int(line.split()[1]) << 10
n, before, began = 0, available(), time.time()
after = before
while n < most and after > before / 2:
    try: pid = os.fork()
    except OSError: break
    if pid == 0:
        time.sleep(seconds)
        os._exit(0)
    n += 1
    if n % 50 == 0: after = available()
after = available()
for _ in range(n): os.wait()
print(json.dumps({"n": n, "bytes_each": (before - after) / max(n, 1), "took_s": time.time() - began}))
`

// SleepForked has a Python process fork n children, or as many as fit, each of which sleeps.
func SleepForked(ctx context.Context, python string, n int, seconds float64) (*Children, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, python, "-c", childrenProgram, strconv.Itoa(n), strconv.FormatFloat(seconds, 'g', -1, 64)).Output()
	if err != nil {
		return nil, fmt.Errorf("children that sleep: %w", err)
	}
	got := &Children{}
	if err := json.Unmarshal(out, got); err != nil {
		return nil, fmt.Errorf("children that sleep: %w", err)
	}
	return got, nil
}
