package contracts

import "seuss/dispatcher/functions"

// OfRuntime returns the program that a function's code is which names one of AWS Lambda's
// runtimes for programs of their own; nil: the name is none of them.
func OfRuntime(name string) *functions.Program {
	for _, c := range all {
		for _, own := range c.LambdaRuntimes {
			if own == name {
				return &functions.Program{Contract: c.Name, Command: []string{c.Bootstrap}}
			}
		}
	}
	return nil
}
