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

// hashPagesAtOnce is how much one reader of hashPages takes at a time: whole stretches.
const hashPagesAtOnce = 16 * digestPages

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	zeroSum    = crc32.Checksum(guest.ZeroPage[:], castagnoli)
	zeroPages  [digestPages * guest.PageSize]byte
)

// hashPages returns the checksum of each page of content, and the digest of every per pages,
// a divisor of hashPagesAtOnce. What a file has not been written to reads as zero, also
// behind its end.
func hashPages(ctx context.Context, f io.ReaderAt, pages, per uint64) ([]uint32, []Digest, error) {
	sums, digests := make([]uint32, pages), make([]Digest, (pages+per-1)/per)
	zeroDigest := Digest(sha256.Sum256(zeroPages[:per*guest.PageSize]))
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
				for i := uint64(0); i < n; i += per {
					count := min(per, n-i)
					stretch, zeros := buf[i*guest.PageSize:(i+count)*guest.PageSize], uint64(0)
					for k := range count {
						page := stretch[k*guest.PageSize : (k+1)*guest.PageSize]
						if guest.ZeroPage == [guest.PageSize]byte(page) {
							sums[first+i+k] = zeroSum
							zeros++
							continue
						}
						sums[first+i+k] = crc32.Checksum(page, castagnoli)
					}
					if zeros == per {
						digests[(first+i)/per] = zeroDigest
						continue
					}
					digests[(first+i)/per] = sha256.Sum256(stretch)
				}
			}
			return ctx.Err()
		})
	}
	return sums, digests, g.Wait()
}
