package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
)

func token(t testing.TB, name, owner string, signs bool, rights []string, patterns ...string) (Token, string) {
	t.Helper()
	tok, secret := Token{Name: name, Owner: owner, Rights: rights, Functions: patterns, Created: time.Now()}, NewSecret()
	tok.Seal(secret, signs)
	return tok, secret
}

func table(t testing.TB, tokens ...Token) *Table {
	t.Helper()
	tab, err := (&File{Format: format, Tokens: tokens}).Table()
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestReaches: which functions a token's rights are about.
func TestReaches(t *testing.T) {
	for _, c := range []struct {
		owner    string
		patterns []string
		yes, no  []string
	}{
		{"alice", nil, []string{"alice/hello", "alice/hello:3", "alice/x"}, []string{"hello", "bob/hello", "alic/hello", "alicee/hello"}},
		{"default", nil, []string{"hello", "hello:1"}, []string{"alice/hello"}},
		{"alice", []string{"web-*", "bob/shared"}, []string{"alice/web-", "alice/web-a:2", "bob/shared", "bob/shared:7"}, []string{"alice/hello", "alice/aweb-", "bob/web-a", "bob/shared2", "shared"}},
		{"alice", []string{"default/*"}, []string{"hello"}, []string{"alice/hello", "bob/hello"}},
		{"ops", []string{"*/*"}, []string{"hello", "alice/hello", "ops/x"}, nil},
		{"alice", []string{"a*b*c"}, []string{"alice/abc", "alice/axxbyyc", "alice/abbcc"}, []string{"alice/ab", "alice/acb", "alice/xabc"}},
		{"alice", []string{"*"}, []string{"alice/hello"}, []string{"hello", "bob/hello"}},
	} {
		tok, secret := token(t, "t", c.owner, false, []string{"invoke"}, c.patterns...)
		p := table(t, tok).Bearer(secret)
		for _, key := range c.yes {
			if owners, all := p.Owners(); !all && !slices.Contains(owners, functions.OwnerOf(key)) {
				t.Errorf("%s %v: %s is of none of %v", c.owner, c.patterns, key, owners)
			}
			if !p.Reaches(key) || !p.May(Invoke, key) || p.May(Deploy, key) {
				t.Errorf("%s %v: %s", c.owner, c.patterns, key)
			}
		}
		for _, key := range c.no {
			if owners, all := p.Owners(); p.Reaches(key) || !all && len(owners) > max(1, len(c.patterns)) {
				t.Errorf("%s %v reaches %s", c.owner, c.patterns, key)
			}
		}
	}
	tok, secret := token(t, "root", "alice", false, []string{"admin"}, "nothing")
	p := table(t, tok).Bearer(secret)
	if !p.May(Deploy|Invoke|Read, "bob/x") || !p.Everywhere() || !Local.May(Admin, "alice/x") || !Local.Everywhere() {
		t.Error("an admin may everything")
	}
	if tok, secret := token(t, "ops", "ops", false, []string{"read"}, "*/*"); !table(t, tok).Bearer(secret).Everywhere() {
		t.Error("*/* is everywhere")
	}
}

// TestSecrets: a token is found by its secret; a signature's secret by its name, and
// what is wrong, the name or the secret, cannot be told apart.
func TestSecrets(t *testing.T) {
	bearer, secret := token(t, "bearer", "alice", false, []string{"invoke"})
	signs, secret2 := token(t, "signs", "bob", true, []string{"read", "deploy"})
	if bearer.Secret != "" || signs.Secret != secret2 {
		t.Error("of a bearer's secret the digest is kept only")
	}
	tab := table(t, bearer, signs)
	if p := tab.Bearer(secret); p == nil || p.Name != "bearer" || p.Owner != "alice" || p.Account != AccountOf("alice") || !p.Has(Invoke) || p.Has(Read) {
		t.Errorf("%+v", p)
	}
	if p := tab.Bearer(secret2); p == nil || p.Name != "signs" || !p.Has(Read|Deploy) || p.Has(Admin) {
		t.Errorf("%+v", p)
	}
	for _, wrong := range []string{"", "x", bearer.SecretSHA256, secret + "x"} {
		if tab.Bearer(wrong) != nil {
			t.Errorf("%q is let in", wrong)
		}
	}
	if s, p := tab.Signing("signs"); s != secret2 || p == nil || p.Name != "signs" {
		t.Error(s, p)
	}
	for _, name := range []string{"bearer", "nobody", ""} {
		s, p := tab.Signing(name)
		if p != nil || s == "" || s == secret || s == secret2 {
			t.Errorf("%q signs with %q as %+v", name, s, p)
		}
	}
	if owner, ok := tab.OwnerOf(AccountOf("bob")); !ok || owner != "bob" {
		t.Error(owner, ok)
	}
	if owner, ok := tab.OwnerOf(DefaultAccount); !ok || owner != "default" {
		t.Error(owner, ok)
	}
	if owner, ok := tab.OwnerOf("123456789012"); ok {
		t.Error(owner)
	}
}

func TestAccounts(t *testing.T) {
	for owner, want := range map[string]string{"default": "000000000000", "123456789012": "123456789012"} {
		if got := AccountOf(owner); got != want || len(got) != 12 {
			t.Errorf("%s: %s", owner, got)
		}
	}
	a := AccountOf("alice") // an owner who is called as another one's account
	first, _ := token(t, "a", "alice", false, []string{"read"})
	second, _ := token(t, "b", a, false, []string{"read"})
	if _, err := (&File{Tokens: []Token{first, second}}).Table(); err == nil || !strings.Contains(err.Error(), a) {
		t.Errorf("two owners with one account: %v", err)
	}
	zero, _ := token(t, "a", DefaultAccount, false, []string{"read"})
	if _, err := (&File{Tokens: []Token{zero}}).Table(); err == nil {
		t.Error("an owner has the default owner's account")
	}
}

func TestBadFiles(t *testing.T) {
	ok, _ := token(t, "ok", "alice", true, []string{"read"})
	for name, edit := range map[string]func(*File){
		"twice":         func(f *File) { f.Tokens = append(f.Tokens, ok) },
		"one secret":    func(f *File) { o := ok; o.Name = "other"; f.Tokens = append(f.Tokens, o) },
		"name":          func(f *File) { f.Tokens[0].Name = "a/b" },
		"service's":     func(f *File) { f.Tokens[0].Name = ServiceKey },
		"owner":         func(f *File) { f.Tokens[0].Owner = "a b" },
		"right":         func(f *File) { f.Tokens[0].Rights = []string{"write"} },
		"no rights":     func(f *File) { f.Tokens[0].Rights = nil },
		"digest":        func(f *File) { f.Tokens[0].SecretSHA256 = "00" },
		"other digest":  func(f *File) { f.Tokens[0].SecretSHA256 = strings.Repeat("0", 64) },
		"pattern":       func(f *File) { f.Tokens[0].Functions = []string{"a.b"} },
		"owner pattern": func(f *File) { f.Tokens[0].Functions = []string{"a*/b"} },
		"empty pattern": func(f *File) { f.Tokens[0].Functions = []string{"bob/"} },
		"patterns":      func(f *File) { f.Tokens[0].Functions = make([]string, MaxPatterns+1) },
		"quota":         func(f *File) { f.Owners = []Owner{{"alice", Quota{Functions: -1}}} },
		"machines":      func(f *File) { f.Owners = []Owner{{"alice", Quota{MachinePct: MaxMachinePct + 1}}} },
		"many owners":   func(f *File) { f.Owners = make([]Owner, MaxOwners+1) },
	} {
		f := &File{Format: format, Tokens: []Token{ok}}
		edit(f)
		if _, err := f.Table(); err == nil {
			t.Errorf("%s: taken", name)
		}
		dir := t.TempDir()
		if err := Change(dir, func(g *File) error { *g = *f; return nil }); !errors.Is(err, lineage.ErrInvalid) {
			t.Errorf("%s: written: %v", name, err)
		}
	}
	for _, text := range []string{"", "{}", `{"format":2}`, `{"format":1,"surprise":1}`, `{"format":1} x`, `[`} {
		if _, err := decode([]byte(text)); !errors.Is(err, lineage.ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestFile: who changes the file at the same time loses nothing, it is never open to
// others, and one that is is refused.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 20 {
		tok, _ := token(t, fmt.Sprint("t", i), "alice", i%2 == 0, []string{"read"})
		wg.Go(func() {
			if err := Change(dir, func(f *File) error { return f.Add(tok) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := ReadFile(dir)
	if err != nil || len(f.Tokens) != 20 {
		t.Fatal(len(f.Tokens), err)
	}
	st, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	if err := Change(dir, func(f *File) error { return f.Add(f.Tokens[0]) }); err == nil {
		t.Error("a name is given twice")
	}
	if err := Change(dir, func(f *File) error { return f.Remove("nobody") }); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := Change(dir, func(f *File) error { return f.Remove("t7") }); err != nil {
		t.Error(err)
	}
	if f, err = ReadFile(dir); err != nil || len(f.Tokens) != 19 {
		t.Error(len(f.Tokens), err)
	}
	if err := os.Chmod(filepath.Join(dir, FileName), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(dir); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("open to others: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 { // file and lock
		t.Error(entries, err)
	}
}

// TestKeeper: what is changed counts without a restart; a damaged file changes nothing.
func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	k, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	tok, secret := token(t, "a", "alice", false, []string{"read"})
	if k.Table().Bearer(secret) != nil {
		t.Error("known before it is made")
	}
	if err := Change(dir, func(f *File) error { return f.Add(tok) }); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); k.Table().Bearer(secret) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file is not followed")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(); !errors.Is(err, lineage.ErrFormat) {
		t.Error(err)
	}
	if k.Table().Bearer(secret) == nil {
		t.Error("a damaged file shuts everybody out")
	}
	if err := os.Remove(filepath.Join(dir, FileName)); err != nil {
		t.Fatal(err)
	}
	if err := k.Reload(); err != nil || k.Table().Bearer(secret) != nil {
		t.Error("the file is gone, its tokens are not", err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil {
		t.Error("opened with a file that cannot be read")
	}
}

// TestManyTokens: looking a token up costs the same, and allocates nothing, with 1, 100
// and 10,000 of them.
func TestManyTokens(t *testing.T) {
	for _, n := range []int{1, 100, 10_000} {
		f := &File{Format: format}
		var secrets []string
		for i := range n {
			tok, secret := token(t, fmt.Sprint("t", i), fmt.Sprint("owner", i), false, []string{"invoke"})
			f.Tokens, secrets = append(f.Tokens, tok), append(secrets, secret)
		}
		tab, err := f.Table()
		if err != nil {
			t.Fatal(err)
		}
		for i, secret := range secrets {
			if p := tab.Bearer(secret); p == nil || p.Owner != fmt.Sprint("owner", i) {
				t.Fatalf("%d of %d: %+v", i, n, p)
			}
		}
		key := "owner0/hello"
		if a := testing.AllocsPerRun(100, func() {
			if p := tab.Bearer(secrets[0]); !p.May(Invoke, key) {
				t.Fatal("may not")
			}
		}); a != 0 {
			t.Errorf("%d tokens: %v allocations", n, a)
		}
	}
}

func FuzzFile(f *testing.F) {
	tok := Token{Name: "a", Owner: "b", Rights: []string{"read"}, Functions: []string{"x*", "*/y"}}
	tok.Seal("secret", true)
	f.Add([]byte(`{"format":1,"tokens":[{"name":"a","owner":"b","rights":["read"],"functions":["x*"],"created":"2026-01-02T03:04:05Z","secret_sha256":"` + tok.SecretSHA256 + `","secret":"secret"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := decode(b)
		if err != nil {
			return
		}
		tab, err := file.Table()
		if err != nil {
			t.Fatal(err)
		}
		for _, tok := range file.Tokens {
			if tok.Secret != "" && tab.Bearer(tok.Secret) == nil {
				t.Errorf("%q is not found by its secret", tok.Name)
			}
		}
		if tab.Bearer("") != nil && file.Tokens == nil {
			t.Error("nobody is let in")
		}
	})
}
