package attacks

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// archive is a ZIP of one file.
func archive(t *Target, name string, bytesLong int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create(name)
	if err == nil {
		_, err = io.CopyN(f, zeros{}, bytesLong)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func init() {
	add(Attack{
		Name:  "code-archives",
		Tries: "Clients deploy archives that unpack to gigabytes, reach out of their folder or are none",
		Holds: "they are refused with bounded memory, and write nothing outside",
		Tests: []string{"TestZipBombIsBounded", "TestZipDirectoryIsBounded", "TestLoadCodeRefuses"},
		Run: func(t *Target) {
			before := t.Resident()
			whole := archive(t, "main.py", 100)
			for name, code := range map[string][]byte{
				"bomb": archive(t, "main.py", 200<<20), "outside": archive(t, "../../etc/seuss-was-here", 10), "absolute": archive(t, "/etc/seuss-was-here", 10),
				"half": whole[:len(whole)/2], "nothing": nil, "text": []byte(strings.Repeat("no archive", 1000)),
			} {
				status, body, err := t.Call("POST", "/2015-03-31/functions", map[string]any{
					"FunctionName": "archive-" + name, "Handler": "main.handler", "Runtime": "python3.11", "Role": "any",
					"Code": map[string]string{"ZipFile": base64.StdEncoding.EncodeToString(code)}})
				if err != nil || status < 400 || status >= 500 {
					t.Errorf("%s: %d %.300s, %v", name, status, body, err)
				}
			}
			if grown := t.Resident() - before; grown > 192<<20 {
				t.Errorf("%s of memory for archives that were refused", fmt.Sprint(grown>>20, " MiB"))
			}
		},
	})
}
