package functions

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"seuss/dispatcher/bundle"
	"seuss/lineage"
)

const (
	maxHandlerBytes = 256
	maxRecordBytes  = 64 << 10 // of a deployment's JSON

	// MaxVersions bounds the published versions of one function: whoever publishes one
	// more, or removes one, reads them all.
	MaxVersions = 1000
	// MaxCodeBytes bounds the code of one function.
	MaxCodeBytes = bundle.MaxCodeBytes
)

// Function is a deployment: what the dispatcher needs to make the function's
// node when it does not exist yet.
type Function struct {
	Name       string    `json:"name"`               // see ValidDeploymentName
	ID         string    `json:"id,omitempty"`       // given when a function of that name is created; "" of one that is older than these
	Handler    string    `json:"handler"`            // what the runtime driver calls, 1 to 256 bytes
	CodeDigest string    `json:"code_digest"`        // SHA-256 of the code, hex
	Lazy       bool      `json:"lazy"`               // arguments are asked for one by one
	Image      string    `json:"image"`              // name of the root image it runs in
	Imports    []string  `json:"imports,omitempty"`  // what the import node above it holds
	Snapshot   string    `json:"snapshot,omitempty"` // the instance's node that it hangs on, whose state cannot be made again; "": none
	Deployed   time.Time `json:"deployed"`

	Settings Settings `json:"settings,omitzero"`
	// LastVersion is the number that was given last to a published version;
	// numbers are never given twice. Of an unversioned deployment only.
	LastVersion uint64 `json:"last_version,omitempty"`
	// Aliases are further names of versions. Of an unversioned deployment only.
	Aliases map[string]Alias `json:"aliases,omitempty"`
	// Attached is what hangs on names of it, by qualifier. Of an unversioned deployment
	// only.
	Attached map[string]Attached `json:"attached,omitempty"`
	// Stamp is given by the Store where the deployment is a cluster's.
	Stamp Stamp `json:"stamp,omitzero"`
}

