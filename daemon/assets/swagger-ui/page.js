// A file of its own: the page's Content-Security-Policy runs no inline script.
"use strict";

SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "/openapi.json",
  layout: "BaseLayout", // no bar that loads another server's description
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  persistAuthorization: true, // a token outlives a reload of the page, until "Logout" in its Authorize box
  queryConfigEnabled: false, // a link must not be able to point the page at something else
  validatorUrl: null, // no badge from an outside validator
});
