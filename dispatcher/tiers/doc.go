// Package tiers keeps what starts are made of within budgets, tier by tier, as SOCK (ATC'18)
// has them: the handler (function and argument nodes), the imports (import nodes), and the
// packages that are installed (the layers of images, content-addressed, each there once).
//
// A tier's budget takes nothing of another tier's, but for one thing: a node cannot go while
// others hang on it, so an import node that goes takes the functions below it along; each is
// captured anew when it is next used. What is pinned, tagged or running stays, and a layer that
// an image names.
//
// Units: bytes. Ownership: who calls Fit has nothing else collect meanwhile. Locks:
// Packages.mu, a leaf.
package tiers
