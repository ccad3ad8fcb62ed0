package guest

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"sync"
)

//go:embed kernel/syscalls.def
var syscallTable string

// Syscall is a row of the kernel library's system call table.
type Syscall struct {
	Number  int
	Name    string
	Support string // FULL, PARTIAL, STUB or NONE, as guest/kernel/syscalls.def defines them
	Note    string // what PARTIAL leaves out, what STUB answers
}

var syscallRow = regexp.MustCompile(`(?m)^ROW\((\d+), (\w+), \w+, (FULL|PARTIAL|STUB|NONE), "(.*)"\)$`)

// SyscallTable returns the table, ascending by number: every Linux x86-64 call.
var SyscallTable = sync.OnceValue(func() []Syscall {
	var rows []Syscall
	for _, m := range syscallRow.FindAllStringSubmatch(syscallTable, -1) {
		n, _ := strconv.Atoi(m[1])
		rows = append(rows, Syscall{Number: n, Name: m[2], Support: m[3], Note: m[4]})
	}
	return rows
})

// SyscallName returns the name of a Linux x86-64 system call, "syscall N" for
// a number that has none.
func SyscallName(number int) string {
	for _, row := range SyscallTable() {
		if row.Number == number {
			return row.Name
		}
	}
	return fmt.Sprintf("syscall %d", number)
}
