package server

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestFaultAfterEarlyHints: what is said ahead of an answer is none: a fault after it is told
// as one before it is, and no empty answer is taken for a success.
func TestFaultAfterEarlyHints(t *testing.T) {
	s := &Server{Options: Options{Log: slog.New(slog.DiscardHandler)}}
	server := httptest.NewServer(s.identify(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		panic("a fault")
	})))
	defer server.Close()
	answer, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusInternalServerError || len(body) == 0 {
		t.Errorf("%d %q, %v", answer.StatusCode, body, err)
	}
}
