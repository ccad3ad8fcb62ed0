package tests

import (
	"fmt"
	"testing"

	"seuss/dispatcher"
	"seuss/dispatcher/instances"
	"seuss/guest"
)

// TestLiveStreams: an instance that opens thousands of streams is given those that it may have,
// and goes on, parked, forked and all, while others do.
func TestLiveStreams(t *testing.T) {
	t.Parallel()
	l := newLab(t, openAt(t, treeCopy(t), func(o *dispatcher.Options) { o.PoolSize = 1 }))
	i, other := l.create(instances.Spec{Image: dispatcher.DefaultImage()}), l.create(instances.Spec{Image: dispatcher.DefaultImage()})
	if a := l.exec(i, fmt.Sprintf(`
import socket
held, refused = [], 0
for n in range(4096):
    s = socket.socket()
    s.settimeout(5)
    try:
        s.connect(('127.0.0.1', %d))
        s.sendall(b'GET /')
        held.append(s)
    except OSError:
        refused += 1
        s.close()
`, guest.FunctionApiTcp)); a.Error != nil {
		t.Fatal(a.Error)
	}
	l.want(other, "1 + 1", "2")
	l.want(i, "len(held) + refused", "4096")
	t.Logf("%s streams of 4096 are open, it takes %d bytes", l.exec(i, "len(held)").Value, i.Info().Bytes)
	for _, fork := range l.fork(i, "copy1", "copy2") {
		l.want(fork, "len(held) + refused", "4096")
	}
	node := l.checkpoint(i)
	i.Remove()
	l.want(other, "x = 40\nx + 2", "42")
	if err := other.Rollback(l.ctx, node); err != nil {
		t.Fatal(describe(err))
	}
	l.want(other, "len(held) + refused", "4096")
}
