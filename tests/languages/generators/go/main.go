// Draws from Go's generators before and after it reads its input.
package main

import (
	crand "crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	randv2 "math/rand/v2"
	"os"
)

func draw() map[string]string {
	var b [16]byte
	crand.Read(b[:])
	order := ""
	m := map[int]bool{}
	for i := range 64 {
		m[i] = true
	}
	for i := range m {
		order += fmt.Sprint(i, " ")
	}
	return map[string]string{
		"math/rand": fmt.Sprint(rand.Uint64()), "math/rand/v2": fmt.Sprint(randv2.Uint64()),
		"order of a map": order, "crypto/rand": hex.EncodeToString(b[:]),
	}
}

func main() {
	draw()
	io.Copy(io.Discard, os.Stdin)
	json.NewEncoder(os.Stdout).Encode(draw())
}
