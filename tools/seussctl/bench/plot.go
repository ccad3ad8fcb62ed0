package bench

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
)

// Plot is charts below each other that share an axis, as an SVG document.
type Plot struct {
	Title, X string // caption; what the axis counts
	Charts   []Chart
}

// Chart is lines over the axis of a Plot.
type Chart struct {
	Y     string // what it shows, with the unit
	Lines []Line
}

// Line is points in the order of X. One point is drawn as a level across the chart: it
// depends on nothing that the axis counts.
type Line struct {
	Name   string
	Points []Point
}

// Point is of a line.
type Point struct{ X, Y float64 }

// Measures of a plot, in pixels.
const (
	plotWidth, chartHeight = 760.0, 300.0
	plotLeft, plotRight    = 70.0, 230.0 // the right one is for names
	plotTop, plotBottom    = 50.0, 50.0  // of each chart
)

// lineColors are those of Okabe and Ito, which colour-blind people tell apart.
var lineColors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}

// WriteSVG writes the plot. The axis is logarithmic, since sizes of trees double.
func (p *Plot) WriteSVG(w io.Writer) error {
	var b strings.Builder
	height := float64(len(p.Charts)) * (chartHeight + plotTop + plotBottom)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", plotWidth, height)
	text(&b, plotLeft, 20, `font-size="15"`, p.Title)
	for i, c := range p.Charts {
		c.draw(&b, p.X, float64(i)*(chartHeight+plotTop+plotBottom)+plotTop)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func text(b *strings.Builder, x, y float64, style, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>`, x, y, style)
	_ = xml.EscapeText(b, []byte(s)) // a Builder takes everything
	b.WriteString("</text>\n")
}

func (c *Chart) draw(b *strings.Builder, axis string, top float64) {
	least, most, high := math.Inf(1), math.Inf(-1), 0.0
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if len(l.Points) > 1 {
				least, most = min(least, p.X), max(most, p.X)
			}
			high = max(high, p.Y)
		}
	}
	if least >= most { // no line at all, or one size alone
		least, most = 1, 2
	}
	least = max(least, 1)
	step := niceStep(high)
	high = max(math.Ceil(high/step), 1) * step
	width := plotWidth - plotLeft - plotRight
	x := func(v float64) float64 { return plotLeft + width*math.Log(max(v, 1)/least)/math.Log(most/least) }
	y := func(v float64) float64 { return top + chartHeight*(1-v/high) }
	for v := 0.0; v <= high*1.001; v += step {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", plotLeft, y(v), plotLeft+width, y(v))
		text(b, plotLeft-6, y(v)+4, `text-anchor="end"`, fmt.Sprintf("%g", v))
	}
	marked := map[float64]bool{}
	for n, l := range c.Lines {
		color := lineColors[n%len(lineColors)]
		if len(l.Points) == 1 {
			at := y(l.Points[0].Y)
			fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-dasharray="6 4"/>`+"\n", plotLeft, at, plotLeft+width, at, color)
		} else if len(l.Points) > 1 {
			var path strings.Builder
			for i, p := range l.Points {
				fmt.Fprintf(&path, "%s%.1f %.1f", map[bool]string{true: "M", false: " L"}[i == 0], x(p.X), y(p.Y))
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(p.X), y(p.Y), color)
				if !marked[p.X] {
					marked[p.X] = true
					text(b, x(p.X), top+chartHeight+16, `text-anchor="middle"`, fmt.Sprintf("%g", p.X))
				}
			}
			fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", &path, color)
		}
		legend := top + 10 + 18*float64(n)
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="2"/>`+"\n", plotLeft+width+16, legend, plotLeft+width+36, legend, color)
		text(b, plotLeft+width+42, legend+4, "", l.Name)
	}
	text(b, plotLeft, top-10, "", c.Y)
	text(b, plotLeft+width/2, top+chartHeight+36, `text-anchor="middle"`, axis)
}

// niceStep divides an axis into four to ten parts of 1, 2 or 5 times a power of ten.
func niceStep(high float64) float64 {
	if high <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(high)))
	for _, part := range []float64{0.1, 0.2, 0.5, 1} {
		if high/(unit*part) <= 10 {
			return unit * part
		}
	}
	return unit
}
