package oci

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow bounds the memory of a decompressor: what zstd --ultra --long=27 needs.
const maxZstdWindow = 128 << 20

// verifier passes content on, and ends with an error instead of io.EOF if it is not what
// its digest says.
type verifier struct {
	r    io.Reader
	hash hash.Hash
	want v1.Hash
	left int64 // below 0: the length is not known
	err  error
}

// verified reads content of a digest and a length, below 0 if that is not known.
func verified(r io.Reader, want v1.Hash, size int64) *verifier {
	return &verifier{r: r, hash: sha256.New(), want: want, left: size}
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	if v.left >= 0 {
		if int64(n) > v.left {
			v.err = fmt.Errorf("%s is longer than it should be: %w", v.want, ErrDigest)
			return 0, v.err
		}
		v.left -= int64(n)
	}
	if err == io.EOF {
		switch got := hex.EncodeToString(v.hash.Sum(nil)); {
		case v.left > 0:
			err = fmt.Errorf("%s is cut off, %d bytes are missing: %w", v.want, v.left, ErrDigest)
		case got != v.want.Hex:
			err = fmt.Errorf("%s has the digest sha256:%s: %w", v.want, got, ErrDigest)
		}
	}
	if err != nil {
		v.err = err
	}
	return n, err
}

// unpacked returns the tar archive of a layer, whose blob is checked when its end is
// read; more than limit bytes end it with the error tooLarge. The archive's own digest is
// left to who reads it.
func (l *layerRef) unpacked(packed io.Reader, limit int64, tooLarge error) (io.Reader, func(), error) {
	whole := packed
	if l.digest != nil {
		whole = verified(packed, *l.digest, l.size)
	}
	buffered := bufio.NewReaderSize(whole, 1<<16)
	head, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	var content io.Reader = buffered
	release := func() {}
	switch {
	case len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b: // RFC 1952, 2.3.1
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", err, ErrFormat)
		}
		content, release = z, func() { z.Close() }
	case string(head) == "\x28\xb5\x2f\xfd": // RFC 8878, 3.1.1
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", err, ErrFormat)
		}
		content, release = z, z.Close
	}
	return &rest{&bounded{content, limit, tooLarge}, buffered}, release, nil
}

// rest reads content to its end, and then what lies behind it in the blob, which the
// blob's digest covers too.
type rest struct{ content, blob io.Reader }

func (r *rest) Read(p []byte) (int, error) {
	n, err := r.content.Read(p)
	if err != io.EOF {
		return n, err
	}
	if _, err := io.Copy(io.Discard, r.blob); err != nil {
		return n, err
	}
	return n, io.EOF
}

// bounded ends with an error where content is longer than its bound.
type bounded struct {
	r        io.Reader
	left     int64
	tooLarge error
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.tooLarge
	}
	return n, err
}
