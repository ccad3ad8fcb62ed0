package imagecmd

import (
	"cmp"
	"fmt"
	"strings"

	"seuss/images"
	"seuss/tools/seussctl/cmdline"
)

// storedLayer is a layer that an image is made of, as it is stored.
type storedLayer struct {
	Digest string   `json:"digest"`
	Bytes  uint64   `json:"bytes"`  // of content
	Images []string `json:"images"` // others that have it too: a name, or else the digest
}

// storedLayers returns the layers of an image, the lowest first, with who else has them.
func storedLayers(store images.Store, digest string, refs []images.LayerRef) ([]storedLayer, error) {
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	out := []storedLayer{}
	for _, ref := range refs {
		l := storedLayer{ref.Digest.String(), ref.Bytes, []string{}}
		for _, i := range list {
			for _, other := range i.Layers {
				if other.Digest == ref.Digest && i.Digest != digest {
					l.Images = append(l.Images, cmp.Or(strings.Join(i.Tags, ","), cmdline.Short(i.Digest)))
				}
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// String says how large the layer is and who else has it.
func (l storedLayer) String() string {
	text := fmt.Sprintf("%s  %s", cmdline.Short(l.Digest), cmdline.FormatBytes(l.Bytes))
	if len(l.Images) > 0 {
		text += ", which " + strings.Join(l.Images, ", ") + " has too"
	}
	return text
}
