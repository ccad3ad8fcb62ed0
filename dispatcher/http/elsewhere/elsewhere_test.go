package elsewhere

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"

	"seuss/dispatcher"
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

// TestRefusedOrRun: what a member has no room for, or lacks the image or the checkpoint of, may
// run on another one; what it has begun may not, whatever it says of that.
func TestRefusedOrRun(t *testing.T) {
	for code, again := range map[api.Code]bool{
		api.Refused: true, api.Unavailable: true, api.UnknownFunction: true, api.QuotaExceeded: true, api.NoImage: true, api.NotFound: true,
		api.BadEvent: false, api.Invalid: false, api.Failed: false, api.Killed: false, api.FunctionFailed: false,
	} {
		for _, began := range []bool{false, true} {
			text, err := json.Marshal(refusal{api.Error{Code: code, Message: "m"}, began})
			if err != nil {
				t.Fatal(err)
			}
			var got refusal
			if err := json.Unmarshal(text, &got); err != nil || got.Message != "m" || got.Began != began || got.again() != (again && !began) {
				t.Errorf("%s: %+v, again %t, %v", text, got, got.again(), err)
			}
		}
	}
}

// TestTheOutputStaysAsItIs: whoever asks gets a function's output byte for byte, whichever member
// has run it.
func TestTheOutputStaysAsItIs(t *testing.T) {
	for _, output := range []string{"", `{"a": "<b>&"}`, "[1,\n 2]", "no document"} {
		r := &dispatcher.Result{RequestID: "r", Output: json.RawMessage(output), Error: &dispatcher.FunctionError{Message: "m"}}
		b, err := encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(b)
		if err != nil || string(got.Output) != output || got.RequestID != "r" || got.Error == nil || got.Error.Message != "m" || string(r.Output) != output {
			t.Errorf("%q: %+v, %v", output, got, err)
		}
	}
	if r, err := decode([]byte("{")); err == nil {
		t.Errorf("%+v", r)
	}
}
