package attacks

import (
	"io"
	"time"
)

func init() {
	add(Attack{
		Name:  "slow-senders",
		Tries: "Clients send the head of a request a byte at a time and never end it",
		Holds: "each is closed after its time; the others are served meanwhile",
		Tests: []string{"TestBodyDeadline", "TestRespondsBeforeReset"},
		Run: func(t *Target) {
			head := t.Head("GET", "/v1/functions")
			closed := make(chan bool, 50)
			for range cap(closed) {
				c := t.Dial()
				go func() {
					end := time.Now().Add(t.Patience(time.Minute))
					for i := 0; time.Now().Before(end); i++ {
						if i < len(head)-2 {
							if _, err := io.WriteString(c, head[i:i+1]); err != nil {
								closed <- true
								return
							}
						}
						_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)) // fails with what is read next
						if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
							closed <- true // an answer is an end too: the request has none
							return
						}
					}
					closed <- false
				}()
			}
			for range cap(closed) {
				if !<-closed {
					t.Fatal("a request that never ends is waited for without end")
				}
			}
		},
	})
}
