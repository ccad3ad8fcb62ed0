package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"seuss/dispatcher/access"
	"seuss/dispatcher/http/servertest"
)

// tokensOfAlice makes two tokens of hers, one that signs and one that is a bearer's only.
func tokensOfAlice(t *testing.T, f *servertest.Fake) (keys *access.Keeper, secrets map[string]string) {
	t.Helper()
	secrets = map[string]string{}
	if err := access.Change(f.StateDir(), func(file *access.File) error {
		for _, tok := range []access.Token{{Name: "signs", Owner: "alice"}, {Name: "bearer", Owner: "alice"}} {
			tok.Rights = []string{"invoke", "read"}
			secrets[tok.Name] = access.NewSecret()
			tok.Seal(secrets[tok.Name], tok.Name == "signs")
			file.Tokens = append(file.Tokens, tok)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	keys, err := access.Open(f.StateDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	return keys, secrets
}

// TestSignersByName: AWS's clients sign as the token that their access key id names, and
// act for its owner. An unknown name, a wrong secret and a token that only is a bearer's
// get the same answer.
func TestSignersByName(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "alice/echo", "echo")
	keys, secrets := tokensOfAlice(t, f)
	s := f.Server(t, func(o *servertest.Options) { o.Keys = keys })
	h := httptest.NewServer(s.Access("sesame-sesame-sesame", false))
	defer h.Close()
	client := func(name, secret string) *lambda.Client {
		return lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(h.URL), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(name, secret, "")})
	}
	out, err := client("signs", secrets["signs"]).Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo"), Payload: []byte(`{"a":1}`)})
	if err != nil || !strings.Contains(string(out.Payload), access.AccountOf("alice")) {
		t.Fatal(out, err)
	}
	for _, name := range []string{access.ServiceKey, "any"} {
		out, err := client(name, "sesame-sesame-sesame").Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")})
		if err != nil || !strings.Contains(string(out.Payload), access.DefaultAccount) {
			t.Error(name, err)
		}
	}
	var first string
	for _, c := range [][2]string{{"signs", "wrong"}, {"nobody", secrets["signs"]}, {"nobody", "wrong"}, {"bearer", secrets["bearer"]}, {"bearer", "wrong"}, {"signs", "sesame-sesame-sesame"}} {
		_, err := client(c[0], c[1]).ListFunctions(t.Context(), &lambda.ListFunctionsInput{})
		if err == nil {
			t.Errorf("%s signs with %.6s…", c[0], c[1])
			continue
		}
		_, text, _ := strings.Cut(err.Error(), "api error")
		if first == "" {
			first = text
		}
		if text != first || !strings.Contains(text, "InvalidSignatureException") {
			t.Errorf("%s with %.6s…:%s\nwant%s", c[0], c[1], text, first)
		}
	}
	r, err := http.NewRequest("GET", h.URL+"/v1/functions/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secrets["bearer"])
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Error(answer.Status)
	}
}

// TestTokensWhereNoneIsAskedFor: who shows a token acts as its holder there too, and not as
// whoever may do everything; what nobody has is refused.
func TestTokensWhereNoneIsAskedFor(t *testing.T) {
	f := servertest.New(t)
	f.Put(t, "alice/echo", "echo")
	keys, secrets := tokensOfAlice(t, f)
	s := f.Server(t, func(o *servertest.Options) { o.Keys = keys })
	h := httptest.NewServer(s.Access("", false))
	defer h.Close()
	for _, c := range []struct {
		name, secret, account string // "": refused
	}{
		{"signs", secrets["signs"], access.AccountOf("alice")}, {"signs", "wrong", ""}, {"signs", access.NoSecret, ""},
		{"any", access.NoSecret, access.DefaultAccount}, {access.ServiceKey, access.NoSecret, access.DefaultAccount}, {"any", "wrong", access.DefaultAccount},
	} {
		client := lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(h.URL), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(c.name, c.secret, "")})
		out, err := client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("echo")})
		if c.account == "" {
			if err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") {
				t.Errorf("%s signs with %.6s…: %v", c.name, c.secret, err)
			}
		} else if err != nil || !strings.Contains(string(out.Payload), c.account) {
			t.Errorf("%s signs with %.6s…: %v", c.name, c.secret, err)
		}
	}
	bearer := func(secret string) (int, string) {
		r, err := http.NewRequest("GET", h.URL+"/v1/functions", nil)
		if err != nil {
			t.Fatal(err)
		}
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(b)
	}
	for secret, want := range map[string]string{"": `"name":"alice/echo"`, access.NoSecret: `"name":"alice/echo"`, secrets["bearer"]: `"name":"echo"`} {
		if code, body := bearer(secret); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("bearer %.6s…: %d %s, want %s", secret, code, body, want)
		}
	}
	if err := access.Change(f.StateDir(), func(file *access.File) error { return file.Remove("bearer") }); err != nil {
		t.Fatal(err)
	}
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{secrets["bearer"], "wrong"} {
		if code, body := bearer(secret); code != http.StatusUnauthorized {
			t.Errorf("bearer %.6s…: %d %s", secret, code, body)
		}
	}
}
