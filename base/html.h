/* Text into HTML and SVG. */
#ifndef CP_BASE_HTML_H
#define CP_BASE_HTML_H

#include "base/strbuf.h"

/* Appends text with & < > " ' replaced and control characters left out: fit for text and
 * attributes. */
void cp_html_escape(cp_strbuf *out, const char *text);

#endif
