package attacks

import (
	"fmt"
	"io"
)

// largeAnswer is a function whose answer of 5.9 MB fits into no socket's buffer.
const largeAnswer = "def handler(event, context):\n    return 'a' * 5900000\n"

func init() {
	add(Attack{
		Name:  "deaf-readers",
		Tries: "Clients ask for large answers and read nothing of them",
		Holds: "a machine is free when its function has ended; the answer waits in a bounded buffer, and one that stalls is reset",
		Tests: []string{"TestClientsThatDoNotRead", "TestWriteDoesNotWait", "TestStall", "TestSlowestIsReset", "TestFeedHasAnEnd", "TestFeedOfSmallPieces"},
		Run: func(t *Target) {
			t.Deploy("deaf-readers", largeAnswer, Settings(20, 0))
			const runs = `seuss_invocations_total{outcome="ok"}`
			before := t.Metric(runs)
			const deaf = 10
			for range deaf {
				c := t.Dial()
				if err := c.SetReadBuffer(4096); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(c, t.Head("POST", "/2015-03-31/functions/deaf-readers/invocations", "Content-Length: 2")+"\r\n{}"); err != nil {
					t.Fatal(err)
				}
			}
			t.Until(fmt.Sprintf("%d invocations have ended though nobody reads their answers", deaf), func() bool { return t.Metric(runs) >= before+deaf })
			t.Deploy("beside-deaf-readers", "def handler(event, context):\n    return 1\n", Settings(20, 0))
			for range 20 { // more than there are machines
				if a := t.Run("beside-deaf-readers", `{}`, defaultTimeout); a.Output != "1" {
					t.Fatalf("others get %+v", a)
				}
			}
		},
	})
}
