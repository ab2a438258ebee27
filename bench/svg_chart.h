/* Charts as inline SVG: horizontal bars in groups, lines, and curves of many points.
 *
 * Colours are classes (s0..s7, by series) that the page's style sheet defines, so one drawing
 * serves light and dark. A whisker shows the range of the runs. Drawings are 400 units wide and
 * scale to their column; texts are 11 to 12 units, to stay readable on a phone. Functions append to
 * a strbuf, whose failure the caller checks. */
#ifndef CP_BENCH_SVG_CHART_H
#define CP_BENCH_SVG_CHART_H

#include "base/strbuf.h"
#include "bench/statistics.h"

#include <stddef.h>

#define CP_CHART_SERIES 8 /* colours; more series begin again */
#define CP_CHART_POINTS 16

typedef struct cp_chart_bar {
    const char *group; /* heading above the first bar of a run with the same group; NULL for none */
    const char *label;
    const char *remark; /* after the value, or NULL */
    size_t series;
    cp_spread value; /* min = max: no whisker */
    double limit;    /* a mark at what the machine allows; 0 for none */
} cp_chart_bar;
void cp_svg_bars(cp_strbuf *out, const char *title, const char *unit, const cp_chart_bar *bars,
                 size_t n);

typedef struct cp_chart_line {
    const char *label;
    size_t series, n;
    double x[CP_CHART_POINTS]; /* ascending */
    cp_spread y[CP_CHART_POINTS];
} cp_chart_line;
/* x_ticks [n_ticks] are marked on the x axis; `even` puts them at equal distances. */
void cp_svg_lines(cp_strbuf *out, const char *title, const char *x_label, const char *y_label,
                  const double *x_ticks, size_t n_ticks, bool even, const cp_chart_line *lines,
                  size_t n);

typedef struct cp_chart_curve {
    const char *label;
    size_t series, n;
    const double *x, *y; /* [n], borrowed; x ascending; a NaN in y is a gap */
} cp_chart_curve;
/* From 0 upwards, and from 0 to the right; with log_x the x axis is logarithmic and begins at the
 * power of ten below the smallest x (at least 0.001; smaller ones are drawn there). */
void cp_svg_curves(cp_strbuf *out, const char *title, const char *x_label, const char *y_label,
                   bool log_x, const cp_chart_curve *curves, size_t n);

#endif
