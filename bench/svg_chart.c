#include "bench/svg_chart.h"

#include "base/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH      400.0
#define BAR_LEFT   8.0
#define BAR_RIGHT  388.0
#define BAR_H      14.0
#define LABEL_H    18.0
#define ROW_GAP    9.0
#define GROUP_H    27.0
#define AXIS_H     42.0
#define PLOT_LEFT  46.0
#define PLOT_RIGHT 388.0
#define PLOT_TOP   22.0
#define PLOT_H     190.0
#define LEGEND_H   18.0
#define LEGEND_TOP (PLOT_TOP + PLOT_H + 46)
#define MAX_TICKS  16
#define LEAST_LOG  0.001

/* A round distance (1, 2 or 5 times a power of ten) that cuts 0..largest into about four. */
static double tick_step(double largest) {
    if (!(largest > 0))
        return 1;
    double rough = largest / 4, power = pow(10, floor(log10(rough))), lead = rough / power;
    return power * (lead <= 1.0001 ? 1 : lead <= 2.0001 ? 2 : lead <= 5.0001 ? 5 : 10);
}

/* Three significant digits, without an exponent. */
static void put_number(cp_strbuf *out, double value) {
    double size = fabs(value);
    cp_strbuf_printf(out, "%.*f",
                     size >= 100 || size == 0 ? 0
                     : size >= 10             ? 1
                     : size >= 1              ? 2
                                              : 3,
                     value);
}

static void put_text(cp_strbuf *out, double x, double y, const char *css, const char *anchor,
                     const char *text) {
    cp_strbuf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, css,
                     anchor);
    cp_html_escape(out, text);
    cp_strbuf_puts(out, "</text>\n");
}

static void put_line(cp_strbuf *out, const char *css, double x1, double y1, double x2, double y2) {
    cp_strbuf_printf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
                     css, x1, y1, x2, y2);
}

static void open_svg(cp_strbuf *out, const char *title, double height) {
    cp_strbuf_printf(out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
                     "role=\"img\" aria-label=\"",
                     WIDTH, height);
    cp_html_escape(out, title);
    cp_strbuf_puts(out, "\">\n");
}

/* What one reads when pointing at a mark: label, median and range. */
static void put_hint(cp_strbuf *out, const char *label, const cp_spread *v, const char *unit) {
    cp_strbuf_puts(out, "<title>");
    cp_html_escape(out, label);
    cp_strbuf_puts(out, ": ");
    put_number(out, v->median);
    if (v->min < v->max) {
        cp_strbuf_puts(out, " (");
        put_number(out, v->min);
        cp_strbuf_puts(out, " to ");
        put_number(out, v->max);
        cp_strbuf_puts(out, ")");
    }
    cp_strbuf_putc(out, ' ');
    cp_html_escape(out, unit);
    cp_strbuf_puts(out, "</title>");
}

/* ---- bars ------------------------------------------------------------------------------------ */

static bool begins_group(const cp_chart_bar *bars, size_t i) {
    return bars[i].group && (i == 0 || strcmp(bars[i].group, bars[i - 1].group) != 0);
}

static double bars_height(const cp_chart_bar *bars, size_t n) {
    double height = 4;
    for (size_t i = 0; i < n; i++)
        height += (begins_group(bars, i) ? GROUP_H : 0) + LABEL_H + BAR_H + ROW_GAP;
    return height;
}

static void put_bar_axis(cp_strbuf *out, double bottom, double largest, double scale,
                         const char *unit) {
    double step = tick_step(largest);
    for (double x = 0; x <= largest * 1.0001; x += step) {
        char tick[32];
        snprintf(tick, sizeof tick, "%.12g", x);
        put_line(out, x > 0 ? "grid" : "axis", BAR_LEFT + x * scale, 0, BAR_LEFT + x * scale,
                 bottom + 4);
        put_text(out, BAR_LEFT + x * scale, bottom + 16, "tick", "middle", tick);
    }
    put_text(out, (BAR_LEFT + BAR_RIGHT) / 2, bottom + 34, "unit", "middle", unit);
}

static void put_whisker(cp_strbuf *out, double y, double from, double to) {
    put_line(out, "whisker", from, y, to, y);
    put_line(out, "whisker", from, y - 3.5, from, y + 3.5);
    put_line(out, "whisker", to, y - 3.5, to, y + 3.5);
}

/* At the right end of the label's line, where nothing drawn can meet it. */
static void put_value(cp_strbuf *out, const cp_chart_bar *bar, double y) {
    cp_strbuf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"value\" text-anchor=\"end\">",
                     BAR_RIGHT, y);
    put_number(out, bar->value.median);
    if (bar->remark) {
        cp_strbuf_puts(out, " <tspan class=\"remark\">");
        cp_html_escape(out, bar->remark);
        cp_strbuf_puts(out, "</tspan>");
    }
    cp_strbuf_puts(out, "</text>\n");
}

