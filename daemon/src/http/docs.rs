//! The pages `/docs` (Swagger UI) and `/redoc` (Redoc): every file of both, embedded.
//!
//! Knows each path, what is served there, and the policy under which a browser may run it. The list is closed: a path
//! is looked up, never joined to a directory, so there is nothing to traverse.
//! Refuses to know requests, responses and the description itself, which both pages fetch from `/openapi.json`.
//! Where the files come from, and how to upgrade them: `daemon/assets/README.md`.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// `Cache-Control` of every asset: kept by the browser, but asked about each time, so an upgrade shows at once.
pub const CACHE_CONTROL: &str = "no-cache";

/// `Content-Security-Policy` of `/docs` and its files: our own files, our own address, nothing inline.
///
/// - `img-src data:`: Swagger UI's icons lie in its style sheet.
/// - `connect-src 'self'`: `/openapi.json`, `POST /login`, and what "Try it out" calls.
const CSP_SWAGGER_UI: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `Content-Security-Policy` of `/redoc` and its files: as [`CSP_SWAGGER_UI`], and the two inline styles Redoc writes.
///
/// The first hash is that of the empty element which it then fills rule by rule, the second that of its scroll bars. An
/// upgrade may change the second: the browser's console then tells the new one.
const CSP_REDOC: &str = "default-src 'none'; script-src 'self'; style-src 'self' \
                         'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' \
                         'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; img-src 'self' data:; \
                         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file of a page, in the encoding its reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// `Content-Type`.
    pub content_type: &'static str,
    /// `Content-Encoding`, if any. Answers differ by it: send `Vary: Accept-Encoding`.
    pub content_encoding: Option<&'static str>,
    /// `Content-Security-Policy`.
    pub csp: &'static str,
    /// `ETag`, quoted and strong: another one for each encoding.
    pub etag: &'static str,
    /// The body.
    pub octets: &'static [u8],
}

/// The file at `path`, an absolute request path without query, such as `/docs` or `/redoc/page.js`.
///
/// `gzip` says whether the reader takes that encoding, see [`accepts_gzip`]. `None`: there is no such file.
/// The first reader of a large file without gzip pays for unpacking it, some 10 ms; the result is kept.
pub fn asset(path: &str, gzip: bool) -> Option<Asset> {
    let file = FILES.iter().find(|file| file.path == path)?;
    let [etag, etag_gzip] = file.etags();
    let (octets, etag, content_encoding) = match file.stored {
        Stored::Gzip(octets) if gzip => (octets, etag_gzip, Some("gzip")),
        Stored::Gzip(octets) => (file.unpacked.get_or_init(|| unpack(octets)).as_slice(), etag, None),
        Stored::Plain(octets) => (octets, etag, None),
    };
    Some(Asset { content_type: file.content_type, content_encoding, csp: file.csp, etag, octets })
}

/// Whether an `Accept-Encoding` field allows gzip (RFC 9110, section 12.5.3): named, or covered by `*`, and not at `q=0`.
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    let mut any = false;
    for choice in accept_encoding.split(',') {
        let mut parts = choice.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let refused = parts
            .filter_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")))
            .any(|q| q.parse() == Ok(0.0_f32));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return !refused;
        }
        any |= coding == "*" && !refused;
    }
    any
}

