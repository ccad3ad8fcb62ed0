package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"

	"seuss/dispatcher/functions"
)

// Table finds who shows what.
type Table struct {
	bySecret map[[sha256.Size]byte]*Principal
	byName   map[string]signer
	accounts map[string]string // owners by account
	quotas   map[string]Quota
	nobody   string // signatures are checked with it where there is no secret
	replaced chan struct{}
}

// signer is a token that signs.
type signer struct {
	principal *Principal
	secret    string
}

// Table makes the file ready for looking things up. The error says what in it cannot
// be.
func (f *File) Table() (*Table, error) {
	if len(f.Tokens) > MaxTokens {
		return nil, fmt.Errorf("%d tokens, at most %d", len(f.Tokens), MaxTokens)
	}
	if len(f.Owners) > MaxOwners {
		return nil, fmt.Errorf("%d owners with quotas, at most %d", len(f.Owners), MaxOwners)
	}
	t := &Table{bySecret: make(map[[sha256.Size]byte]*Principal, len(f.Tokens)), byName: map[string]signer{},
		accounts: map[string]string{DefaultAccount: functions.DefaultOwner}, quotas: map[string]Quota{}, nobody: NewSecret(), replaced: make(chan struct{})}
	names := make(map[string]bool, len(f.Tokens))
	for i := range f.Tokens {
		token := &f.Tokens[i]
		if err := t.add(token); err != nil {
			return nil, fmt.Errorf("token %q: %w", token.Name, err)
		}
		if names[token.Name] {
			return nil, fmt.Errorf("two tokens are called %q", token.Name)
		}
		names[token.Name] = true
	}
	for _, o := range f.Owners {
		if err := t.addOwner(o.Name); err != nil {
			return nil, err
		}
		if q := o.Quota; q.Functions < 0 || q.Instances < 0 || q.MachinePct < 0 {
			return nil, fmt.Errorf("owner %q: a quota below 0", o.Name)
		} else if q.MachinePct > MaxMachinePct {
			return nil, fmt.Errorf("owner %q: a quota of %d machines, at most %d", o.Name, q.MachinePct/100, MaxMachinePct/100)
		}
		t.quotas[o.Name] = o.Quota
	}
	return t, nil
}

func (t *Table) add(token *Token) error {
	if !functions.ValidName(token.Name) {
		return errors.New("its name is not 1 to 64 of A-Z a-z 0-9 _ -")
	}
	if token.Name == ServiceKey {
		return errors.New("this is the name of the service's own token")
	}
	if err := t.addOwner(token.Owner); err != nil {
		return err
	}
	p := &Principal{Name: token.Name, Owner: token.Owner, Account: AccountOf(token.Owner)}
	for _, name := range token.Rights {
		right := None
		for _, r := range rightNames {
			if r.name == name {
				right = r.right
			}
		}
		if right == None {
			return fmt.Errorf("right %q is none of %v", name, RightNames())
		}
		p.rights |= right
	}
	if p.rights == None {
		return errors.New("it has no rights")
	}
	if len(token.Functions) > MaxPatterns {
		return fmt.Errorf("%d patterns, at most %d", len(token.Functions), MaxPatterns)
	}
	for _, text := range token.Functions {
		pattern, err := token.pattern(text)
		if err != nil {
			return err
		}
		p.patterns = append(p.patterns, pattern)
	}
	sum, err := hex.DecodeString(token.SecretSHA256)
	if err != nil || len(sum) != sha256.Size {
		return errors.New("secret_sha256 is not 64 hex digits")
	}
	digest := [sha256.Size]byte(sum)
	if token.Secret != "" && digestOf(token.Secret) != digest {
		return errors.New("secret_sha256 is not that of its secret")
	}
	if t.bySecret[digest] != nil {
		return fmt.Errorf("it has the secret of %q", t.bySecret[digest].Name)
	}
	p.digest = digest
	t.bySecret[digest] = p
	if token.Secret != "" {
		t.byName[token.Name] = signer{p, token.Secret}
	}
	return nil
}

func (t *Table) addOwner(owner string) error {
	if !functions.ValidName(owner) {
		return fmt.Errorf("owner %q is not 1 to 64 of A-Z a-z 0-9 _ -", owner)
	}
	account := AccountOf(owner)
	if other := t.accounts[account]; other != "" && other != owner {
		return fmt.Errorf("owner %q has the account %s of %q: choose another name", owner, account, other)
	}
	t.accounts[account] = owner
	return nil
}

// Bearer finds the principal of a bearer token; nil: there is none.
func (t *Table) Bearer(secret string) *Principal { return t.bySecret[digestOf(secret)] }

// Present returns what an earlier table's principal is in this one: whoever has the same
// secret; nil: his token was taken back.
func (t *Table) Present(p *Principal) *Principal {
	if p == Local {
		return p
	}
	return t.bySecret[p.digest]
}

// Replaced is closed when a Keeper has another table.
func (t *Table) Replaced() <-chan struct{} { return t.replaced }

// Signing returns the secret to check a signature with that names a token. Where it is
// not that token's, which cannot be told from an answer, the principal is nil: whoever
// the signature would be right for is nobody.
func (t *Table) Signing(name string) (secret string, p *Principal) {
	s, ok := t.byName[name]
	if !ok {
		return t.nobody, nil
	}
	return s.secret, s.principal
}

// OwnerOf finds the owner of an account.
func (t *Table) OwnerOf(account string) (owner string, ok bool) {
	owner, ok = t.accounts[account]
	return owner, ok
}

// Quota returns an owner's quota.
func (t *Table) Quota(owner string) Quota { return t.quotas[owner] }

// Equal compares secrets in a time that depends on neither.
func Equal(a, b string) bool {
	x, y := digestOf(a), digestOf(b)
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// ServiceKey is the name, and so the access key id, of the service's own token.
const ServiceKey = "seuss"

// NoSecret stands for the service's own token where the service asks for none: AWS's
// clients want something to sign with.
const NoSecret = "none"