static void put_bar(cp_strbuf *out, const cp_chart_bar *bar, double y, double scale,
                    const char *unit) {
    double width = bar->value.median * scale, top = y + LABEL_H;
    put_text(out, BAR_LEFT + 3, y + 12, "label", "start", bar->label);
    put_value(out, bar, y + 12);
    cp_strbuf_printf(out,
                     "<rect class=\"s%zu\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" "
                     "rx=\"2\">",
                     bar->series % CP_CHART_SERIES, BAR_LEFT, top, width > 1 ? width : 1, BAR_H);
    put_hint(out, bar->label, &bar->value, unit);
    cp_strbuf_puts(out, "</rect>\n");
    if (bar->value.min < bar->value.max)
        put_whisker(out, top + BAR_H / 2, BAR_LEFT + bar->value.min * scale,
                    BAR_LEFT + bar->value.max * scale);
    if (bar->limit > 0)
        put_line(out, "limit", BAR_LEFT + bar->limit * scale, top - 1,
                 BAR_LEFT + bar->limit * scale, top + BAR_H + 2);
}

void cp_svg_bars(cp_strbuf *out, const char *title, const char *unit, const cp_chart_bar *bars,
                 size_t n) {
    double largest = 0, height = bars_height(bars, n), y = 4;
    for (size_t i = 0; i < n; i++) {
        double far = bars[i].limit > bars[i].value.max ? bars[i].limit : bars[i].value.max;
        largest = far > largest ? far : largest;
    }
    double scale = largest > 0 ? (BAR_RIGHT - BAR_LEFT) / largest : 0;
    open_svg(out, title, height + AXIS_H);
    put_bar_axis(out, height, largest, scale, unit);
    for (size_t i = 0; i < n; i++) {
        if (begins_group(bars, i)) {
            put_text(out, BAR_LEFT + 3, y + 18, "group", "start", bars[i].group);
            y += GROUP_H;
        }
        put_bar(out, &bars[i], y, scale, unit);
        y += LABEL_H + BAR_H + ROW_GAP;
    }
    cp_strbuf_puts(out, "</svg>\n");
}

/* ---- lines ----------------------------------------------------------------------------------- */

typedef struct plot {
    const double *ticks; /* of x */
    size_t n_ticks;
    bool even, logarithmic;
    double y_top; /* value at the plot's upper edge */
} plot;

static double place_x(const plot *p, double x) {
    double inset = 14, width = PLOT_RIGHT - PLOT_LEFT - 2 * inset, part = 0;
    double first = p->ticks[0], last = p->ticks[p->n_ticks - 1];
    if (p->even) {
        for (size_t i = 0; i < p->n_ticks; i++)
            if (p->ticks[i] <= x)
                part = p->n_ticks > 1 ? (double)i / (double)(p->n_ticks - 1) : 0.5;
    } else if (p->logarithmic) {
        part = x > first ? log(x / first) / log(last / first) : 0;
    } else {
        part = last > first ? (x - first) / (last - first) : 0.5;
    }
    return PLOT_LEFT + inset + part * width;
}

static double place_y(const plot *p, double y) {
    return PLOT_TOP + PLOT_H * (1 - y / p->y_top);
}

static void put_plot_axes(cp_strbuf *out, const plot *p, const char *x_label, const char *y_label) {
    double step = tick_step(p->y_top);
    char text[32];
    for (double y = 0; y <= p->y_top * 1.0001; y += step) {
        snprintf(text, sizeof text, "%.12g", y);
        put_line(out, y > 0 ? "grid" : "axis", PLOT_LEFT, place_y(p, y), PLOT_RIGHT, place_y(p, y));
        put_text(out, PLOT_LEFT - 6, place_y(p, y) + 4, "tick", "end", text);
    }
    for (size_t i = 0; i < p->n_ticks; i++) {
        double x = place_x(p, p->ticks[i]);
        snprintf(text, sizeof text, "%.12g", p->ticks[i]);
        put_line(out, "axis", x, PLOT_TOP + PLOT_H, x, PLOT_TOP + PLOT_H + 4);
        put_text(out, x, PLOT_TOP + PLOT_H + 16, "tick", "middle", text);
    }
    put_text(out, (PLOT_LEFT + PLOT_RIGHT) / 2, PLOT_TOP + PLOT_H + 34, "unit", "middle", x_label);
    put_text(out, 8, 12, "unit", "start", y_label);
}

