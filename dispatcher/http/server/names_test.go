package server

import (
	"net/http/httptest"
	"strings"
	"testing"

	"seuss/dispatcher/functions"
)

func FuzzFunctionName(f *testing.F) {
	s := New(Options{})
	for _, name := range []string{"f", "f:1", "f:$LATEST", "000000000000:function:f", "arn:aws:lambda:us-east-1:000000000000:function:f:live", "../x", "a/b", "a\x00", ":", "arn:aws:lambda:::function:f", "function:f"} {
		f.Add(name, "")
		f.Add(name, "1")
	}
	f.Fuzz(func(t *testing.T, text, qualifier string) {
		name, err := s.ParseFunctionName(httptest.NewRequest("GET", "/", nil), text, qualifier)
		if err != nil {
			return
		}
		if !functions.ValidFunction(name.Key) || strings.ContainsAny(name.Deployment(), "\\\x00") || strings.Contains(name.Deployment(), "..") {
			t.Errorf("%q with %q became %q", text, qualifier, name.Deployment())
		}
	})
}
