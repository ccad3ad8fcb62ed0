package state

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"seuss/dispatcher/functions"
)

// MaxNameBytes bounds a key's name, behind its share.
const MaxNameBytes = 512

// splitKey checks a key and returns its share.
func splitKey(key string) (share string, err error) {
	share, name, ok := strings.Cut(key, "/")
	switch {
	case !ok || name == "":
		return "", fmt.Errorf("%.80q: %w: want SHARE/NAME, as in orders/today", key, ErrKey)
	case !ValidShare(share):
		return "", fmt.Errorf("%.80q: %w: a share's name is 1 to 64 of A-Z a-z 0-9 _ -", share, ErrKey)
	}
	return share, checkName(name)
}

func checkName(name string) error {
	if len(name) > MaxNameBytes || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%.80q: %w: the name behind the share is at most %d bytes of UTF-8 without control characters", name, ErrKey, MaxNameBytes)
	}
	return nil
}

// ValidShare reports whether a share may have that name.
func ValidShare(name string) bool { return functions.ValidName(name) }