static void put_series(cp_strbuf *out, const plot *p, const cp_chart_line *line,
                       const char *y_label) {
    size_t colour = line->series % CP_CHART_SERIES;
    cp_strbuf_printf(out, "<polyline class=\"l%zu%s\" points=\"", colour,
                     line->series >= CP_CHART_SERIES ? " again" : "");
    for (size_t i = 0; i < line->n; i++)
        cp_strbuf_printf(out, "%.1f,%.1f ", place_x(p, line->x[i]), place_y(p, line->y[i].median));
    cp_strbuf_puts(out, "\"/>\n");
    for (size_t i = 0; i < line->n; i++) {
        double x = place_x(p, line->x[i]);
        if (line->y[i].min < line->y[i].max)
            put_line(out, "whisker", x, place_y(p, line->y[i].min), x, place_y(p, line->y[i].max));
        cp_strbuf_printf(out, "<circle class=\"s%zu dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\">",
                         colour, x, place_y(p, line->y[i].median));
        put_hint(out, line->label, &line->y[i], y_label);
        cp_strbuf_puts(out, "</circle>\n");
    }
}

static void put_legend(cp_strbuf *out, double y, const char *label, size_t series) {
    cp_strbuf_printf(out,
                     "<rect class=\"s%zu\" x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"5\" "
                     "rx=\"2\"/>\n",
                     series % CP_CHART_SERIES, PLOT_LEFT, y + 4);
    put_text(out, PLOT_LEFT + 20, y + 11, "label", "start", label);
}

/* The round value at or above the largest. */
static double round_top(double largest) {
    double step = tick_step(largest);
    return largest > 0 ? step * ceil(largest / step) : 1;
}

void cp_svg_lines(cp_strbuf *out, const char *title, const char *x_label, const char *y_label,
                  const double *x_ticks, size_t n_ticks, bool even, const cp_chart_line *lines,
                  size_t n) {
    plot p = {.ticks = x_ticks, .n_ticks = n_ticks, .even = even};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < lines[i].n; k++)
            p.y_top = lines[i].y[k].max > p.y_top ? lines[i].y[k].max : p.y_top;
    p.y_top = round_top(p.y_top);
    open_svg(out, title, LEGEND_TOP + LEGEND_H * (double)n);
    put_plot_axes(out, &p, x_label, y_label);
    for (size_t i = 0; i < n; i++) {
        put_series(out, &p, &lines[i], y_label);
        put_legend(out, LEGEND_TOP + LEGEND_H * (double)i, lines[i].label, lines[i].series);
    }
    cp_strbuf_puts(out, "</svg>\n");
}

/* ---- curves ---------------------------------------------------------------------------------- */

static void put_curve(cp_strbuf *out, const plot *p, const cp_chart_curve *curve) {
    bool open = false;
    for (size_t i = 0; i < curve->n; i++) {
        bool gap = isnan(curve->y[i]);
        if (open && gap)
            cp_strbuf_puts(out, "\"/>\n");
        if (!open && !gap)
            cp_strbuf_printf(out, "<polyline class=\"l%zu\" points=\"",
                             curve->series % CP_CHART_SERIES);
        open = !gap;
        if (open)
            cp_strbuf_printf(out, "%.1f,%.1f ", place_x(p, curve->x[i]), place_y(p, curve->y[i]));
    }
    if (open)
        cp_strbuf_puts(out, "\"/>\n");
}

/* Round marks from 0 to the largest x, or powers of ten around all; returns their number. */
static size_t curve_ticks(const cp_chart_curve *curves, size_t n, bool log_x,
                          double ticks[MAX_TICKS]) {
    double least = INFINITY, most = 0, top, tick;
    size_t n_ticks = 0;
    for (size_t i = 0; i < n; i++)
        if (curves[i].n > 0) {
            least = fmin(least, curves[i].x[0]);
            most = fmax(most, curves[i].x[curves[i].n - 1]);
        }
    if (!log_x) {
        top = round_top(most);
        for (tick = 0; tick <= top * 1.0001 && n_ticks < MAX_TICKS; tick += tick_step(top))
            ticks[n_ticks++] = tick;
        return n_ticks;
    }
    least = pow(10, floor(log10(fmin(fmax(least, LEAST_LOG), 1e9))));
    ticks[n_ticks++] = least;
    do {
        ticks[n_ticks] = ticks[n_ticks - 1] * 10;
        n_ticks++;
    } while (n_ticks < MAX_TICKS && ticks[n_ticks - 1] < most);
    return n_ticks;
}

void cp_svg_curves(cp_strbuf *out, const char *title, const char *x_label, const char *y_label,
                   bool log_x, const cp_chart_curve *curves, size_t n) {
    double ticks[MAX_TICKS];
    plot p = {.ticks = ticks, .logarithmic = log_x};
    p.n_ticks = curve_ticks(curves, n, log_x, ticks);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < curves[i].n; k++)
            p.y_top = fmax(p.y_top, curves[i].y[k]); /* passes over NaN */
    p.y_top = round_top(p.y_top);
    open_svg(out, title, LEGEND_TOP + LEGEND_H * (double)n);
    put_plot_axes(out, &p, x_label, y_label);
    for (size_t i = 0; i < n; i++) {
        put_curve(out, &p, &curves[i]);
        put_legend(out, LEGEND_TOP + LEGEND_H * (double)i, curves[i].label, curves[i].series);
    }
    cp_strbuf_puts(out, "</svg>\n");
}
