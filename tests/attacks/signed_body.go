package attacks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func init() {
	add(Attack{
		Name:  "signed-body",
		Tries: "A signed request is sent on with another body, path, query or x-amz header",
		Holds: "it is refused before anything is done; a signature expires",
		Tests: []string{"TestSignatures", "TestSignatureExpires", "TestPublishedVectors", "TestSignedWeb"},
		Run:   signedBody,
	})
}

func signedBody(t *Target) {
	if t.Token == "" {
		t.Skip("skipped: the daemon wants no token")
	}
	t.Deploy("signed-body", "def handler(event, context):\n    return event\n", Settings(20, 0))
	const signed, sent = `{"e":1}`, `{"e":2}`
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"as it was signed", func(*http.Request) {}, 200},
		{"another body", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(sent)) }, 403},
		{"another query", func(r *http.Request) { r.URL.RawQuery = "Qualifier=1" }, 403},
		{"a header more", func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") }, 403},
		{"another function", func(r *http.Request) { r.URL.Path = strings.Replace(r.URL.Path, "signed-body", "honest", 1) }, 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", t.URL+"/2015-03-31/functions/signed-body/invocations", strings.NewReader(signed))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte(signed))
		credentials := aws.Credentials{AccessKeyID: "any", SecretAccessKey: t.Token}
		if err := v4.NewSigner().SignHTTP(context.Background(), credentials, r, hex.EncodeToString(digest[:]), "lambda", "us-east-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		c.change(r)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != c.want || c.want == 200 && string(body) != `{"e": 1}` {
			t.Errorf("%s: %d %.300s, %v; want %d", c.name, answer.StatusCode, body, err, c.want)
		}
	}
}
