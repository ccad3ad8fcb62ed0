package nodes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"seuss/dispatcher/cluster/peers"
	"seuss/dispatcher/functions"
	"seuss/lineage"
	"seuss/lineage/nodefile"
)

// resumes is how often a file that ends early is asked for again, from where it ended.
const resumes = 3

// slower is how many times longer than making it fetching may be thought to take.
const slower = 4

// Anybody reports whether another member says that it holds what is wanted.
func (x *Exchange) Anybody(w *Want) bool { return len(x.o.Holders(w.Key())) > 0 }

// Fetch brings what is wanted into the store, from whoever holds it. Errors match ErrNobody,
// ErrBusy, ErrOther, ErrSlow, ErrRoom, or those of package peers and the store.
func (x *Exchange) Fetch(ctx context.Context, w *Want) (err error) {
	holders := x.o.Holders(w.Key())
	if len(holders) == 0 {
		return ErrNobody
	}
	if !x.fetching.TryAcquire(1) {
		return ErrBusy
	}
	defer x.fetching.Release(1)
	limit := fetchTimeout
	if w.Image == "" {
		limit = imageTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var errs []error
	for _, member := range holders[:min(len(holders), maxAsked)] {
		err := x.from(ctx, member, w)
		if err == nil {
			return nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	x.Counts.Failed.Add(1)
	return fmt.Errorf("fetch the snapshot of %q: %w", w.Deployment, errors.Join(errs...))
}

func (x *Exchange) from(ctx context.Context, member string, w *Want) error {
	c, err := x.ask(ctx, member, w)
	if err != nil {
		return err
	}
	if err := x.check(w, c); err != nil {
		return fmt.Errorf("member %q: %w", member, err)
	}
	store := x.o.Service.Store()
	missing := c.Nodes
	for len(missing) > 0 {
		if _, err := store.Get(missing[0].Info.ID); err != nil {
			break
		}
		missing = missing[1:]
	}
	p := &Parcel{Want: w, Digest: c.Nodes[0].Info.ImageDigest}
	total := int64(0)
	for i := range missing {
		total += missing[i].Size
	}
	if w.Image == "" {
		unlock, err := x.images.Lock(ctx, "image "+p.Digest)
		if err != nil {
			return err
		}
		defer unlock()
		if _, err := os.Stat(store.ImagePath(p.Digest)); err != nil {
			p.ImageSize = c.ImageBytes
			total += c.ImageBytes
		}
	}
	takes := time.Duration(float64(total) / float64(x.rate.Load()) * float64(time.Second))
	if making := c.making(w); w.Image != "" && takes > slower*making {
		// What is not fetched says nothing of the network: it may be better again.
		if rate := x.rate.Load(); rate < firstRate {
			x.rate.Store(rate + (firstRate-rate)/16)
		}
		return fmt.Errorf("%d bytes, about %v, where making it takes %v: %w", total, takes, making, ErrSlow)
	}
	if err := x.room(total); err != nil {
		return err
	}
	if err := os.MkdirAll(x.o.Spool, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(x.o.Spool, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began := time.Now()
	if err := x.download(ctx, member, p, missing, dir); err != nil {
		return err
	}
	if took := time.Since(began); total > 1<<20 { // less says nothing of the network
		x.rate.Store((x.rate.Load() + uint64(float64(total)/took.Seconds())) / 2)
	}
	if err := x.o.Service.TakeNodes(ctx, p); err != nil {
		return fmt.Errorf("from member %q: %w", member, err)
	}
	x.Counts.Fetched.Add(uint64(len(p.Nodes)))
	x.o.Log.Info("cluster: a function's snapshot came from another member", "function", w.Deployment, "member", member, "nodes", len(p.Nodes), "bytes", total, "after_ms", time.Since(began).Milliseconds())
	return nil
}

// making is how long it took who holds it to make what is not here.
func (c *chain) making(w *Want) (total time.Duration) {
	for i := range c.Nodes {
		switch info := &c.Nodes[i].Info; {
		case info.Kind == lineage.KindBase && w.Based, info.Kind == lineage.KindImport && w.Imported:
		default:
			total += info.SavedTime
		}
	}
	return total
}

// room refuses what the disk has no room for: in the spool, and in the store.
func (x *Exchange) room(total int64) error {
	dir := filepath.Dir(x.o.Spool)
	free, all, err := x.o.Free(dir)
	if err != nil {
		return err
	}
	left := min(uint64(reserve), all/reservePart)
	if need := 2 * uint64(total); free < left || free-left < need {
		return fmt.Errorf("%s has %d bytes free, of which %d are left alone, and %d are needed: %w", dir, free, left, need, ErrRoom)
	}
	return nil
}

func (x *Exchange) ask(ctx context.Context, member string, w *Want) (*chain, error) {
	body, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	answer, err := x.o.Peers.Do(ctx, member, http.MethodPost, chainPath, nil, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	c := new(chain)
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxChain)).Decode(c); err != nil {
		return nil, fmt.Errorf("member %q: what it holds: %w", member, err)
	}
	return c, nil
}

// check refuses by name what is not what is wanted, before anything of it is fetched.
func (x *Exchange) check(w *Want, c *chain) error {
	n := len(c.Nodes)
	if n < 3 || n > maxDepth {
		return fmt.Errorf("%d nodes, want 3 to %d: %w", n, maxDepth, ErrOther)
	}
	total := int64(0)
	for i := range c.Nodes {
		l := &c.Nodes[i]
		info := &l.Info
		if err := info.Validate(); err != nil {
			return fmt.Errorf("node %.12s: %w: %w", info.ID, err, ErrOther)
		}
		switch total += l.Size; {
		case l.Size <= 0 || l.Size > maxNodes || total > maxNodes:
			return fmt.Errorf("nodes of more than %d bytes, or of none: %w", int64(maxNodes), ErrOther)
		case !nodefile.ValidDigest(info.ID) || i > 0 && info.Parent != c.Nodes[i-1].Info.ID || (i == 0) != (info.Kind == lineage.KindImage):
			return fmt.Errorf("node %.12s does not hang on the one before: %w", info.ID, ErrOther)
		case w.Image != "" && info.ImageDigest != w.Image || info.ImageDigest != c.Nodes[0].Info.ImageDigest:
			return fmt.Errorf("it is of image %.12s, here is %.12s: %w", info.ImageDigest, w.Image, ErrOther)
		case i < n-1 && info.Private():
			return fmt.Errorf("node %.12s above the function's is of kind %s: %w", info.ID, info.Kind, ErrOther)
		}
		if err := x.o.Service.Fits(info); err != nil {
			return fmt.Errorf("node %.12s (%s): %w: %w", info.ID, info.Kind, err, ErrOther)
		}
	}
	if k := &c.Nodes[n-1].Info.Key; c.Nodes[n-1].Info.Kind != lineage.KindFunction || k.Function != functions.BaseName(w.Deployment) || k.CodeDigest != w.Code || k.Handler != w.Handler || k.Lazy != w.Lazy {
		return fmt.Errorf("node %.12s is %s %q of code %.12s: %w", c.Nodes[n-1].Info.ID, c.Nodes[n-1].Info.Kind, k.Function, k.CodeDigest, ErrOther)
	}
	if c.ImageBytes <= 0 || c.ImageBytes > maxImage {
		return fmt.Errorf("an image of %d bytes, at most %d: %w", c.ImageBytes, int64(maxImage), ErrOther)
	}
	return nil
}

// download brings the files into a folder.
func (x *Exchange) download(ctx context.Context, member string, p *Parcel, missing []link, dir string) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(4)
	p.Nodes = slices.Grow(p.Nodes, len(missing))
	for i := range missing {
		l := &missing[i]
		piece := Piece{Info: l.Info, Size: l.Size, Path: filepath.Join(dir, strconv.Itoa(i))}
		if len(l.Loading) > 0 { // a hint
			piece.Loading, _ = nodefile.DecodeLoadingSet(l.Loading, l.Info.ID, l.Info.GuestPages)
		}
		p.Nodes = append(p.Nodes, piece)
		all.Go(func() error { return x.file(ctx, member, &ask{*p.Want, l.Info.ID}, l.Size, piece.Path) })
	}
	if p.ImageSize > 0 {
		p.Image = filepath.Join(dir, "image")
		all.Go(func() error { return x.file(ctx, member, &ask{*p.Want, ""}, p.ImageSize, p.Image) })
	}
	return all.Wait()
}

// file brings one file of size bytes. What ends early is asked for again from there.
func (x *Exchange) file(ctx context.Context, member string, a *ask, size int64, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	at, tag := int64(0), ""
	for try := 0; at < size; try++ {
		var n int64
		n, tag, err = x.part(ctx, member, a, f, at, size, tag)
		x.Counts.FetchedBytes.Add(uint64(n))
		at += n
		var refused *peers.Refusal
		if err != nil && (try == resumes || ctx.Err() != nil || errors.As(err, &refused) || errors.Is(err, ErrOther) || errors.Is(err, peers.ErrNotSent)) {
			return fmt.Errorf("after %d of %d bytes: %w", at, size, err)
		}
	}
	return f.Close()
}

// part copies what comes from a byte on.
func (x *Exchange) part(ctx context.Context, member string, a *ask, to io.Writer, at, size int64, tag string) (n int64, etag string, err error) {
	body, err := json.Marshal(a)
	if err != nil {
		return 0, tag, err
	}
	header := http.Header{}
	if at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", at))
		header.Set("If-Range", tag)
	}
	answer, err := x.o.Peers.Do(ctx, member, http.MethodPost, filePath, header, bytes.NewReader(body))
	if err != nil {
		return 0, tag, err
	}
	defer answer.Body.Close()
	if (at > 0) != (answer.StatusCode == http.StatusPartialContent) || answer.ContentLength != size-at {
		return 0, tag, fmt.Errorf("member %q: %d bytes (status %d), want %d from %d on: it has written the file anew: %w", member, answer.ContentLength, answer.StatusCode, size-at, at, ErrOther)
	}
	// To its end: who gives it counts what went to somebody who hung up as lost. More than
	// ContentLength does not come.
	n, err = io.Copy(to, answer.Body)
	if err == nil && n < size-at {
		err = io.ErrUnexpectedEOF
	}
	return n, answer.Header.Get("ETag"), err
}
