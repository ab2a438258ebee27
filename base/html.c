#include "base/html.h"

void cp_html_escape(cp_strbuf *out, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '&':
            cp_strbuf_puts(out, "&amp;");
            break;
        case '<':
            cp_strbuf_puts(out, "&lt;");
            break;
        case '>':
            cp_strbuf_puts(out, "&gt;");
            break;
        case '"':
            cp_strbuf_puts(out, "&quot;");
            break;
        case '\'':
            cp_strbuf_puts(out, "&#39;");
            break;
        default:
            if ((unsigned char)*text >= ' ')
                cp_strbuf_putc(out, *text);
        }
}
