package access

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/lineage/sealed"
)

// FileName is the file's in a state directory, lockName that of who changes it.
const (
	FileName = "access.json"
	lockName = "access.lock"
)

// Limits of the file.
const (
	MaxTokens    = 100_000
	MaxOwners    = 100_000 // with quotas
	MaxPatterns  = 64      // of a token
	maxFileBytes = 64 << 20
	secretBytes  = 32 // of randomness in a secret
	format       = 1
	fileMode     = 0o600
)

// File is who may do what.
type File struct {
	Format int     `json:"format"`
	Tokens []Token `json:"tokens"`
	Owners []Owner `json:"owners,omitempty"` // those with quotas
}

// Token is what a client shows.
type Token struct {
	Name      string    `json:"name"`                // AWS's access key id, 1 to 64 of A-Z a-z 0-9 _ -
	Owner     string    `json:"owner"`               //
	Rights    []string  `json:"rights"`              // see RightNames
	Functions []string  `json:"functions,omitempty"` // patterns NAME, or OWNER/NAME, with * for any characters; none: all of the owner's
	Created   time.Time `json:"created"`
	// SecretSHA256 is the SHA-256 of the secret, in hex. Secret is the secret itself, of
	// a token that may sign.
	SecretSHA256 string `json:"secret_sha256"`
	Secret       string `json:"secret,omitempty"`
}

// Owner has functions, within a quota.
type Owner struct {
	Name  string `json:"name"`
	Quota Quota  `json:"quota"`
}

// Quota is what an owner may have; 0 is no bound.
type Quota struct {
	Functions  int    `json:"functions,omitempty"`   // deployed, versions apart
	CodeBytes  uint64 `json:"code_bytes,omitempty"`  // of all versions of them
	NodeBytes  uint64 `json:"node_bytes,omitempty"`  // of their snapshots' files
	Instances  int    `json:"instances,omitempty"`   // at a time
	MachinePct int    `json:"machine_pct,omitempty"` // of one machine's time, over a minute; 250 are two machines and a half
}

// MaxMachinePct is the most that Quota.MachinePct may be: 10,000 machines.
const MaxMachinePct = 1_000_000

// ErrUnknown: there is no token, or owner, of that name.
var ErrUnknown = errors.New("unknown token")

// NewSecret makes a secret.
func NewSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func digestOf(secret string) [sha256.Size]byte {
	var room [128]byte // a request need not make any
	return sha256.Sum256(append(room[:0], secret...))
}

// Seal puts a secret into the token: its digest, and where the token signs itself.
func (t *Token) Seal(secret string, signs bool) {
	sum := digestOf(secret)
	t.SecretSHA256, t.Secret = hex.EncodeToString(sum[:]), ""
	if signs {
		t.Secret = secret
	}
}

// ReadFile reads the file of a state directory; where there is none it is an empty one.
// The error matches lineage.ErrFormat where it cannot be read, and fs.ErrPermission
// where others than its user may.
func ReadFile(dir string) (*File, error) {
	path := filepath.Join(dir, FileName)
	f := &File{Format: format}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s may be used by others (mode %#o): it holds secrets; chmod 600 it, and make the tokens anew that others may have read: %w", path, st.Mode().Perm(), fs.ErrPermission)
	}
	var b []byte
	if err == nil {
		b, err = sealed.ReadFile(path, maxFileBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	if f, err = decode(b); err != nil {
		return nil, fmt.Errorf("tokens: %s: %w", path, err)
	}
	return f, nil
}

func decode(b []byte) (*File, error) {
	var of struct {
		Format int `json:"format"`
	}
	f := new(File)
	err := json.Unmarshal(b, &of)
	if err == nil && of.Format != format {
		return nil, fmt.Errorf("format %d, this release reads %d: %w", of.Format, format, lineage.ErrFormat)
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err = d.Decode(f); err == nil {
			if _, after := d.Token(); !errors.Is(after, io.EOF) {
				err = errors.New("text after the JSON value")
			}
		}
	}
	if err == nil {
		_, err = f.Table()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, lineage.ErrFormat)
	}
	return f, nil
}

// Change changes the file of a state directory. One does at a time, and who reads sees
// the file before or after. An error of edit leaves it as it is.
func Change(dir string, edit func(*File) error) error {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("tokens: lock %s: %w", lock.Name(), err)
	}
	f, err := ReadFile(dir)
	if err != nil {
		return err
	}
	if err := edit(f); err != nil {
		return err
	}
	slices.SortFunc(f.Tokens, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(f.Owners, func(a, b Owner) int { return strings.Compare(a.Name, b.Name) })
	if _, err := f.Table(); err != nil {
		return fmt.Errorf("tokens: %w: %w", err, lineage.ErrInvalid)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return write(dir, append(b, '\n'))
}

// write replaces the file, which is never open to others.
func write(dir string, content []byte) error {
	tmp, err := os.CreateTemp(dir, sealed.TempPrefix+"*"+sealed.TempSuffix) // 0600; swept when the directory is opened
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, FileName))
	}
	if err != nil {
		return fmt.Errorf("tokens: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	files := sealed.OS()
	if err := files.SyncDir(dir); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// Add adds a token, which is to be sealed.
func (f *File) Add(t Token) error {
	if slices.ContainsFunc(f.Tokens, func(o Token) bool { return o.Name == t.Name }) {
		return fmt.Errorf("there is a token %q already: %w", t.Name, lineage.ErrInvalid)
	}
	f.Tokens = append(f.Tokens, t)
	return nil
}

// Remove removes a token.
func (f *File) Remove(name string) error {
	n := len(f.Tokens)
	if f.Tokens = slices.DeleteFunc(f.Tokens, func(t Token) bool { return t.Name == name }); len(f.Tokens) == n {
		return fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	return nil
}

// SetQuota gives an owner a quota.
func (f *File) SetQuota(owner string, edit func(*Quota)) {
	i := slices.IndexFunc(f.Owners, func(o Owner) bool { return o.Name == owner })
	if i < 0 {
		i = len(f.Owners)
		f.Owners = append(f.Owners, Owner{Name: owner})
	}
	edit(&f.Owners[i].Quota)
	if f.Owners[i].Quota == (Quota{}) {
		f.Owners = slices.Delete(f.Owners, i, i+1)
	}
}

// parse reads a token's pattern.
func (t *Token) pattern(text string) (pattern, error) {
	owner, name, owned := strings.Cut(text, "/")
	if !owned {
		owner, name = t.Owner, text
	}
	valid := func(part string) bool { return part != "" && functions.ValidName(strings.ReplaceAll(part, "*", "x")) }
	if owner != "*" && !functions.ValidName(owner) || !valid(name) {
		return pattern{}, fmt.Errorf("pattern %q: want NAME, OWNER/NAME or */NAME, where * in a name stands for any characters", text)
	}
	return pattern{owner, name}, nil
}
