package imagebench

import (
	"archive/tar"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"seuss/images"
)

// Tags of the images of a layout.
const (
	Base  = "base"
	Above = "above" // a layer more
	Large = "large" // one with much data
)

const refName = "org.opencontainers.image.ref.name"

// Layouts is an OCI image layout with the three images.
type Layouts struct {
	Dir   string
	Files uint64 // bytes of the regular files of Base
	Data  uint64 // of Large's own layer
	small uint64
}

// aboveBytes is what the layer of Above holds, which nothing compresses.
const aboveBytes = 8 << 20

// Make writes a layout to dir, which must not exist. Base is a copy of the image of another
// layout, "DIR" or "DIR:TAG", or made of files of this machine. The layer of Large has files
// of 256 MiB, dataBytes in all, of which a part is no zeros.
func Make(dir, from string, files []images.File, dataBytes uint64) (*Layouts, error) {
	var base v1.Image
	var err error
	if from != "" {
		base, err = read(from)
	} else {
		base, err = ofFiles(files)
	}
	if err != nil {
		return nil, err
	}
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", dir, err)
	}
	l := &Layouts{Dir: dir, Data: dataBytes, small: aboveBytes}
	for tag, own := range map[string]func(*tar.Writer) error{Base: nil, Above: l.writeAbove, Large: l.writeLarge} {
		image := base
		if own != nil {
			layer, err := layerOf(own)
			if err != nil {
				return nil, err
			}
			if image, err = mutate.AppendLayers(base, layer); err != nil {
				return nil, err
			}
		}
		if err := to.AppendImage(image, layout.WithAnnotations(map[string]string{refName: tag})); err != nil {
			return nil, fmt.Errorf("layout %s: image %s: %w", dir, tag, err)
		}
	}
	l.Files, err = fileBytes(base)
	return l, err
}

// Source is what image build takes an image from.
func (l *Layouts) Source(tag string) string { return "oci:" + l.Dir + ":" + tag }

// read opens the image of a layout.
func read(from string) (v1.Image, error) {
	dir, tag, _ := strings.Cut(from, ":")
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", dir, err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("layout %s: %w", dir, err)
	}
	for _, d := range manifest.Manifests {
		if tag == "" || d.Annotations[refName] == tag {
			return index.Image(d.Digest)
		}
	}
	return nil, fmt.Errorf("layout %s has no image %q", dir, tag)
}

// ofFiles is an image of one layer with files of this machine.
func ofFiles(files []images.File) (v1.Image, error) {
	layer, err := layerOf(func(w *tar.Writer) error {
		made := map[string]bool{}
		for _, f := range files {
			if err := writeFile(w, f, made); err != nil {
				return fmt.Errorf("%s: %w", f.GuestPath, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(image, layer)
}

func writeFile(w *tar.Writer, f images.File, made map[string]bool) error {
	name := strings.TrimPrefix(f.GuestPath, "/")
	if name == "" || made[name] {
		return nil
	}
	made[name] = true
	h := &tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(f.Data)), Format: tar.FormatPAX}
	switch {
	case f.Mode.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(h)
	case f.Symlink != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.Symlink
		return w.WriteHeader(h)
	case f.HostPath == "":
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(f.Data)
		return err
	}
	in, err := os.Open(f.HostPath)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if h.Size = st.Size(); st.IsDir() {
		return nil
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(w, in, h.Size)
	return err
}

func (l *Layouts) writeAbove(w *tar.Writer) error {
	return writeData(w, "srv/above", 1, l.small, l.small)
}

// writeLarge writes files of 256 MiB, of which a sixteenth is no zeros.
func (l *Layouts) writeLarge(w *tar.Writer) error {
	const each = 256 << 20
	for i := uint64(0); i*each < l.Data; i++ {
		if err := writeData(w, path.Join("srv", fmt.Sprint("data", i)), i+2, min(each, l.Data-i*each), each/16); err != nil {
			return err
		}
	}
	return nil
}

// writeData writes a file whose first bytes are random, and the others zero.
func writeData(w *tar.Writer, name string, seed, size, random uint64) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(size), Format: tar.FormatPAX}); err != nil {
		return err
	}
	source := rand.NewChaCha8([32]byte{byte(seed)})
	buf := make([]byte, 1<<20)
	for done := uint64(0); done < size; {
		b := buf[:min(uint64(len(buf)), size-done)]
		if done < random {
			_, _ = source.Read(b) // it never fails
		} else {
			clear(b)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		done += uint64(len(b))
	}
	return nil
}

// layerOf is a layer of what write writes, the same each time.
func layerOf(write func(*tar.Writer) error) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { // ends with the archive, or when r is closed
			t := tar.NewWriter(w)
			err := write(t)
			if err == nil {
				err = t.Close()
			}
			w.CloseWithError(err)
		}()
		return r, nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
}

// fileBytes adds up the regular files of an image's layers.
func fileBytes(image v1.Image) (total uint64, err error) {
	layers, err := image.Layers()
	if err != nil {
		return 0, err
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			return 0, err
		}
		t := tar.NewReader(r)
		for {
			h, err := t.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return 0, fmt.Errorf("read a layer: %w", err)
			}
			if h.Typeflag == tar.TypeReg {
				total += uint64(h.Size)
			}
		}
		if err := r.Close(); err != nil {
			return 0, err
		}
	}
	return total, nil
}