/// All there is. The large ones are kept compressed: two thirds of the program's share, and of every transfer, saved.
static FILES: [File; 10] = [
    File::swagger_ui("/docs", HTML, Stored::Plain(include_bytes!("../../assets/swagger-ui/index.html"))),
    File::swagger_ui("/docs/page.css", CSS, Stored::Plain(include_bytes!("../../assets/swagger-ui/page.css"))),
    File::swagger_ui("/docs/page.js", JAVASCRIPT, Stored::Plain(include_bytes!("../../assets/swagger-ui/page.js"))),
    File::swagger_ui(
        "/docs/favicon-32x32.png",
        PNG,
        Stored::Plain(include_bytes!("../../assets/swagger-ui/favicon-32x32.png")),
    ),
    File::swagger_ui(
        "/docs/swagger-ui.css",
        CSS,
        Stored::Gzip(include_bytes!("../../assets/swagger-ui/swagger-ui.css.gz")),
    ),
    File::swagger_ui(
        "/docs/swagger-ui-bundle.js",
        JAVASCRIPT,
        Stored::Gzip(include_bytes!("../../assets/swagger-ui/swagger-ui-bundle.js.gz")),
    ),
    File::redoc("/redoc", HTML, Stored::Plain(include_bytes!("../../assets/redoc/index.html"))),
    File::redoc("/redoc/page.css", CSS, Stored::Plain(include_bytes!("../../assets/redoc/page.css"))),
    File::redoc("/redoc/page.js", JAVASCRIPT, Stored::Plain(include_bytes!("../../assets/redoc/page.js"))),
    File::redoc(
        "/redoc/redoc.standalone.js",
        JAVASCRIPT,
        Stored::Gzip(include_bytes!("../../assets/redoc/redoc.standalone.js.gz")),
    ),
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const PNG: &str = "image/png";

/// The octets as they lie in the program.
#[derive(Clone, Copy)]
enum Stored {
    Plain(&'static [u8]),
    Gzip(&'static [u8]),
}

struct File {
    path: &'static str,
    content_type: &'static str,
    csp: &'static str,
    stored: Stored,
    /// Of `Stored::Gzip`, once somebody asked for it so.
    unpacked: OnceLock<Vec<u8>>,
    /// For the plain octets and for the compressed ones.
    etags: OnceLock<[String; 2]>,
}

impl File {
    const fn swagger_ui(path: &'static str, content_type: &'static str, stored: Stored) -> File {
        File { path, content_type, csp: CSP_SWAGGER_UI, stored, unpacked: OnceLock::new(), etags: OnceLock::new() }
    }

    const fn redoc(path: &'static str, content_type: &'static str, stored: Stored) -> File {
        File { path, content_type, csp: CSP_REDOC, stored, unpacked: OnceLock::new(), etags: OnceLock::new() }
    }

    fn etags(&self) -> &[String; 2] {
        self.etags.get_or_init(|| {
            let (Stored::Plain(octets) | Stored::Gzip(octets)) = self.stored;
            // 128 bits: enough to tell one upgrade's file from another's.
            let digest = hex::encode(&Sha256::digest(octets)[..16]);
            [format!("\"{digest}\""), format!("\"{digest}-gzip\"")]
        })
    }
}

fn unpack(gzip: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut octets).expect("an embedded file is whole: a test unpacks each");
    octets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{Asset, FILES, Sha256, Stored, accepts_gzip, asset};
    use sha2::Digest;

    const PAGES: [&str; 2] = ["/docs", "/redoc"];

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(asset(path, false).unwrap().octets).unwrap()
    }

    /// The values of `src` and `href` in a page.
    fn references(html: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for attribute in ["src=\"", "href=\""] {
            found.extend(html.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap()));
        }
        found
    }

    #[test]
    fn what_a_page_names_is_served() {
        for page in PAGES {
            let references = references(text(page));
            assert!(references.len() >= 4, "{page}: {references:?}");
            for path in references.into_iter().filter(|path| *path != "/openapi.json") {
                assert!(asset(path, true).is_some(), "{page} names {path}, which is not there");
            }
        }
    }

    #[test]
    fn every_file_is_named_by_a_page() {
        let named: Vec<&str> = PAGES.iter().flat_map(|page| references(text(page))).collect();
        for file in FILES.iter().filter(|file| !PAGES.contains(&file.path)) {
            assert!(named.contains(&file.path), "no page names {}", file.path);
        }
    }

    #[test]
    fn our_own_files_load_nothing_from_elsewhere() {
        for file in &FILES {
            if let Stored::Plain(octets) = file.stored
                && let Ok(text) = std::str::from_utf8(octets)
            {
                for address in ["http://", "https://", "\"//"] {
                    assert!(!text.contains(address), "{} contains {address}", file.path);
                }
            }
        }
        let redoc = text("/redoc/redoc.standalone.js");
        assert!(!redoc.contains("logo-mini.svg"), "Redoc's logo would come from its maker's server");
    }

    #[test]
    fn pages_need_no_inline_script() {
        for page in PAGES {
            let html = text(page);
            assert_eq!(html.matches("<script").count(), html.matches("<script src=\"/").count(), "{page}");
            for inline in [" onload=", " onclick=", "javascript:", "<style", " style="] {
                assert!(!html.contains(inline), "{page} contains {inline}");
            }
        }
    }

    #[test]
    fn only_what_is_listed_is_there() {
        for path in [
            "",
            "/",
            "docs",
            "/docs/",
            "/docs/nothing.js",
            "/docs/swagger-ui.css.gz",
            "/docs/../docs/page.js",
            "/docs/./page.js",
            "/docs//page.js",
            "/docs/%2e%2e/redoc",
            "/docs/../../src/main.rs",
            "/docs/..\\..\\src\\main.rs",
            "/docs/page.js\0",
            "/DOCS",
            "/redoc/../docs",
            "/etc/passwd",
        ] {
            for gzip in [false, true] {
                assert_eq!(asset(path, gzip), None, "{path:?}");
            }
        }
    }

    #[test]
    fn both_encodings_carry_the_same_file_under_different_tags() {
        for file in &FILES {
            let plain = asset(file.path, false).unwrap();
            let packed = asset(file.path, true).unwrap();
            assert_eq!(plain.content_encoding, None);
            assert!(!plain.octets.is_empty());
            for Asset { etag, csp, .. } in [&plain, &packed] {
                assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2, "{etag}");
                assert!(
                    csp.starts_with("default-src 'none';") && !csp.contains("http") && !csp.contains("unsafe"),
                    "{csp}"
                );
            }
            match packed.content_encoding {
                None => assert_eq!(plain, packed),
                Some(encoding) => {
                    assert_eq!(encoding, "gzip");
                    assert_ne!(plain.etag, packed.etag);
                    assert_eq!(super::unpack(packed.octets), plain.octets);
                }
            }
        }
    }

    #[test]
    fn vendored_files_are_those_of_the_readme() {
        let readme = include_str!("../../assets/README.md");
        for file in FILES.iter().filter(|file| matches!(file.stored, Stored::Gzip(_))) {
            let digest = hex::encode(Sha256::digest(asset(file.path, false).unwrap().octets));
            assert!(
                readme.contains(&digest),
                "{} has {digest}, which daemon/assets/README.md does not list",
                file.path
            );
        }
    }

    #[test]
    fn accept_encoding_is_read_as_the_standard_says() {
        for yes in
            ["gzip", "GZIP", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "*", "x-gzip", "br, *;q=0.1", "gzip; q=0.5"]
        {
            assert!(accepts_gzip(yes), "{yes}");
        }
        for no in
            ["", "identity", "br", "gzip;q=0", "gzip;q=0.000", "*;q=0", "gzip;q=0, *", "*, gzip;q=0", "gzipped", ","]
        {
            assert!(!accepts_gzip(no), "{no}");
        }
    }
}