// Settings are what a deployment asks of those who run it, in the terms of AWS
// Lambda's function configuration. The Store keeps them and reads none.
type Settings struct {
	Description string `json:"description,omitempty"`
	Runtime     string `json:"runtime,omitempty"` // by name, or AWS Lambda's name of a version; "": the image's
	Role        string `json:"role,omitempty"`
	TimeoutSec  int    `json:"timeout_s,omitempty"`   // 0: the dispatcher's default
	MemoryMiB   int    `json:"memory_mib,omitempty"`  // 0: the image's
	Concurrency *int   `json:"concurrency,omitempty"` // invocations at a time; nil: no limit of its own
	// Network is what instances may reach, in entries of outbound.Parse, HostPorts the
	// host's vsock ports that they may connect to, of those that the daemon allows; nil:
	// all of these, empty: none.
	Network   []string `json:"network,omitzero"`
	HostPorts []uint32 `json:"host_ports,omitzero"`
	// Shares are the shares of its owner's state that instances may reach, as NAME:r or
	// NAME:rw; nil or empty: none.
	Shares []string `json:"shares,omitzero"`
	// Calls are the functions of its owner that instances may call, in entries of
	// chain.ParseRights; nil or empty: none.
	Calls       []string          `json:"calls,omitzero"`
	OutputBytes int               `json:"output_bytes,omitempty"` // console output that is kept of an instance; 0: the daemon's
	Environment map[string]string `json:"environment,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	// PackageDigest is the SHA-256, in base64, of the archive that was uploaded,
	// PackageBytes its size.
	PackageDigest string `json:"package_sha256,omitempty"`
	PackageBytes  int64  `json:"package_bytes,omitempty"`
	Revision      string `json:"revision,omitempty"` // changes with each change of the record
	// SnapStart is what AWS Lambda's SnapStart was asked to apply to, "" for nothing: here
	// every function starts from a snapshot anyway.
	SnapStart string `json:"snap_start,omitempty"`
	// Program is what runs where that is no code for a runtime's driver; nil: it is.
	Program *Program `json:"program,omitempty"`
	// Container is what the function was made of over AWS Lambda's API where that was a
	// container image; Program is what it runs. nil: it was an archive.
	Container *Container `json:"container,omitempty"`
}

// SameBounds reports whether both ask for the same: reach, time, memory and output.
func (s *Settings) SameBounds(o *Settings) bool {
	return s.TimeoutSec == o.TimeoutSec && s.MemoryMiB == o.MemoryMiB && s.OutputBytes == o.OutputBytes &&
		(s.Network == nil) == (o.Network == nil) && slices.Equal(s.Network, o.Network) &&
		(s.HostPorts == nil) == (o.HostPorts == nil) && slices.Equal(s.HostPorts, o.HostPorts) && slices.Equal(s.Shares, o.Shares) && slices.Equal(s.Calls, o.Calls)
}

// KeepReach takes over from an earlier deployment what s does not say of the network,
// of host ports, of shares and of calls: new code is not let out because nobody has said so again.
func (s *Settings) KeepReach(old *Settings) {
	if s.Network == nil {
		s.Network = old.Network
	}
	if s.HostPorts == nil {
		s.HostPorts = old.HostPorts
	}
	if s.Shares == nil {
		s.Shares = old.Shares
	}
	if s.Calls == nil {
		s.Calls = old.Calls
	}
}

// Alias names a version, or two of them with a share of the traffic.
type Alias struct {
	Version     string             `json:"version"` // "$LATEST" or a number
	Description string             `json:"description,omitempty"`
	Weights     map[string]float64 `json:"weights,omitempty"` // further versions, share 0 to 1
	Revision    string             `json:"revision,omitempty"`
}

func (f *Function) validate() error {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	switch {
	case !ValidDeploymentName(f.Name):
		return fmt.Errorf("name %q is not 1 to %d of A-Z a-z 0-9 _ -", f.Name, maxNameBytes)
	case f.Handler == "" || len(f.Handler) > maxHandlerBytes || !utf8.ValidString(f.Handler) || strings.ContainsFunc(f.Handler, unprintable):
		return fmt.Errorf("handler %q is not 1 to %d bytes of printable text", f.Handler, maxHandlerBytes)
	case len(f.ID) > maxNameBytes || !utf8.ValidString(f.ID):
		return fmt.Errorf("id %q is longer than %d bytes, or no text", f.ID, maxNameBytes)
	case f.Snapshot != "" && !validDigest(f.Snapshot):
		return fmt.Errorf("snapshot %.80q is not 64 lower-case hex digits", f.Snapshot)
	case !validDigest(f.CodeDigest):
		return fmt.Errorf("code digest %q is not 64 lower-case hex digits", f.CodeDigest)
	}
	if p := f.Settings.Program; p != nil {
		if err := p.Check(); err != nil {
			return err
		}
	}
	if err := f.Stamp.validate(); err != nil {
		return err
	}
	return f.validateAttached()
}

// Formats of a record. Format 1 has no number. One that says what its function may
// reach, or has an owner, is of format 2: no earlier release takes it for one that may
// reach all. One of a program, or that something hangs on, or that hangs on an instance's
// snapshot, or that has shares or calls others, is of format 3: none loads it into a driver, or without that.
// One of a cluster's is of format 4: no earlier release changes it without a stamp.
const (
	format1 = 0
	format2 = 2
	format3 = 3
	format4 = 4
)

// record is a deployment in its file.
type record struct {
	Format int `json:"format,omitempty"`
	Function
}

func (f *Function) format() int {
	if f.Stamp.Count > 0 {
		return format4
	}
	if f.Settings.Program != nil || len(f.Attached) > 0 || f.Settings.SnapStart != "" || f.Snapshot != "" || len(f.Settings.Shares) > 0 || len(f.Settings.Calls) > 0 {
		return format3
	}
	if s := &f.Settings; OwnerOf(f.Name) != DefaultOwner || s.Network != nil || s.HostPorts != nil || s.OutputBytes != 0 {
		return format2
	}
	return format1
}

// encode returns the record of a valid deployment.
func (f *Function) encode() ([]byte, error) {
	if err := f.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, lineage.ErrInvalid)
	}
	b, err := json.MarshalIndent(record{f.format(), *f}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(b) >= maxRecordBytes {
		return nil, fmt.Errorf("the deployment's record takes %d bytes, at most %d: %w", len(b), maxRecordBytes-1, lineage.ErrInvalid)
	}
	return append(b, '\n'), nil
}

// decode reads the record that must be that of name.
func decode(b []byte, name string) (f Function, err error) {
	var of struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(b, &of) == nil && !slices.Contains([]int{format1, format2, format3, format4}, of.Format) { // what is no JSON is told below
		return Function{}, fmt.Errorf("deployment of format %d, this release reads 1 to 4: %w", of.Format, lineage.ErrFormat)
	}
	var r record
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(&r)
	if f = r.Function; err == nil {
		if _, after := d.Token(); !errors.Is(after, io.EOF) {
			err = fmt.Errorf("text after the JSON value at byte %d", d.InputOffset())
		}
	}
	if err == nil {
		err = f.validate()
	}
	if err != nil {
		return Function{}, fmt.Errorf("deployment: %w: %w", err, lineage.ErrFormat)
	}
	if f.Name != name {
		return Function{}, fmt.Errorf("deployment is that of %q: %w: %w", f.Name, lineage.ErrIdentity, lineage.ErrFormat)
	}
	return f, nil
}

func validDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}
