package attacks

import (
	"bufio"
	"io"
	"strings"
	"time"
)

func init() {
	add(Attack{
		Name:  "wrong-requests",
		Tries: "Clients send heads, lengths, paths and chunks that are malformed, contradictory or huge",
		Holds: "each is refused with its status, and the daemon lives on",
		Tests: []string{"TestHostileRequests", "TestRefusedUnread"},
		Run: func(t *Target) {
			const path = "/2015-03-31/functions/wrong-requests/invocations"
			for text, want := range map[string]string{
				t.Head("POST", path, "X: "+strings.Repeat("a", 1<<20)) + "\r\n":            "431",
				t.Head("POST", path, "Content-Length: -1") + "\r\n":                        "400",
				t.Head("POST", path, "Content-Length: 2", "Content-Length: 3") + "\r\n{}":  "400",
				t.Head("POST", path, "Transfer-Encoding: chunked") + "\r\nzzz\r\n":         "40", // 400, or 404 before the body is read
				t.Head("POST", path, "Content-Length: 99999999999") + "\r\n":               "4",
				t.Head("GET", "/2015-03-31/functions/..%2f..%2fetc%2fpasswd") + "\r\n":     "400",
				t.Head("GET", "/2015-03-31/functions/"+strings.Repeat("a", 5000)) + "\r\n": "400",
				"GARBAGE\r\n\r\n": "400",
			} {
				c := t.Dial()
				_ = c.SetDeadline(time.Now().Add(t.Patience(20 * time.Second))) // fails with what is read
				go io.WriteString(c, text)                                      // the daemon may answer before it has read all
				line, err := bufio.NewReader(c).ReadString('\n')
				if _, status, _ := strings.Cut(line, " "); !strings.HasPrefix(status, want) {
					t.Errorf("%.70q: %q, %v; want %s", text, line, err, want)
				}
			}
		},
	})
}
