// The program fetches URLs with Go's own resolver and HTTP client, and prints what
// came of each.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

func main() {
	client := &http.Client{Timeout: 20 * time.Second}
	lines := make([]string, len(os.Args[1:]))
	var wg sync.WaitGroup
	for i, url := range os.Args[1:] {
		wg.Go(func() { lines[i] = fetch(client, url) })
	}
	wg.Wait()
	for _, l := range lines {
		fmt.Println(l)
	}
}

func fetch(client *http.Client, url string) string {
	var errno syscall.Errno
	r, err := client.Get(url)
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case err != nil:
		return err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(r.StatusCode, " ", len(b), " bytes")
}
