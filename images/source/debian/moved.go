package debian

import (
	"context"
	"strings"
)

// Moved says which packages, as name=version, are there in another version by now, or not
// at all, in the file system at root, "" being the host's own: as "name 1.0 -> 1.1".
func Moved(ctx context.Context, root string, packages []string) ([]string, error) {
	if len(packages) == 0 {
		return nil, nil
	}
	db, err := readPackages(ctx, root)
	if err != nil {
		return nil, err
	}
	return db.moved(packages), nil
}

func (db *database) moved(packages []string) (list []string) {
	for _, p := range packages {
		name, version, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		switch now := db.byName[name]; {
		case now == nil:
			list = append(list, name+" "+version+" -> not installed")
		case now.version != version:
			list = append(list, name+" "+version+" -> "+now.version)
		}
	}
	return list
}
