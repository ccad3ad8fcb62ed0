// Command goprogram does one thing of Go's runtime or library, named by its
// argument, and prints what came of it. The test runs it natively and in a
// guest and compares.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var features = map[string]func() any{
	"goroutines": goroutines,
	"channels":   channels,
	"preempt":    preempt,
	"gc":         collect,
	"gcpreempt":  collectWhileSpinning,
	"http":       httpLoopback,
	"https":      httpsLoopback,
	"tcp6":       tcp6,
	"unix":       unixSocket,
	"udp":        udp,
	"files":      files,
	"signals":    signals,
	"panics":     panics,
	"timers":     timers,
	"gzip":       compress,
	"deadline":   deadline,
	"exec":       execRefused,
	"stack":      deepStack,
	"env":        environment,
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "list" {
		for name := range features {
			fmt.Println(name)
		}
		return
	}
	if len(os.Args) == 3 && os.Args[1] == "exit" {
		fmt.Fprintln(os.Stderr, "leaving")
		var code int
		fmt.Sscan(os.Args[2], &code)
		os.Exit(code)
	}
	for _, name := range os.Args[1:] {
		out, err := json.Marshal(features[name]())
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s %s\n", name, out)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func goroutines() any {
	var wg sync.WaitGroup
	var sum atomic.Int64
	for n := range 2000 {
		wg.Go(func() {
			for i := range 100 {
				sum.Add(int64(n * i))
				if i%10 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	wg.Wait()
	return sum.Load()
}

func channels() any {
	in, out := make(chan int), make(chan int, 8)
	for range 8 {
		go func() {
			for n := range in {
				out <- n * n
			}
		}()
	}
	go func() {
		for n := range 5000 {
			in <- n
		}
		close(in)
	}()
	total := 0
	for range 5000 {
		total += <-out
	}
	return total
}

// spin has no call and no back edge that would let the scheduler in.
func spin(stop *atomic.Bool, counts []uint64) {
	for !stop.Load() {
		counts[0]++
	}
}

func preempt() any {
	var stop atomic.Bool
	done := make(chan bool)
	for range 4 {
		go func() {
			spin(&stop, make([]uint64, 1))
			done <- true
		}()
	}
	time.Sleep(30 * time.Millisecond)
	stop.Store(true)
	n := 0
	for range 4 {
		<-done
		n++
	}
	return n
}

type tree struct{ left, right *tree }

func grow(depth int) *tree {
	if depth == 0 {
		return &tree{}
	}
	return &tree{grow(depth - 1), grow(depth - 1)}
}

func (t *tree) count() int {
	if t == nil {
		return 0
	}
	return 1 + t.left.count() + t.right.count()
}

func collect() any {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	kept := grow(14)
	for range 60 {
		grow(14)
	}
	runtime.GC()
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	return []any{kept.count(), after.NumGC > before.NumGC, after.HeapAlloc < 64<<20}
}

func collectWhileSpinning() any {
	var stop atomic.Bool
	done := make(chan bool)
	go func() {
		spin(&stop, make([]uint64, 1))
		close(done)
	}()
	total := 0
	for range 20 {
		total += grow(12).count()
		runtime.GC() // stops the world: the spinning goroutine must be preempted
	}
	stop.Store(true)
	<-done
	return total
}

func httpLoopback() any {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := must(io.ReadAll(r.Body))
		w.Header().Set("X-Method", r.Method)
		fmt.Fprintf(w, "%s %s %d", r.URL.Path, bytes.ToUpper(body[:min(8, len(body))]), len(body))
	}))
	defer s.Close()
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			r := must(http.Post(fmt.Sprintf("%s/n/%d", s.URL, n), "text/plain", strings.NewReader(strings.Repeat("body", 1+n*500))))
			defer r.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r.Status+" "+r.Header.Get("X-Method")+" "+string(must(io.ReadAll(r.Body))))
		})
	}
	wg.Wait()
	slices.Sort(got)
	return got
}

