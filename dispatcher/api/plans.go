package api

import (
	"context"
	"fmt"

	"seuss/dispatcher/functions"
	"seuss/dispatcher/planner"
	"seuss/lineage"
)

// Plans are what is lived with. Over the wire an owner's plan is that of who asks.
type Plans interface {
	// ApplyPlan applies a plan in place of the one that is; its nodes are made beside the
	// requests.
	ApplyPlan(ctx context.Context, ask planner.Ask) (*planner.Status, error)
	// Plans lists the plans that there are, as far as they concern who asks.
	Plans(ctx context.Context) ([]*planner.Status, error)
	DropPlan(ctx context.Context, which planner.Which) error
	// FunctionStart says where a function's code is loaded by the plans, and why.
	FunctionStart(ctx context.Context, name string) (*planner.Start, error)
}

// errNoPlans: plans are left alone.
var errNoPlans = fmt.Errorf("plans are left alone here (serve --plan off, or a state directory that is only read): %w", lineage.ErrReadOnly)

// ApplyPlan implements the noun.
func (l Local) ApplyPlan(_ context.Context, ask planner.Ask) (*planner.Status, error) {
	if l.Planner == nil {
		return nil, errNoPlans
	}
	if ask.Owner == "" {
		ask.Owner = functions.DefaultOwner
	}
	return l.Planner.Apply(ask)
}

// Plans implements the noun.
func (l Local) Plans(context.Context) ([]*planner.Status, error) {
	if l.Planner == nil {
		why := "plans are left alone here (serve --plan off)"
		if l.Kept.Store.ReadOnly() {
			why = "the state directory is only read here: whoever holds it, a daemon (seussctl serve) or another command, knows more"
		}
		return planner.StatusIn(l.Kept.Store, why), nil
	}
	return l.Planner.Status("", true), nil
}

// DropPlan implements the noun.
func (l Local) DropPlan(_ context.Context, which planner.Which) error {
	if l.Planner == nil {
		return errNoPlans
	}
	if which.Owner == "" {
		which.Owner = functions.DefaultOwner
	}
	return l.Planner.Drop(which)
}

// FunctionStart implements the noun.
func (l Local) FunctionStart(_ context.Context, name string) (*planner.Start, error) {
	if l.Planner == nil {
		return &planner.Start{Packages: []string{}, Why: "plans are left alone here"}, nil
	}
	return l.Planner.Why(name)
}
