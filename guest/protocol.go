package guest

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

//go:embed abi/driver.h
var driverHeader string

var driverDefine = regexp.MustCompile(`(?m)^#define ABI_(\w+) (0x[0-9a-f]+|[0-9]+)\b`)

// Protocol renders every constant of abi/driver.h in a driver's language: head, then a
// line for each, whose format takes the name without ABI_ and the value, a number. The
// contract's version is called VERSION.
func Protocol(head, line string) []byte {
	var b strings.Builder
	b.WriteString(head)
	for _, m := range driverDefine.FindAllStringSubmatch(driverHeader, -1) {
		name := m[1]
		if name == "DRIVER_VERSION" {
			name = "VERSION"
		}
		value, err := strconv.ParseUint(m[2], 0, 64)
		if err != nil { // it is embedded
			panic(err)
		}
		fmt.Fprintf(&b, line, name, value)
	}
	return []byte(b.String())
}
