package bus

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"seuss/dispatcher/cluster/gate"
)

// door is the port for routes: what is let in is passed on to the engine, which closes what
// is no member's.
type door struct {
	*gate.Listener
	passing sync.WaitGroup
}

// passDial bounds the way to the engine, in this process.
const passDial = 5 * time.Second

// acceptPause is waited where a connection cannot be taken, say for want of descriptors.
const acceptPause = 50 * time.Millisecond

func (d *door) open(engine string) {
	d.passing.Go(func() {
		for {
			c, err := d.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				time.Sleep(acceptPause)
				continue
			}
			d.passing.Go(func() { pass(c, engine) })
		}
	})
}

// pass ends with either side.
func pass(c net.Conn, engine string) {
	defer c.Close()
	e, err := net.DialTimeout("tcp", engine, passDial)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, e)
		c.Close()
		e.Close()
	})
	_, _ = io.Copy(e, c)
	e.Close()
	c.Close()
	back.Wait()
}