func httpsLoopback() any {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s over TLS %v", r.Proto, r.TLS.Version == tls.VersionTLS13)
	}))
	defer s.Close()
	r := must(s.Client().Get(s.URL))
	defer r.Body.Close()
	return string(must(io.ReadAll(r.Body)))
}

func echo(network, address string) any {
	l := must(net.Listen(network, address))
	defer l.Close()
	go func() {
		c := must(l.Accept())
		defer c.Close()
		io.Copy(c, c)
	}()
	c := must(net.Dial(network, l.Addr().String()))
	defer c.Close()
	data := bytes.Repeat([]byte("seuss"), 50_000)
	go c.Write(data)
	back := make([]byte, len(data))
	n := must(io.ReadFull(c, back))
	return []any{n, bytes.Equal(data, back)}
}

func tcp6() any { return echo("tcp6", "[::1]:0") }

func unixSocket() any {
	dir := must(os.MkdirTemp("", "unix"))
	defer os.RemoveAll(dir)
	return echo("unix", filepath.Join(dir, "s"))
}

func udp() any {
	a := must(net.ListenPacket("udp4", "127.0.0.1:0"))
	defer a.Close()
	b := must(net.Dial("udp4", a.LocalAddr().String()))
	defer b.Close()
	must(b.Write([]byte("datagram")))
	buf := make([]byte, 64)
	n, from, err := a.ReadFrom(buf)
	if err != nil {
		panic(err)
	}
	return []any{string(buf[:n]), from.String() == b.LocalAddr().String()}
}

func files() any {
	dir := must(os.MkdirTemp("", "files"))
	defer os.RemoveAll(dir)
	p := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(p, 0o755); err != nil {
		panic(err)
	}
	for n := range 50 {
		if err := os.WriteFile(filepath.Join(p, fmt.Sprint(n)), bytes.Repeat([]byte{byte(n)}, n*100), 0o644); err != nil {
			panic(err)
		}
	}
	if err := os.Rename(filepath.Join(p, "7"), filepath.Join(dir, "seven")); err != nil {
		panic(err)
	}
	var total int64
	n := 0
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
			total += must(d.Info()).Size()
		}
		return err
	})
	_, err := os.Stat(filepath.Join(p, "7"))
	return []any{n, total, errors.Is(err, fs.ErrNotExist)}
}

func signals() any {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		panic(err)
	}
	return (<-c).String()
}

func panics() (result any) {
	defer func() { result = fmt.Sprint(recover()) }()
	var p *tree
	return p.left
}

func timers() any {
	start := time.Now()
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for range 5 {
		<-t.C
	}
	<-time.After(5 * time.Millisecond)
	return time.Since(start) >= 15*time.Millisecond
}

func compress() any {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	data := bytes.Repeat([]byte("the quick brown fox "), 20_000)
	must(w.Write(data))
	w.Close()
	back := must(io.ReadAll(must(gzip.NewReader(&b))))
	return fmt.Sprintf("%d %x", len(back), sha256.Sum256(back))
}

func deadline() any {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	l := must(net.Listen("tcp4", "127.0.0.1:0"))
	defer l.Close()
	c := must(net.Dial("tcp4", l.Addr().String()))
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	<-ctx.Done()
	return []any{errors.Is(err, os.ErrDeadlineExceeded), ctx.Err().Error()}
}

// execRefused is what differs from Linux by design: it says how.
func execRefused() any {
	err := exec.Command("/proc/self/exe", "list").Run()
	return err == nil || errors.Is(err, syscall.ENOSYS)
}

func recurse(n int) int {
	var pad [256]byte
	pad[n%256] = byte(n)
	if n == 0 {
		return int(pad[0])
	}
	return recurse(n-1) + int(pad[n%256])&1
}

func deepStack() any { return recurse(100_000) }

func environment() any {
	wd := must(os.Getwd())
	return []any{os.Getenv("SEUSS_TEST"), filepath.IsAbs(wd), os.Getpid() > 0, runtime.GOARCH}
}
