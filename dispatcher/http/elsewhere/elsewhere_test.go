package elsewhere

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"

	"seuss/dispatcher/api"
)

// TestWhatIsPassedOnIsChecked: a head that is none, and an event that is too large or of no known
// size, are refused by name before anything is read or run.
func TestWhatIsPassedOnIsChecked(t *testing.T) {
	e := &Elsewhere{bodies: semaphore.NewWeighted(10)}
	for _, head := range []string{"", "!", "e30x", "eyJmdW5jdGlvbiI6NX0="} {
		q := httptest.NewRequest("POST", path, strings.NewReader("{}"))
		q.Header.Set(headName, head)
		if err := e.serve(httptest.NewRecorder(), q, "b"); err == nil || !strings.Contains(err.Error(), "what is to be invoked") {
			t.Errorf("%q: %v", head, err)
		}
	}
	for size, status := range map[int64]int{-1: http.StatusBadRequest, 1 << 40: http.StatusBadRequest, 11: http.StatusTooManyRequests} {
		q := httptest.NewRequest("POST", path, strings.NewReader("{}"))
		q.Header.Set(headName, "e30=")
		q.ContentLength = size
		w := httptest.NewRecorder()
		if err := e.serve(w, q, "b"); err != nil {
			t.Error(err)
		}
		var doc api.Error
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != status || doc.Code == "" {
			t.Errorf("%d bytes: %d %s", size, w.Code, w.Body)
		}
	}
}
