package dispatcher

import "github.com/google/uuid"

// NewRequestID returns a random UUID (RFC 9562, version 4), as Lambda's request and
// revision ids are.
func NewRequestID() string { return uuid.NewString() }

// localRegion is the region in ARNs where nobody has named any.
const localRegion = "local"

// ARN is the ARN of a function; qualifier may be empty.
func ARN(region, account, name, qualifier string) string {
	arn := "arn:aws:lambda:" + region + ":" + account + ":function:" + name
	if qualifier != "" {
		arn += ":" + qualifier
	}
	return arn
}
