package client

import (
	"context"
	"fmt"
	"net/url"

	"seuss/dispatcher/planner"
	"seuss/dispatcher/tiers"
)

// plans are a Client's way to the plans that are applied, and to what they are about.
type plans struct{ c *Client }

// ApplyPlan implements api.Plans.
func (p plans) ApplyPlan(ctx context.Context, ask planner.Ask) (*planner.Status, error) {
	return call[*planner.Status](ctx, p.c, "POST", "/v1/plans", ask)
}

// Plans implements api.Plans.
func (p plans) Plans(ctx context.Context) ([]*planner.Status, error) {
	return call[[]*planner.Status](ctx, p.c, "GET", "/v1/plans", nil)
}

// DropPlan implements api.Plans.
func (p plans) DropPlan(ctx context.Context, which planner.Which) error {
	return do(ctx, p.c, "DELETE", fmt.Sprintf("/v1/plans?image=%s&runtime=%s&shared=%t", url.QueryEscape(which.Image), url.QueryEscape(which.Runtime), which.Shared), nil)
}

// Tiers implements api.Tiers.
func (p plans) Tiers(ctx context.Context) (tiers.Tiers, error) {
	return call[tiers.Tiers](ctx, p.c, "GET", "/v1/tiers", nil)
}

// FunctionStart implements api.Plans.
func (p plans) FunctionStart(ctx context.Context, name string) (*planner.Start, error) {
	return call[*planner.Start](ctx, p.c, "GET", functionPath(name)+"/start", nil)
}
