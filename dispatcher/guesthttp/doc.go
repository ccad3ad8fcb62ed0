// Package guesthttp reads HTTP/1.1 requests that guests send to the monitor, in whatever
// pieces they come: package net/http waits for its input, and the goroutine that runs the
// guest must not.
//
// Units: bytes. Ownership: a Request is its connection's, and keeps what has arrived until
// Next. What it keeps has a bound: MaxHead and MaxBody. There are no locks.
package guesthttp
