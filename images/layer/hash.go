package layer

import (
	"context"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"seuss/guest"
)

// hashPagesAtOnce is how much one reader of hashPages takes at a time.
const hashPagesAtOnce = 256

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeroSum    = crc32.Checksum(guest.ZeroPage[:], castagnoli)
	zeroDigest = Digest(sha256.Sum256(guest.ZeroPage[:]))
)

// hashPages returns checksum and digest of each page of content. What a file has not
// been written to reads as zero, also behind its end.
func hashPages(ctx context.Context, f io.ReaderAt, pages uint64) ([]uint32, []Digest, error) {
	sums, digests := make([]uint32, pages), make([]Digest, pages)
	var next atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), 4) {
		g.Go(func() error {
			buf := make([]byte, hashPagesAtOnce*guest.PageSize)
			for ctx.Err() == nil {
				first := next.Add(hashPagesAtOnce) - hashPagesAtOnce
				if first >= pages {
					return nil
				}
				n := min(hashPagesAtOnce, pages-first)
				got, err := f.ReadAt(buf[:n*guest.PageSize], int64((first+1)*guest.PageSize))
				if err != nil && err != io.EOF {
					return err
				}
				clear(buf[got:])
				for i := range n {
					page := buf[i*guest.PageSize : (i+1)*guest.PageSize]
					if guest.ZeroPage == [guest.PageSize]byte(page) {
						sums[first+i], digests[first+i] = zeroSum, zeroDigest
						continue
					}
					sums[first+i], digests[first+i] = crc32.Checksum(page, castagnoli), sha256.Sum256(page)
				}
			}
			return ctx.Err()
		})
	}
	return sums, digests, g.Wait()
}
