package server

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
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
		{"names that begin with others", invoke + "?a-b=1&a=2&a1=3&a=1&a.b=4&a%20b=5", `{}`, nil, nil, ""},
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
		{"more behind a query, that is none", invoke + "?Qualifier=1", `{}`, nil, func(r *http.Request) { r.URL.RawQuery += "&x;y" }, "cannot be signed"},
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

// TestPublishedVectors holds the check against some of AWS's own test vectors for Signature
// Version 4 (the signing test suite of github.com/awslabs/aws-c-auth): requests and the
// signatures that they have. Those whose paths no client may send as they are there, or only
// some clients change before they sign, are left out.
func TestPublishedVectors(t *testing.T) {
	const secret, date = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830T123600Z"
	for _, c := range []struct{ name, request, signed, signature string }{
		{"get-vanilla", "GET /", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "GET /?Param2=value2&Param1=value1", "", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-query-order-encoded", "GET /?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", "", "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac"},
		{"get-vanilla-query-unreserved", "GET /?" + unreserved + "=" + unreserved, "", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"get-header-value-trim", "GET /\nMy-Header1: value1\nMy-Header2: \"a   b   c\"", "my-header1;my-header2", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"get-header-value-order", "GET /\nMy-Header1:value4\nMy-Header1:value1\nMy-Header1:value3\nMy-Header1:value2", "my-header1", "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01"},
		{"get-header-key-duplicate", "GET /\nMy-Header1:value2\nMy-Header1:value2\nMy-Header1:value1", "my-header1", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"post-header-key-sort", "POST /\nMy-Header1:value1", "my-header1", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"post-x-www-form-urlencoded", "POST /\nContent-Type:application/x-www-form-urlencoded\nContent-Length:13\nX-Amz-Content-Sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e", "content-length;content-type;x-amz-content-sha256", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			line, header, _ := strings.Cut(c.request, "\n")
			body := ""
			if strings.Contains(header, "Content-Length") {
				body = "Param1=value1"
			}
			text := line + " HTTP/1.1\nHost:example.amazonaws.com\nX-Amz-Date:" + date + "\n" + header + "\n\n" + body
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			names := slices.DeleteFunc(append(strings.Split(c.signed, ";"), "host", "x-amz-date"), func(s string) bool { return s == "" })
			slices.Sort(names)
			canonical, err := canonicalRequest(r, names, digestOf(body))
			if got := signatureOf(canonical, date, []string{"20150830", "us-east-1", "service", "aws4_request"}, secret); err != nil || got != c.signature {
				t.Errorf("%s, %v\nwant %s of\n%s", got, err, c.signature, canonical)
			}
		})
	}
}

// unreserved are all characters that RFC 3986 calls so.
const unreserved = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
