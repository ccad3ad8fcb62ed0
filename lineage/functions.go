package lineage

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxFunctionName  = 64
	maxHandlerBytes  = 256
	maxFunctionBytes = 64 << 10 // of a deployment's JSON

	// MaxCodeBytes bounds the code of one function.
	MaxCodeBytes = 64 << 20
)

// Function is a deployment: what the dispatcher needs to make the function's
// node when it does not exist yet.
type Function struct {
	Name       string    `json:"name"`              // see ValidDeploymentName
	Handler    string    `json:"handler"`           // what the runtime driver calls, 1 to 256 bytes
	CodeDigest string    `json:"code_digest"`       // SHA-256 of the code, hex
	Lazy       bool      `json:"lazy"`              // arguments are asked for one by one
	Image      string    `json:"image"`             // name of the root image it runs in
	Imports    []string  `json:"imports,omitempty"` // what the import node above it holds
	Deployed   time.Time `json:"deployed"`

	Settings Settings `json:"settings,omitzero"`
	// LastVersion is the number that was given last to a published version;
	// numbers are never given twice. Of an unversioned deployment only.
	LastVersion uint64 `json:"last_version,omitempty"`
	// Aliases are further names of versions. Of an unversioned deployment only.
	Aliases map[string]Alias `json:"aliases,omitempty"`
}

