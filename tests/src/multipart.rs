//! `multipart/form-data` as curl writes it (RFC 7578), part by part in the order given.

/// A form in the making.
#[derive(Debug, Clone, Default)]
pub struct Form {
    octets: Vec<u8>,
}

/// The boundary; random enough not to be in a test's file.
pub const BOUNDARY: &str = "------------------------q8Xb2vTn41";

impl Form {
    /// An empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part with these header lines.
    #[must_use]
    pub fn part(mut self, headers: &str, body: &[u8]) -> Self {
        self.octets.extend_from_slice(format!("--{BOUNDARY}\r\n{headers}\r\n\r\n").as_bytes());
        self.octets.extend_from_slice(body);
        self.octets.extend_from_slice(b"\r\n");
        self
    }

    /// A text part.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.part(&format!("Content-Disposition: form-data; name=\"{name}\""), value.as_bytes())
    }

    /// A part named `file`. The file name is sent as curl does: quotes and backslashes escaped, the rest as it is.
    #[must_use]
    pub fn file(self, filename: &str, body: &[u8]) -> Self {
        let escaped = filename.replace('\\', "\\\\").replace('"', "\\\"");
        self.part(
            &format!(
                "Content-Disposition: form-data; name=\"file\"; filename=\"{escaped}\"\r\n\
                 Content-Type: application/octet-stream"
            ),
            body,
        )
    }

    /// The body, with its closing boundary.
    pub fn finish(mut self) -> Vec<u8> {
        self.octets.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.octets
    }

    /// The body without its closing boundary.
    pub fn cut(self) -> Vec<u8> {
        self.octets
    }

    /// The Content-Type of such a body.
    pub fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }
}
