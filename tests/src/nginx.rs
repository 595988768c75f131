//! A real nginx with the sample of `systemd/` as its configuration, in front of one daemon or several. It is the machine's
//! package; where that is missing, tests fail and say so.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::daemon::workspace;
use crate::tls::{Authority, Fault, HERE, curl, curled};
use crate::wait;

/// A running nginx. It ends with this.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    ca: Authority,
    port: u16,
}

impl Nginx {
    /// One that ends TLS in front of a daemon, and may send its blobs.
    pub fn in_tls(upstream: &str, blobs: &Path) -> Self {
        Self::start(&[upstream.to_owned()], Some(blobs))
    }

    /// One in clear text in front of several daemons, which it asks in turn.
    pub fn in_clear(upstreams: &[String]) -> Self {
        Self::start(upstreams, None)
    }

    fn start(upstreams: &[String], blobs: Option<&Path>) -> Self {
        let program = Path::new("/usr/sbin/nginx");
        assert!(program.exists(), "nginx is missing: tests/run --prepare installs it, or names it");
        let ca = Authority::new("an authority");
        let folder = TempDir::with_prefix("mreg-nginx-").unwrap();
        let (cert, key) = ca.pair(&HERE, Fault::None).write(folder.path());
        let sample = fs::read_to_string(workspace().join("systemd/nginx.conf.sample")).unwrap();
        let servers: Vec<String> = upstreams.iter().map(|upstream| format!("server {upstream};")).collect();
        // nginx can't say which port it got: one that was free a moment ago, and another if it no longer is.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let kind = if blobs.is_some() { " ssl http2" } else { "" };
        let mut site = sample.clone();
        for (there, here) in [
            ("server 127.0.0.1:8000;", servers.join(" ")),
            ("listen 443 ssl http2;", format!("listen 127.0.0.1:{port}{kind};")),
            ("/etc/mregd/tls/fullchain.pem", cert.display().to_string()),
            ("/etc/mregd/tls/privkey.pem", key.display().to_string()),
            ("/var/lib/mregd/blobs/", format!("{}/", blobs.unwrap_or(folder.path()).display())),
        ] {
            assert!(site.contains(there), "the sample has {there}");
            site = site.replace(there, &here);
        }
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.path().display()))
            .concat();
        let at = folder.path().display();
        let whole = format!(
            "pid {at}/pid;\nerror_log {at}/error.log info;\nevents {{}}\nhttp {{\naccess_log {at}/access.log;\n{temp}{site}}}\n"
        );
        fs::write(folder.path().join("nginx.conf"), whole).unwrap();
        let conf = folder.path().join("nginx.conf").display().to_string();
        let log = folder.path().join("error.log").display().to_string();
        let child = Command::new(program)
            .args(["-p", &at.to_string(), "-c", &conf, "-e", &log, "-g", "daemon off; master_process off;"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Self { child, folder, ca, port };
        let answers = wait::until("nginx to answer", || {
            if nginx.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            nginx.answers(blobs.is_some()).then_some(true)
        });
        if answers {
            return nginx;
        }
        let told = nginx.error_log();
        assert!(told.contains("Address already in use"), "nginx ended: {told}");
        Self::start(upstreams, blobs)
    }

    fn answers(&self, in_tls: bool) -> bool {
        if in_tls {
            return curl(&["-f", "--cacert", &self.ca.path(), &self.url("/livez")]).status.success();
        }
        TcpStream::connect(self.address()).is_ok()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// A target behind it, in TLS.
    pub fn url(&self, target: &str) -> String {
        format!("https://localhost:{}{target}", self.port)
    }

    /// What curl is told by it, in TLS.
    pub fn curl(&self, arguments: &[&str]) -> String {
        curled(&[&["--cacert", &self.ca.path()], arguments].concat())
    }

    /// The authority behind its certificate.
    pub fn ca(&self) -> &Authority {
        &self.ca
    }

    /// A folder of its own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it complained of.
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("nginx said:\n{}", self.error_log());
        }
    }
}
