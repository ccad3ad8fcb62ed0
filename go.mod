module seuss

go 1.26.0

require (
	github.com/bobuhiro11/gokvm v0.0.8-0.20231003020000-f53faca69d28
	github.com/hashicorp/go-memdb v1.3.5
	golang.org/x/sys v0.49.0
)

require (
	github.com/alecthomas/kong v0.8.0 // indirect
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/golang-lru v0.5.4 // indirect
	golang.org/x/arch v0.32.0 // indirect
)
