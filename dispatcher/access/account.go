package access

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"seuss/dispatcher/functions"
)

// DefaultAccount is the default owner's account.
const DefaultAccount = "000000000000"

// accounts is how many twelve digits give.
const accounts = 1_000_000_000_000

// AccountOf returns the account that stands for an owner in ARNs: twelve digits, as
// AWS's accounts have. An owner whose name is twelve digits is his own account. Others'
// is made of the SHA-256 of the name: its first eight bytes, big endian, by modulus
// 10^12, or 1 where that is 0, which is the default owner's. Two owners with one
// account cannot be in one file.
func AccountOf(owner string) string {
	if owner == functions.DefaultOwner {
		return DefaultAccount
	}
	if isAccount(owner) {
		return owner
	}
	sum := sha256.Sum256([]byte(owner))
	return fmt.Sprintf("%012d", max(binary.BigEndian.Uint64(sum[:8])%accounts, 1))
}

// IAMARN names a resource of an account's among AWS's principals, such as "user/NAME".
func IAMARN(account, resource string) string { return "arn:aws:iam::" + account + ":" + resource }

// RootARN is the principal that stands for all of an account.
func RootARN(account string) string { return IAMARN(account, "root") }

func isAccount(text string) bool {
	if len(text) != len(DefaultAccount) {
		return false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
