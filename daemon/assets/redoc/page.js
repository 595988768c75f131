// A file of its own: the page's Content-Security-Policy runs no inline script.
"use strict";

// The reader's own fonts: the usual ones would come from another server.
const sans = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif";
const mono = "ui-monospace, 'Liberation Mono', 'DejaVu Sans Mono', monospace";

Redoc.init(
  "/openapi.json",
  {
    disableSearch: true, // its index runs in a worker made from a blob: address, which the policy refuses
    nativeScrollbars: true,
    theme: {
      typography: { fontFamily: sans, headings: { fontFamily: sans }, code: { fontFamily: mono } },
    },
  },
  document.getElementById("redoc"),
);
