package python

import (
	"bytes"
	"embed"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

//go:embed probe/list.py probe/try_import.py driver/imported.py
var probeFiles embed.FS

func probeFile(name string) []byte {
	b, err := probeFiles.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return b
}

func listPackages() map[string][]byte {
	return map[string][]byte{"main.py": probeFile("probe/list.py"), "imported.py": probeFile("driver/imported.py")}
}

func importPackages(modules []string) map[string][]byte {
	list, err := json.Marshal(modules)
	if err != nil {
		panic(err) // texts
	}
	return map[string][]byte{"main.py": probeFile("probe/try_import.py"), "modules.json": list}
}

// own are the names under which files of the task root can be imported: those at its top,
// and all where the code changes where modules are looked for.
func own(files map[string][]byte) []string {
	deep := false
	for name, text := range files {
		deep = deep || strings.HasSuffix(name, ".pth") || strings.HasSuffix(name, ".py") && bytes.Contains(text, []byte("sys.path"))
	}
	names := map[string]bool{}
	for name := range files {
		for n, part := range strings.Split(path.Clean(name), "/") {
			if n > 0 && !deep {
				break
			}
			stem, _, _ := strings.Cut(part, ".")
			names[stem] = true
		}
	}
	delete(names, "")
	return sortedKeys(names)
}

// asks reads every Python file for its import statements.
func asks(files map[string][]byte) []string {
	s := scanner{names: map[string]bool{}}
	for name, text := range files {
		if strings.HasSuffix(name, ".py") {
			s.scan(text)
		}
	}
	return sortedKeys(s.names)
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
