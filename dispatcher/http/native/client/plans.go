package client

import (
	"context"
	"fmt"
	"net/url"

	"seuss/dispatcher/planner"
)

// ApplyPlan implements api.Plans.
func (c *Client) ApplyPlan(ctx context.Context, ask planner.Ask) (*planner.Status, error) {
	return call[*planner.Status](ctx, c, "POST", "/v1/plans", ask)
}

// Plans implements api.Plans.
func (c *Client) Plans(ctx context.Context) ([]*planner.Status, error) {
	return call[[]*planner.Status](ctx, c, "GET", "/v1/plans", nil)
}

// DropPlan implements api.Plans.
func (c *Client) DropPlan(ctx context.Context, which planner.Which) error {
	return do(ctx, c, "DELETE", fmt.Sprintf("/v1/plans?image=%s&runtime=%s&shared=%t", url.QueryEscape(which.Image), url.QueryEscape(which.Runtime), which.Shared), nil)
}
