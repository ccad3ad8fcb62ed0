package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Cost is what importing one package costs, without what it depends on.
type Cost struct {
	MS  float64 // milliseconds
	MiB float64 // memory that stays
}

// Costs are those of packages, by column.
type Costs map[string]Cost

// ReadCosts reads either of two forms of one JSON document: package to {versions: {version: {cost:
// {ms, mb}}}}, of which everything else is ignored; or column to milliseconds.
func ReadCosts(r io.Reader) (Costs, error) {
	d := json.NewDecoder(io.LimitReader(r, maxDocument))
	costs := Costs{}
	err := eachKey(d, func(key string) error {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if raw[0] != '{' {
			column, err := Canonical(key)
			if err != nil {
				return err
			}
			var ms float64
			if err := json.Unmarshal(raw, &ms); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return costs.add(column, Cost{MS: ms})
		}
		var doc struct {
			Versions map[string]struct {
				Cost *struct {
					MS *float64 `json:"ms"`
					MB float64  `json:"mb"`
				} `json:"cost"`
			} `json:"versions"`
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		for version, v := range doc.Versions {
			column, err := Canonical(key + "==" + version)
			switch {
			case err != nil:
				return err
			case v.Cost == nil || v.Cost.MS == nil:
				continue // known, never measured: whoever asks for it gets an error
			}
			if err := costs.add(column, Cost{MS: *v.Cost.MS, MiB: v.Cost.MB}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return costs, nil
		}
		err = errors.New("there is something behind the JSON document")
	}
	return nil, fmt.Errorf("read costs of packages: %w", err)
}

// add takes a cost. One below zero is what a measurement of nothing gives, and counts as zero.
func (c Costs) add(column string, cost Cost) error {
	for _, x := range []float64{cost.MS, cost.MiB} {
		if math.IsNaN(x) || math.IsInf(x, 0) || x > 1e12 {
			return fmt.Errorf("%s costs %g", column, x)
		}
	}
	if len(c) > 4*MaxColumns {
		return fmt.Errorf("more than %d packages", 4*MaxColumns)
	}
	c[column] = Cost{MS: max(cost.MS, 0), MiB: max(cost.MiB, 0)}
	return nil
}

// Of returns what each column of a workload costs. It fails for packages whose cost is not known,
// and names them.
func (c Costs) Of(w *Workload) ([]Cost, error) {
	out := make([]Cost, len(w.Columns))
	var missing []string
	for i, column := range w.Columns {
		cost, ok := c[column]
		if !ok {
			missing = append(missing, column)
		}
		out[i] = cost
	}
	if n := len(missing); n > 0 {
		missing = slices.Clip(missing[:min(n, 3)])
		if n > 3 {
			missing = append(missing, fmt.Sprintf("%d more", n-3))
		}
		return nil, fmt.Errorf("no cost is known of %s: add them to the costs of packages, or leave out the functions that need them", strings.Join(missing, ", "))
	}
	return out, nil
}
