package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRespondsBeforeReset checks that a client has the whole response while the
// machine is still being reset.
func TestRespondsBeforeReset(t *testing.T) {
	f := newFake(t)
	f.put(t, "echo")
	read := make(chan struct{}, 2)
	f.reset = func() {
		select {
		case <-read:
		case <-time.After(10 * time.Second):
			t.Error("the response waits for the reset")
		}
	}
	_, url := serve(t, f, nil)
	for path, body := range map[string]string{
		"/2015-03-31/functions/echo/invocations": `{"n": 1}`,
		"/v1/functions/echo/invoke":              `{"event": {"n": 1}}`,
	} {
		answer, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		read <- struct{}{}
		if err != nil || answer.StatusCode != http.StatusOK || answer.ContentLength != int64(len(content)) || !strings.Contains(string(content), `"n":1`) {
			t.Errorf("%s: %s, length %d, %v\n%s", path, answer.Status, answer.ContentLength, err, content)
		}
	}
}
