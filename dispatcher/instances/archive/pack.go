package archive

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// packer writes an archive.
type packer struct {
	t     Tree
	w     *tar.Writer
	count int
	bytes int64

	files []*file // whose content is to be written next, in order
	held  int64   // bytes of them
}

// file is one that is to be written.
type file struct {
	at, name string
	Entry
}

// Pack writes what is at an absolute path of an instance to w, a directory with all that is
// below it, under the path's last name. begin is called before the first byte is: what is
// wrong by then is an error with nothing written. Links are copied as such. A file that
// changes meanwhile is an error; others are as they are when it comes to them.
func Pack(ctx context.Context, t Tree, from string, w io.Writer, begin func()) error {
	from, err := absolute(from)
	if err != nil {
		return err
	}
	top, err := look(ctx, t, "stat", from)
	if err != nil {
		return err
	}
	begin()
	p := &packer{t: t, w: tar.NewWriter(w)}
	name := path.Base(from)
	if name == "/" {
		name = "root"
	}
	if err := p.add(ctx, from, name, top); err != nil {
		return err
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	return p.w.Close()
}

func (p *packer) add(ctx context.Context, at, name string, e Entry) error {
	p.count++
	size := int64(0)
	if e.Type == "file" {
		size = e.Size
	}
	if p.count > MaxEntries || size > MaxBytes-p.bytes || len(at) > maxPath {
		return fmt.Errorf("%.200q: an archive has at most %d entries, %d bytes, and paths of %d bytes: copy parts of it: %w", at, MaxEntries, MaxBytes, maxPath, ErrFiles)
	}
	if e.Type == "file" {
		p.bytes += size
		if p.held += e.Size; len(p.files) == maxSteps || p.held > chunk && len(p.files) > 0 {
			if err := p.flush(ctx); err != nil {
				return err
			}
			p.held = e.Size
		}
		p.files = append(p.files, &file{at, name, e})
		return nil
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	h := header(name, &e)
	if e.Type == "link" {
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
		return p.w.WriteHeader(h)
	}
	h.Typeflag, h.Name = tar.TypeDir, name+"/"
	if err := p.w.WriteHeader(h); err != nil {
		return err
	}
	results, err := do(ctx, p.t, []Step{{Do: "list", Path: at}})
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range results[0].Entries {
		below := path.Join(at, e.Name)
		if e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || seen[e.Name] {
			return fmt.Errorf("directory %.200q has an entry %.200q: %w", at, e.Name, ErrFiles)
		}
		seen[e.Name] = true
		if err := e.check(below); err != nil {
			return err
		}
		if err := p.add(ctx, below, name+"/"+e.Name, e); err != nil {
			return err
		}
	}
	return nil
}

func header(name string, e *Entry) *tar.Header {
	return &tar.Header{Name: name, Mode: int64(e.Mode & 0o777), ModTime: time.Unix(e.Time, 0), Format: tar.FormatPAX}
}

// flush writes the files that wait.
func (p *packer) flush(ctx context.Context) error {
	files := p.files
	p.files, p.held = nil, 0
	for len(files) > 0 && files[0].Size > chunk { // alone, as add has seen to
		if err := p.large(ctx, files[0]); err != nil {
			return err
		}
		files = files[1:]
	}
	if len(files) == 0 {
		return nil
	}
	steps := make([]Step, len(files))
	for n, f := range files {
		steps[n] = Step{Do: "read", Path: f.at, Bytes: int(f.Size)}
	}
	results, err := do(ctx, p.t, steps)
	if err != nil {
		return err
	}
	for n, f := range files {
		if err := p.begin(f); err != nil {
			return err
		}
		if err := p.write(f, results[n].Data, f.Size); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) begin(f *file) error {
	h := header(f.name, &f.Entry)
	h.Typeflag, h.Size = tar.TypeReg, f.Size
	return p.w.WriteHeader(h)
}

// write writes what was read of a file, where so many bytes were wanted.
func (p *packer) write(f *file, data []byte, want int64) error {
	if int64(len(data)) != want {
		return fmt.Errorf("%.200q has changed while it was copied: copy it again: %w", f.at, ErrFiles)
	}
	_, err := p.w.Write(data)
	return err
}

func (p *packer) large(ctx context.Context, f *file) error {
	if err := p.begin(f); err != nil {
		return err
	}
	for at := int64(0); at < f.Size; at += chunk {
		n := min(chunk, f.Size-at)
		results, err := do(ctx, p.t, []Step{{Do: "read", Path: f.at, At: at, Bytes: int(n)}})
		if err != nil {
			return err
		}
		if err := p.write(f, results[0].Data, n); err != nil {
			return err
		}
	}
	return nil
}
