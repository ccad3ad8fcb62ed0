package imagefile

import (
	"errors"
	"io"
	"os"
	"sort"
)

// Reader is the stream of an image's files, read from anywhere: what WriteStream writes.
type Reader struct {
	files []*os.File
	ends  []int64 // of the files, each with its padding, in the stream
	sizes []int64 // of the files alone
}

// OpenReader opens them.
func OpenReader(paths []string) (_ *Reader, err error) {
	r := &Reader{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	end := int64(0)
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		r.files = append(r.files, f)
		st, err := f.Stat()
		if err != nil {
			return nil, err
		}
		end += st.Size() + Padding(st.Size())
		r.ends, r.sizes = append(r.ends, end), append(r.sizes, st.Size())
	}
	return r, nil
}

// Size is how long the stream is.
func (r *Reader) Size() int64 {
	if len(r.ends) == 0 {
		return 0
	}
	return r.ends[len(r.ends)-1]
}

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		i := sort.Search(len(r.ends), func(i int) bool { return r.ends[i] > at })
		if i == len(r.ends) {
			return n, io.EOF
		}
		start := int64(0)
		if i > 0 {
			start = r.ends[i-1]
		}
		part := p[n:min(int64(len(p)), int64(n)+r.ends[i]-at)]
		if own := r.sizes[i] - (at - start); own > 0 {
			part = part[:min(int64(len(part)), own)]
			if got, err := r.files[i].ReadAt(part, at-start); got < len(part) {
				return n + got, err
			}
		} else {
			clear(part)
		}
		n, at = n+len(part), at+int64(len(part))
	}
	return n, nil
}

// Close closes the files.
func (r *Reader) Close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
