package trust

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func member(t *testing.T, cluster, secret, name string) *tls.Config {
	t.Helper()
	a, err := NewAuthority(cluster, secret)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Member(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// meet has two ends shake hands, and returns what each says.
func meet(t *testing.T, server, client *tls.Config) (name string, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := tls.Server(a, server)
		if serverErr = s.Handshake(); serverErr == nil {
			state := s.ConnectionState()
			name = NameOf(&state)
		}
		a.Close()
	}()
	c := tls.Client(b, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1)) // in TLS 1.3 a refusal comes after the handshake
		if clientErr != nil && strings.Contains(clientErr.Error(), "EOF") {
			clientErr = nil
		}
	}
	b.Close()
	<-done
	return name, serverErr, clientErr
}

// TestWhoHasTheSecret: members of a cluster know each other by name, and nobody else gets
// in: no other secret, no other cluster's members, nobody without a certificate, and no
// server that is not a member gets a member's trust.
func TestWhoHasTheSecret(t *testing.T) {
	secret := NewSecret()
	one, two := member(t, "c", secret, "one"), member(t, "c", secret, "two")
	if name, serverErr, clientErr := meet(t, one, two); name != "two" || serverErr != nil || clientErr != nil {
		t.Errorf("%q, %v, %v", name, serverErr, clientErr)
	}
	bare := two.Clone()
	bare.Certificates = nil
	old := two.Clone()
	old.MinVersion, old.MaxVersion = 0, tls.VersionTLS12
	for what, stranger := range map[string]*tls.Config{
		"another secret": member(t, "c", NewSecret(), "two"), "another cluster": member(t, "d", secret, "two"), "no certificate": bare, "an old TLS": old,
	} {
		if name, serverErr, _ := meet(t, one, stranger); serverErr == nil || name != "" {
			t.Errorf("%s: a member lets it in as %q", what, name)
		}
		if what == "no certificate" || what == "an old TLS" {
			continue
		}
		if _, _, clientErr := meet(t, stranger, two); clientErr == nil {
			t.Errorf("%s: a member takes it for one", what)
		}
	}
}

// TestSecretsAreRefusedByName: one that can be guessed, and one that others may read.
func TestSecretsAreRefusedByName(t *testing.T) {
	if _, err := NewAuthority("c", "short"); !errors.Is(err, ErrSecret) {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "secret")
	for _, c := range []struct {
		text string
		mode os.FileMode
		want string
	}{{"short\n", 0o600, "5 characters"}, {NewSecret(), 0o644, "chmod 600"}} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(path); !errors.Is(err, ErrSecret) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %o: %v", c.text, c.mode, err)
		}
	}
	text := NewSecret()
	if os.Getuid() == 0 { // root's own may be read by a group that is this process's alone
		for gid, want := range map[int]bool{os.Getegid(): true, 54321: false} {
			if err := errors.Join(os.WriteFile(path, []byte(NewSecret()), 0o600), os.Chown(path, 0, gid), os.Chmod(path, 0o440)); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadFile(path); (err == nil) != want {
				t.Errorf("mode 0440 with the group %d: %v", gid, err)
			}
		}
		if err := os.Chown(path, 0, os.Getegid()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(path, []byte(text+"\n"), 0o600), os.Chmod(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(path); got != text || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
