#include "bench/report_page.h"

#include "base/html.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#15191f;--soft:#56606d;"
    "--line:#dfe3e8;--axis:#9aa3ae;"
    "--c0:#2a78d6;--c1:#1baf7a;--c2:#d99500;--c3:#6a5acd;--c4:#e34948;--c5:#0f8c9c;--c6:#d6589a;"
    "--c7:#8a6d3b}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#101317;--card:#191d23;--ink:#edf0f4;"
    "--soft:#a2acb8;--line:#2c333c;--axis:#66707c;"
    "--c0:#4a94ea;--c1:#27b884;--c2:#d9a21b;--c3:#9a8df2;--c4:#ee6c6b;--c5:#35b3c4;--c6:#e57fb5;"
    "--c7:#bf9d66}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"
    "\"Segoe UI\",Roboto,\"Noto Sans\",\"DejaVu Sans\",sans-serif}\n"
    "main{max-width:1180px;margin:0 auto;padding:28px 16px 48px}\n"
    "h1{font-size:26px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}\n"
    "h2{font-size:16px;margin:0 0 2px}\n"
    "p{margin:0 0 10px;color:var(--soft);max-width:75ch}\n"
    ".sub{margin-bottom:18px}\n"
    ".facts,.grid{display:grid;gap:14px;margin:0 0 14px}\n"
    ".facts{grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}\n"
    ".grid{grid-template-columns:repeat(auto-fit,minmax(min(100%,360px),1fr))}\n"
    ".card{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:16px 18px;min-width:0}\n"
    ".fact{padding:10px 14px}\n"
    ".fact:first-child{grid-column:span 2}\n"
    ".fact b{display:block;font-size:17px;line-height:1.3;overflow-wrap:anywhere}\n"
    ".fact span{font-size:12.5px;color:var(--soft)}\n"
    ".card>p{font-size:13px;margin-bottom:8px}\n"
    "svg{display:block;width:100%;max-width:560px;height:auto;overflow:visible}\n"
    "svg text{fill:var(--ink);font-size:11.5px}\n"
    ".tick,.unit,.remark{fill:var(--soft)!important}\n"
    ".tick,.unit{font-size:11px!important}\n"
    ".group{font-size:12px!important;font-weight:600}\n"
    ".value{font-weight:600}.remark{font-weight:400}\n"
    ".grid line.grid,svg .grid{stroke:var(--line);stroke-width:1}\n"
    ".axis{stroke:var(--axis);stroke-width:1}\n"
    ".whisker{stroke:var(--ink);stroke-width:1.3;opacity:.75}\n"
    ".limit{stroke:var(--ink);stroke-width:2.2;stroke-dasharray:3 2}\n"
    "polyline{fill:none;stroke-width:2.2;stroke-linejoin:round}\n"
    ".again{stroke-dasharray:6 4}\n"
    ".dot{stroke:var(--card);stroke-width:1.5}\n"
    ".s0{fill:var(--c0)}.s1{fill:var(--c1)}.s2{fill:var(--c2)}.s3{fill:var(--c3)}"
    ".s4{fill:var(--c4)}.s5{fill:var(--c5)}.s6{fill:var(--c6)}.s7{fill:var(--c7)}\n"
    ".l0{stroke:var(--c0)}.l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}"
    ".l4{stroke:var(--c4)}.l5{stroke:var(--c5)}.l6{stroke:var(--c6)}.l7{stroke:var(--c7)}\n"
    ".wide{overflow-x:auto;margin-top:8px}\n"
    "table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:5px 10px;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}\n"
    "th{color:var(--soft);font-weight:600}\n"
    "th:first-child,td:first-child{text-align:left;padding-left:0}\n"
    "tr:last-child td{border-bottom:0}\n"
    "section{margin-bottom:14px}.grid>section{margin:0}\n"
    "code{font:12.5px/1.5 ui-monospace,\"DejaVu Sans Mono\",monospace;overflow-wrap:anywhere}\n"
    "footer p{font-size:13px}\n"
    "@media print{body{background:#fff}.card{break-inside:avoid}}\n";

void cp_page_escaped(cp_strbuf *out, const char *before, const char *text, const char *after) {
    cp_strbuf_puts(out, before);
    cp_html_escape(out, text);
    cp_strbuf_puts(out, after);
}

void cp_page_open(cp_strbuf *out, const char *title, const char *stamp, const char *note) {
    cp_strbuf_puts(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width, "
                        "initial-scale=1\">\n");
    cp_page_escaped(out, "<title>", title, "</title>\n<style>\n");
    cp_strbuf_puts(out, style);
    cp_strbuf_puts(out, "</style>\n</head>\n<body>\n<main>\n<header>\n");
    cp_page_escaped(out, "<h1>", title, "</h1>\n<p class=\"sub\">");
    cp_strbuf_puts(out, stamp);
    if (note)
        cp_page_escaped(out, " · ", note, "");
    cp_strbuf_puts(out, "</p>\n</header>\n");
}

void cp_page_close(cp_strbuf *out) {
    cp_strbuf_puts(out, "</main>\n</body>\n</html>\n");
}

void cp_page_open_facts(cp_strbuf *out) {
    cp_strbuf_puts(out, "<div class=\"facts\">\n");
}

void cp_page_fact(cp_strbuf *out, const char *value, const char *name) {
    cp_page_escaped(out, "<div class=\"card fact\"><b>", value, "</b>");
    cp_page_escaped(out, "<span>", name, "</span></div>\n");
}

void cp_page_close_facts(cp_strbuf *out) {
    cp_strbuf_puts(out, "</div>\n");
}

void cp_page_open_card(cp_strbuf *out, const char *title, const char *remark) {
    cp_page_escaped(out, "<section class=\"card\">\n<h2>", title, "</h2>\n");
    cp_page_escaped(out, "<p>", remark, "</p>\n");
}

void cp_page_close_card(cp_strbuf *out) {
    cp_strbuf_puts(out, "</section>\n");
}

void cp_page_open_table(cp_strbuf *out, const char *title, const char *const *heads, size_t n) {
    cp_page_escaped(out, "<section class=\"card\">\n<h2>", title,
                    "</h2>\n<div class=\"wide\"><table>\n<thead><tr>");
    for (size_t i = 0; i < n; i++)
        cp_page_escaped(out, "<th>", heads[i], "</th>");
    cp_strbuf_puts(out, "</tr></thead>\n<tbody>\n");
}

void cp_page_close_table(cp_strbuf *out) {
    cp_strbuf_puts(out, "</tbody>\n</table></div>\n</section>\n");
}

void cp_page_open_footer(cp_strbuf *out) {
    cp_strbuf_puts(out, "<footer class=\"card\">\n<h2>How this was measured</h2>\n");
}

void cp_page_close_footer(cp_strbuf *out, const char *command) {
    cp_page_escaped(out, "<p><code>", command, "</code></p>\n</footer>\n");
}
