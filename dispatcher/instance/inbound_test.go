package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher/instance/instancetest"
	"seuss/lineage"
	"seuss/vmm/vsock"
)

// server answers each connection with how many it has had, who it is from and what came on
// it until its end.
const server = `import selectors, socket
count = 0
listening = socket.socket(socket.AF_INET6)
listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
listening.bind(("::", 8080))
listening.listen(100)
ready = selectors.DefaultSelector()
ready.register(listening, selectors.EVENT_READ)
while True:
    ready.select()
    c, peer = listening.accept()
    count += 1
    data = b""
    while True:
        p = c.recv(100000)
        if not p: break
        data += p
    c.sendall(b"%d %s " % (count, peer[0].encode()) + data)
    c.close()
`

// TestInboundConnections: the monitor sees that a program waits for connections, a snapshot
// keeps the listener, and connections of a restored instance reach it, many at once.
func TestInboundConnections(t *testing.T) {
	b := newLoaderBench(t)
	deadline := func() time.Time { return time.Now().Add(bootTimeout * time.Duration(*instancetest.Slow)) }
	i := b.begin(b.base)
	records := slices.Concat(file("server.py", server), command("/usr/bin/python3", "server.py"))
	if err := i.Converse(t.Context(), deadline()).Become(records); err != nil {
		t.Fatal(err)
	}
	waits := Listener{Port: 8080, Waited: true, Reachable: true}
	if err := i.Until(t.Context(), deadline(), func() bool { return slices.Contains(i.Listeners(), waits) }); err != nil {
		t.Fatal(err)
	}
	s, err := i.Capture(Capture{Kind: lineage.KindFunction, Key: lineage.Key{Function: "f", CodeDigest: strings.Repeat("0", 64), Contract: "http"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		i := b.begin(s)
		if got := i.Listeners(); !slices.Contains(got, waits) {
			t.Fatalf("after the restore: %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		answers := make([]string, 20)
		for n := range answers {
			c, err := i.Inbound().Dial(8080)
			if err != nil {
				t.Fatal(err)
			}
			stream := vsock.NewStream(c)
			wg.Go(func() {
				defer stream.Close()
				text := strings.Repeat("x", n*40000)
				_, err := io.WriteString(stream, text)
				if err == nil {
					err = stream.CloseWrite()
				}
				answer, rerr := io.ReadAll(stream)
				if err = errors.Join(err, rerr); err != nil {
					answers[n] = err.Error()
				} else if rest, ok := strings.CutSuffix(string(answer), text); ok {
					answers[n] = rest
				} else {
					answers[n] = fmt.Sprintf("%.40q, %d bytes of %d", answer, len(answer), len(text))
				}
			})
		}
		nobody, err := i.Inbound().Dial(8081)
		if err != nil {
			t.Fatal(err)
		}
		go func() { wg.Wait(); cancel() }()
		if err := i.Until(ctx, deadline(), func() bool { return false }); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wg.Wait()
		if err := nobody.Err(); !errors.Is(err, vsock.ErrRefused) && !errors.Is(err, vsock.ErrReset) {
			t.Errorf("a port on which nobody listens: %v", err)
		}
		slices.Sort(answers)
		var want []string
		for n := range answers {
			want = append(want, fmt.Sprintf("%d ::ffff:127.0.0.1 ", n+1))
		}
		slices.Sort(want)
		if !slices.Equal(answers, want) {
			t.Errorf("answers %q", answers)
		}
	}
}
