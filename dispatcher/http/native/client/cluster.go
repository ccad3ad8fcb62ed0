package client

import (
	"context"
	"net/url"

	"seuss/dispatcher/cluster"
)

// Cluster is a Client's way to the cluster that the service is in.
type Cluster struct{ c *Client }

// Members returns the cluster as the service sees it.
func (m Cluster) Members(ctx context.Context) (cluster.View, error) {
	return call[cluster.View](ctx, m.c, "GET", "/v1/cluster", nil)
}

// Cordon has a member get nothing new, or again.
func (m Cluster) Cordon(ctx context.Context, host string, on bool) error {
	return do(ctx, m.c, "PUT", "/v1/cluster/members/"+url.PathEscape(host), map[string]bool{"cordoned": on})
}
