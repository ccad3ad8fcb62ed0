package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"seuss/lineage"
	"seuss/lineage/imagefile"
	"seuss/lineage/nodefile"
)

const (
	chainPath = "/v1/nodes"
	filePath  = "/v1/nodes/file"
	maxWant   = 64 << 10
)

// chain describes what a deployment starts from.
type chain struct {
	ImageBytes int64  `json:"image_bytes"` // of the image's stream
	Nodes      []link `json:"nodes"`       // from the image's down to the function's
}

type link struct {
	Info    lineage.Info `json:"info"`
	Size    int64        `json:"size"`
	Loading []byte       `json:"loading,omitempty"` // the pages that a first run needs, see nodefile.LoadingSet
}

// ask is what a file is asked for with.
type ask struct {
	Want
	File string `json:"file,omitempty"` // a node's id; "": the image
}

// holding reads what is asked for and finds it.
func (x *Exchange) holding(r *http.Request) (a ask, list []*lineage.Node, err error) {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxWant)).Decode(&a); err != nil {
		return a, nil, fmt.Errorf("what is wanted: %w: %w", err, lineage.ErrInvalid)
	}
	list, err = x.o.Service.Holding(&a.Want)
	return a, list, err
}

// describe answers what is held of what a function starts from.
func (x *Exchange) describe(w http.ResponseWriter, r *http.Request, _ string) error {
	_, list, err := x.holding(r)
	if err != nil {
		return err
	}
	var c chain
	store := x.o.Service.Store()
	files, err := store.Transfer().ImageFiles(list[0].ImageDigest)
	if err == nil {
		c.ImageBytes, err = imagefile.StreamBytes(files)
	}
	if err != nil {
		return err
	}
	for i, n := range list {
		p, err := store.Transfer().File(n.ID)
		if err != nil {
			return err
		}
		l := link{Info: p.Info, Size: p.Size}
		if i == len(list)-1 { // a hint
			if set, err := store.LoadingSet(n); err == nil && set != nil {
				l.Loading = nodefile.EncodeLoadingSet(n.ID, n.GuestPages, set)
			}
		}
		c.Nodes = append(c.Nodes, l)
	}
	w.Header().Set("Content-Type", "application/json")
	return ignored(json.NewEncoder(w).Encode(c))
}

// ignored: who has gone does not get it.
func ignored(error) error { return nil }

// give sends one file of it, or the part of it that is asked for.
func (x *Exchange) give(w http.ResponseWriter, r *http.Request, _ string) (err error) {
	a, list, err := x.holding(r)
	if err != nil {
		return err
	}
	if !x.giving.TryAcquire(1) {
		return ErrBusy
	}
	defer x.giving.Release(1)
	body, size, err := x.open(&a, list)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	deadline := time.Now().Add(grace + time.Duration(size/pace)*time.Second)
	if err := http.NewResponseController(w).SetWriteDeadline(deadline); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	// A file that was written anew meanwhile has another size, and its rest is not sent.
	w.Header().Set("ETag", fmt.Sprintf(`"%s-%d"`, a.File, size))
	counted := &counter{ResponseWriter: w}
	// Only GET has ranges, and what is asked for is in a body.
	ranged := r.Clone(r.Context())
	ranged.Method = http.MethodGet
	http.ServeContent(counted, ranged, "", time.Time{}, body)
	x.Counts.GivenBytes.Add(counted.bytes)
	x.Counts.Given.Add(1)
	return nil
}

type counter struct {
	http.ResponseWriter
	bytes uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.bytes += uint64(n)
	return n, err
}

// open finds a file among what a deployment starts from; of another nothing is said.
func (x *Exchange) open(a *ask, list []*lineage.Node) (io.ReadSeekCloser, int64, error) {
	transfer := x.o.Service.Store().Transfer()
	if a.File == "" {
		files, err := transfer.ImageFiles(list[0].ImageDigest)
		if err != nil {
			return nil, 0, err
		}
		r, err := imagefile.OpenReader(files)
		if err != nil {
			return nil, 0, err
		}
		return &section{io.NewSectionReader(r, 0, r.Size()), r}, r.Size(), nil
	}
	for _, n := range list {
		if n.ID != a.File {
			continue
		}
		p, err := transfer.File(n.ID)
		if err != nil {
			return nil, 0, err
		}
		f, err := p.Open()
		if err != nil {
			return nil, 0, err
		}
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, 0, errors.Join(err, f.Close())
		}
		return f, size, nil
	}
	return nil, 0, fmt.Errorf("node %.12s is none that %q starts from: %w", a.File, a.Deployment, lineage.ErrNotFound)
}

type section struct {
	*io.SectionReader
	io.Closer
}
