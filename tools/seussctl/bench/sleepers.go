package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Sleepers are invocations that wait at once, all of them over connections of their own.
type Sleepers struct {
	N       int     `json:"n"`
	Seconds float64 `json:"seconds"` // that each sleeps
	// Answered are those with the result that they have to have, Refused those with status
	// 429; Failed is the first answer that is none, those among them.
	Answered int    `json:"answered"`
	Refused  int    `json:"refused"`
	Failed   string `json:"failed,omitempty"`
	// Took is from the first request to the last answer, in seconds; Limit is what it may.
	Took  float64 `json:"took_s"`
	Limit float64 `json:"limit_s"`
	// Parked is how many waited without a machine when most did, and Bytes by how much the
	// daemon's resident memory was more then than before, for each of them; Own is what they
	// count themselves.
	Parked int     `json:"parked"`
	Bytes  float64 `json:"bytes_each"`
	Own    float64 `json:"own_bytes_each"`
}

// Served is a daemon that functions are invoked at.
type Served struct {
	PID     int
	Address string // host:port
	Token   string
}

// request sends a request on a connection of its own and returns the answer's status and body.
func (s *Served) request(ctx context.Context, method, path, body string) (status int, answer []byte, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, s.Address, s.Token, len(body), body); err != nil {
		return 0, nil, err
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(conn, 1<<10), nil)
	if err != nil {
		return 0, nil, err
	}
	defer r.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(r.Body, 16<<20))
	return r.StatusCode, answer, err
}

// Metric is one of the daemon's.
func (s *Served) Metric(ctx context.Context, names ...string) (values []float64, err error) {
	_, b, err := s.request(ctx, "GET", "/metrics", "")
	if err != nil {
		return nil, err
	}
	values = make([]float64, len(names))
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		for i := range names {
			if name == names[i] {
				if values[i], err = strconv.ParseFloat(value, 64); err != nil {
					return nil, fmt.Errorf("metric %s: %w", name, err)
				}
			}
		}
	}
	return values, nil
}

// Resident is the daemon's resident memory, without what it maps of files, in bytes.
func (s *Served) Resident() (uint64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.PID))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib uint64
		if n, _ := fmt.Sscanf(lines.Text(), "RssAnon: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no RssAnon in the daemon's status")
}

// Sleep has n invocations of a function at once that sleeps for as many seconds as its event
// says and returns that.
func (s *Served) Sleep(ctx context.Context, function string, n int, seconds float64) (*Sleepers, error) {
	got := &Sleepers{N: n, Seconds: seconds}
	before, err := s.Resident()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	looked := make(chan struct{})
	watching.Go(func() { err = s.watch(ctx, got, before, looked) })
	event := strconv.FormatFloat(seconds, 'g', -1, 64)
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for range n {
		all.Go(func() {
			status, answer, err := s.request(ctx, "POST", "/2015-03-31/functions/"+function+"/invocations", event)
			mu.Lock()
			defer mu.Unlock()
			got.note(event, status, answer, err)
		})
	}
	all.Wait()
	got.Took = time.Since(began).Seconds()
	close(looked)
	watching.Wait()
	return got, err
}

// note counts an answer.
func (got *Sleepers) note(want string, status int, answer []byte, err error) {
	switch {
	case err == nil && status == http.StatusOK && strings.TrimSpace(string(answer)) == want:
		got.Answered++
		return
	case err == nil && status == http.StatusTooManyRequests:
		got.Refused++
	}
	if got.Failed == "" {
		got.Failed = fmt.Sprintf("status %d, %v: %.300s", status, err, answer)
	}
}

// watch notes what there is when most are parked.
func (s *Served) watch(ctx context.Context, got *Sleepers, before uint64, end <-chan struct{}) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now, err := s.Metric(ctx, "seuss_parked_instances", "seuss_parked_bytes")
		if err != nil {
			return err
		}
		resident, err := s.Resident()
		if err != nil {
			return err
		}
		if n := int(now[0]); n > 0 && n >= got.Parked {
			got.Parked, got.Own = n, now[1]/now[0]
			got.Bytes = (float64(resident) - float64(before)) / now[0]
		}
	}
}
