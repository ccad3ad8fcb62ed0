package contracts

import (
	"bytes"
	"errors"
	"testing"

	"seuss/dispatcher/instance"
)

// TestAnswer: what is JSON is the answer, what is text a string of it.
func TestAnswer(t *testing.T) {
	for in, want := range map[string]string{"2\n": "2", ` {"a": 1} `: `{"a": 1}`, "two words\n": `"two words\n"`, "": `""`, "<&>": "\"\\u003c\\u0026\\u003e\""} {
		if got, err := Answer([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v; want %s", in, got, err, want)
		}
	}
	var wrong *instance.HandlerError
	if _, err := Answer(bytes.Repeat([]byte{1}, MaxAnswerBytes/2)); !errors.As(err, &wrong) || wrong.Type != "Function.ResponseSizeTooLarge" {
		t.Errorf("text that is too large as JSON: %v", err)
	}
	if _, err := Answer([]byte{0xff}); !errors.As(err, &wrong) || wrong.Type != "Runtime.MarshalError" {
		t.Errorf("bytes that are no text: %v", err)
	}
}