// Settings are what a deployment asks of those who run it, in the terms of AWS
// Lambda's function configuration. The store keeps them and reads none.
type Settings struct {
	Description string            `json:"description,omitempty"`
	Runtime     string            `json:"runtime,omitempty"`
	Role        string            `json:"role,omitempty"`
	TimeoutSec  int               `json:"timeout_s,omitempty"`   // 0: the dispatcher's default
	MemoryMiB   int               `json:"memory_mib,omitempty"`  // 0: the image's
	Concurrency *int              `json:"concurrency,omitempty"` // invocations at a time; nil: no limit of its own
	Environment map[string]string `json:"environment,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	// PackageDigest is the SHA-256, in base64, of the archive that was uploaded,
	// PackageBytes its size.
	PackageDigest string `json:"package_sha256,omitempty"`
	PackageBytes  int64  `json:"package_bytes,omitempty"`
	Revision      string `json:"revision,omitempty"` // changes with each change of the record
}

// Alias names a version, or two of them with a share of the traffic.
type Alias struct {
	Version     string             `json:"version"` // "$LATEST" or a number
	Description string             `json:"description,omitempty"`
	Weights     map[string]float64 `json:"weights,omitempty"` // further versions, share 0 to 1
	Revision    string             `json:"revision,omitempty"`
}

// ValidFunctionName reports whether name may be used: 1 to 64 of A-Z a-z 0-9 _ -,
// which also keeps it from leaving its directory.
func ValidFunctionName(name string) bool {
	if len(name) == 0 || len(name) > maxFunctionName {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// ValidDeploymentName reports whether name may name a deployment: a function
// name, or a function name, a colon, and the number of a published version.
func ValidDeploymentName(name string) bool {
	base, version, versioned := strings.Cut(name, ":")
	if !ValidFunctionName(base) {
		return false
	}
	if !versioned {
		return true
	}
	n, err := strconv.ParseUint(version, 10, 64)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == version
}

// FunctionOf returns the function that a deployment is a version of: its name
// without the version. Nodes are keyed by it, so versions share them.
func FunctionOf(deployment string) string {
	base, _, _ := strings.Cut(deployment, ":")
	return base
}

func (f *Function) validate() error {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case !ValidDeploymentName(f.Name):
		return fmt.Errorf("name %q is not 1 to %d of A-Z a-z 0-9 _ -", f.Name, maxFunctionName)
	case f.Handler == "" || len(f.Handler) > maxHandlerBytes || !utf8.ValidString(f.Handler) || strings.ContainsFunc(f.Handler, unprintable):
		return fmt.Errorf("handler %q is not 1 to %d bytes of printable text", f.Handler, maxHandlerBytes)
	case !validDigest(f.CodeDigest):
		return fmt.Errorf("code digest %q is not 64 lower-case hex digits", f.CodeDigest)
	}
	return nil
}

func (s *Store) functionPath(name string) string { return s.path(functionsDir, name+functionSuffix) }
func (s *Store) codePath(digest string) string   { return s.path(codeDir, digest) }

// CodeDigest returns the digest under which code is stored.
func CodeDigest(code []byte) string { return Digest(sha256.Sum256(code)).String() }

// PutFunction deploys code under f.Name, in place of an earlier deployment of
// that name, and returns the deployment with digest and time filled in. Nodes of
// the earlier code stay until they are removed.
func (s *Store) PutFunction(f Function, code []byte) (Function, error) {
	f.CodeDigest = CodeDigest(code)
	f.Deployed = createdAt(f.Deployed)
	if err := s.putFunction(&f, code); err != nil {
		return Function{}, fmt.Errorf("deploy function %q: %w", f.Name, err)
	}
	return f, nil
}

func (s *Store) putFunction(f *Function, code []byte) error {
	if err := f.validate(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	if len(code) > MaxCodeBytes {
		return fmt.Errorf("code has %d bytes, at most %d: %w", len(code), MaxCodeBytes, ErrInvalid)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	if len(b) >= maxFunctionBytes {
		return fmt.Errorf("the deployment's record takes %d bytes, at most %d: %w", len(b), maxFunctionBytes-1, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	old, err := s.readFunction(f.Name)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrFormat) {
		return err
	}
	// Code first: a deployment never names code that is not there. Damaged code
	// from earlier is replaced.
	if _, err := s.readCode(f.CodeDigest); err != nil {
		if err := s.writeSealed(s.codePath(f.CodeDigest), code); err != nil {
			return err
		}
	}
	if err := s.writeSealed(s.functionPath(f.Name), append(b, '\n')); err != nil {
		return err
	}
	// The function is deployed: old code that stays behind is swept by Open.
	_ = s.dropCode(old.CodeDigest)
	return nil
}

// GetFunction returns the deployment of that name. The error matches ErrNotFound
// if there is none.
func (s *Store) GetFunction(name string) (Function, error) {
	if err := s.usable(); err != nil {
		return Function{}, fmt.Errorf("function %q: %w", name, err)
	}
	return s.readFunction(name)
}

func (s *Store) readFunction(name string) (Function, error) {
	if !ValidDeploymentName(name) {
		return Function{}, fmt.Errorf("function %q: not a function name: %w: %w", name, ErrInvalid, ErrNotFound)
	}
	b, err := readLimited(s.functionPath(name), maxFunctionBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Function{}, fmt.Errorf("function %q: %w", name, ErrNotFound)
	}
	if err == nil {
		var f Function
		if f, err = decodeFunction(b, name); err == nil {
			return f, nil
		}
	}
	return Function{}, fmt.Errorf("function %q: %w", name, err)
}

// decodeFunction reads the deployment that must be that of name.
func decodeFunction(b []byte, name string) (Function, error) {
	var f Function
	if err := decodeStrict(b, &f); err != nil {
		return Function{}, fmt.Errorf("deployment: %w: %w", err, ErrFormat)
	}
	if err := f.validate(); err != nil {
		return Function{}, fmt.Errorf("deployment: %w: %w", err, ErrFormat)
	}
	if f.Name != name {
		return Function{}, fmt.Errorf("deployment is that of %q: %w: %w", f.Name, ErrIdentity, ErrFormat)
	}
	return f, nil
}

// ListFunctions returns all deployments by name. Those that cannot be read are
// left out and described by the error, which may come with a non-empty list.
func (s *Store) ListFunctions() ([]Function, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	entries, err := os.ReadDir(s.path(functionsDir))
	if errors.Is(err, fs.ErrNotExist) && s.readOnly {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list functions: %w", err)
	}
	var functions []Function
	var failed error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), functionSuffix)
		if !ok || !ValidDeploymentName(name) {
			continue // not ours
		}
		f, err := s.readFunction(name)
		switch {
		case errors.Is(err, ErrNotFound): // removed meanwhile
		case err != nil:
			failed = errors.Join(failed, err)
		default:
			functions = append(functions, f)
		}
	}
	slices.SortFunc(functions, func(a, b Function) int { return strings.Compare(a.Name, b.Name) })
	return functions, failed
}

// FunctionCode returns the code of a deployment, checked against its digest.
func (s *Store) FunctionCode(f Function) ([]byte, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("code of function %q: %w", f.Name, err)
	}
	if !validDigest(f.CodeDigest) {
		return nil, fmt.Errorf("code of function %q: digest %q: %w", f.Name, f.CodeDigest, ErrInvalid)
	}
	code, err := s.readCode(f.CodeDigest)
	if err != nil {
		return nil, fmt.Errorf("code of function %q: %w", f.Name, err)
	}
	return code, nil
}

func (s *Store) readCode(digest string) ([]byte, error) {
	code, err := readLimited(s.codePath(digest), MaxCodeBytes)
	if err != nil {
		return nil, err
	}
	if got := CodeDigest(code); got != digest {
		return nil, fmt.Errorf("%s: digest is %s: %w", s.codePath(digest), got, ErrChecksum)
	}
	return code, nil
}

// readLimited reads a whole file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if fi, err := f.Stat(); err == nil && fi.Size() <= limit {
		buf.Grow(int(fi.Size()) + bytes.MinRead)
	}
	_, err = buf.ReadFrom(io.LimitReader(f, limit+1))
	b := buf.Bytes()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes: %w", path, limit, ErrFormat)
	}
	return b, nil
}

// RemoveFunction deletes a deployment, and its code if no other one uses it. The
// function's nodes stay: see Function and Remove.
func (s *Store) RemoveFunction(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writable(); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	f, err := s.readFunction(name)
	if err != nil && !errors.Is(err, ErrFormat) { // a damaged one can be removed too
		return fmt.Errorf("remove: %w", err)
	}
	if err := s.fs.remove(s.functionPath(name)); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	if err := s.fs.syncDir(s.path(functionsDir)); err != nil {
		return fmt.Errorf("remove function %q: sync directory %s: %w", name, s.path(functionsDir), err)
	}
	if err := s.dropCode(f.CodeDigest); err != nil {
		return fmt.Errorf("remove function %q: %w", name, err)
	}
	return nil
}

// dropCode deletes code that no deployment uses. It keeps the code if there is a
// deployment that cannot be read, because that might be its user.
func (s *Store) dropCode(digest string) error {
	if digest == "" {
		return nil
	}
	functions, err := s.ListFunctions()
	if err != nil || slices.ContainsFunc(functions, func(f Function) bool { return f.CodeDigest == digest }) {
		return nil
	}
	if err := s.fs.remove(s.codePath(digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete unused code %s: %w", digest, err)
	}
	return nil
}

// sweepCode deletes code that an interrupted deployment or removal left behind.
func (s *Store) sweepCode() error {
	functions, err := s.ListFunctions()
	if err != nil {
		return nil // a damaged deployment is no reason not to open, see dropCode
	}
	used := map[string]bool{}
	for _, f := range functions {
		used[f.CodeDigest] = true
	}
	entries, err := os.ReadDir(s.path(codeDir))
	if err != nil {
		return fmt.Errorf("sweep code: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); validDigest(name) && !used[name] {
			if err := s.fs.remove(s.codePath(name)); err != nil {
				return fmt.Errorf("sweep code: %w", err)
			}
		}
	}
	return nil
}
