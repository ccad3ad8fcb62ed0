package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// An old signature is no use to whoever has recorded it.
func TestSignatureExpires(t *testing.T) {
	r := httptest.NewRequest("GET", "/v1/functions", nil)
	r.Header.Set("X-Amz-Date", "20200101T000000Z")
	err := checkSignature(r, "Credential=a/20200101/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "s", time.Now())
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// signed is a request as AWS's own signer signs it.
func signed(t *testing.T, method, url, body string, header map[string]string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for name, value := range header {
		r.Header.Set(name, value)
	}
	digest := digestOf(body)
	if announced := r.Header.Get("X-Amz-Content-Sha256"); announced != "" {
		digest = announced
	}
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: "any", SecretAccessKey: "sesame"}, r, digest, "lambda", "us-east-1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSignatures holds the check against AWS's own signer: what it signs passes,
// and nothing else does, the body and what changes the operation included.
func TestSignatures(t *testing.T) {
	const invoke = "http://127.0.0.1/2015-03-31/functions/echo/invocations"
	announced := map[string]string{"X-Amz-Content-Sha256": digestOf(`{"e":1}`)}
	for _, c := range []struct {
		name, url, body string
		header          map[string]string
		change          func(*http.Request)
		want            string // in the refusal; "": it passes
	}{
		{"a body", invoke, `{"e":1}`, nil, nil, ""},
		{"no body", invoke, ``, nil, nil, ""},
		{"a digest that is sent", invoke, `{"e":1}`, announced, nil, ""},
		{"a query", invoke + "?Qualifier=live&b=a%20b&a=%2F&c", `{}`, nil, nil, ""},
		{"an ARN", "http://127.0.0.1/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aecho/invocations", `{}`, nil, nil, ""},
		{"headers", invoke, `{}`, map[string]string{"X-Amz-Log-Type": "Tail", "X-Amz-Invocation-Type": "  Event "}, nil, ""},
		{"another body", invoke, `{"e":1}`, nil, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"e":2}`)) }, "does not match"},
		{"another body than the digest that is sent", invoke, `{"e":1}`, announced, func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"e":2}`)) }, "x-amz-content-sha256"},
		{"more behind the body", invoke, `{"e":1}`, announced, func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader(`{"e":1} `)), 8 }, "does not match"},
		{"no body at all", invoke, `{"e":1}`, announced, func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }, "x-amz-content-sha256"},
		{"a body that is not signed", invoke, `{"e":1}`, map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, nil, "must be signed"},
		{"a header more", invoke, `{}`, nil, func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") }, "not among those that are signed"},
		{"a header another", invoke, `{}`, map[string]string{"X-Amz-Invocation-Type": "DryRun"}, func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") }, "does not match"},
		{"a header twice", invoke, `{}`, map[string]string{"X-Amz-Log-Type": "None"}, func(r *http.Request) { r.Header.Add("X-Amz-Log-Type", "Tail") }, "does not match"},
		{"another path", invoke, `{}`, nil, func(r *http.Request) { r.URL.Path = "/2015-03-31/functions/other/invocations" }, "does not match"},
		{"another query", invoke + "?Qualifier=1", `{}`, nil, func(r *http.Request) { r.URL.RawQuery = "Qualifier=2" }, "does not match"},
		{"another method", invoke, `{}`, nil, func(r *http.Request) { r.Method = "DELETE" }, "does not match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := signed(t, "POST", c.url, c.body, c.header)
			if c.change != nil {
				c.change(r)
			}
			_, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			err := checkSignature(r, value, "sesame", time.Now())
			var body []byte
			if err == nil {
				body, err = ReadBody(r, 100, "invoke")
			}
			switch {
			case c.want == "" && (err != nil || string(body) != c.body):
				t.Errorf("%q, %v", body, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
