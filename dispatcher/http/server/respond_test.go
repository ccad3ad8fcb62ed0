package server_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	_ "seuss/dispatcher/http/lambda"
	_ "seuss/dispatcher/http/native"
	"seuss/dispatcher/http/servertest"
)

// TestRespondsBeforeReset checks that a client has the whole response while the
// machine is still being reset.
func TestRespondsBeforeReset(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "echo")
	read := make(chan struct{}, 2)
	f.OnReset = func() {
		select {
		case <-read:
		case <-time.After(time.Minute):
			t.Error("the response waits for the reset")
		}
	}
	_, url := f.Serve(t, nil)
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
