package cmdline

import (
	"cmp"
	"fmt"

	"seuss/dispatcher/api"
)

// PrintDifference prints where memories differ, by region and, where symbols is not 0, by
// symbol.
func (e *Env) PrintDifference(sum *api.Difference, symbols int) error {
	if e.JSON {
		return e.PrintJSON(sum)
	}
	t := NewTable("REGION", ">PAGES", ">BYTES")
	for _, l := range sum.Regions {
		t.Row(l.Region, FormatPages(l.Pages), FormatPages(l.Bytes))
	}
	t.Row("all", FormatPages(sum.Pages), FormatPages(sum.Bytes))
	if err := t.Print(e.Stdout); err != nil || symbols == 0 || len(sum.Symbols) == 0 {
		return err
	}
	fmt.Fprintln(e.Stdout)
	t = NewTable("OBJECT", "SYMBOL", ">PAGES", ">BYTES")
	for _, l := range sum.Symbols {
		t.Row(l.Object, cmp.Or(l.Symbol, "-"), FormatPages(l.Pages), FormatPages(l.Bytes))
	}
	if err := t.Print(e.Stdout); err != nil {
		return err
	}
	if more := sum.SymbolsLeft; more > 0 {
		fmt.Fprintf(e.Stdout, "and %d more; see --symbols\n", more)
	}
	return nil
}
