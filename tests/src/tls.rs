//! Certificates of an authority that only the test trusts, a program that speaks TLS in front of another one, and curl.
//! Knows what can be wrong with a certificate; refuses to know who should notice.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::certificate::{Certificate, KeyPin};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// The hosts of most certificates.
pub const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

/// How a certificate is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// In order.
    None,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// Nobody but itself signed it.
    SelfSigned,
    /// So it is, and it has the rights of an authority.
    OwnAuthority,
    /// Another authority of the same name signed it.
    Namesake,
}

/// A certificate and its key as PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// The key.
    pub key: String,
}

impl Pair {
    /// Its key, as it may be pinned.
    pub fn pin(&self) -> KeyPin {
        let der = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        Certificate::read(&der).expect("a certificate").key
    }

    /// Writes both into a folder, the key for its owner alone; where they are.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        // As renewals do: a new file under the same name.
        for (path, text, mode) in [(&cert, &self.cert, 0o644), (&key, &self.key, 0o600)] {
            let new = path.with_extension("new");
            std::fs::write(&new, text).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::rename(&new, path).unwrap();
        }
        (cert, key)
    }
}

/// An authority.
pub struct Authority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    /// A new one.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = TempDir::with_prefix("mreg-ca-").unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { name: name.to_owned(), issuer: Issuer::new(params, key), folder }
    }

    /// The file with its certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The same, as an argument.
    pub fn path(&self) -> String {
        self.file().display().to_string()
    }

    /// A certificate for these hosts.
    pub fn pair(&self, hosts: &[&str], fault: Fault) -> Pair {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        let (from, to) = match fault {
            Fault::None | Fault::SelfSigned | Fault::OwnAuthority | Fault::Namesake => (2020, 2090),
            Fault::Expired => (2020, 2021),
            Fault::NotYet => (2089, 2090),
        };
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let cert = match fault {
            Fault::SelfSigned => params.self_signed(&key),
            Fault::OwnAuthority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.self_signed(&key)
            }
            Fault::Namesake => params.signed_by(&key, &Self::new(&self.name).issuer),
            Fault::None | Fault::Expired | Fault::NotYet => params.signed_by(&key, &self.issuer),
        };
        Pair { cert: cert.unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A program that speaks TLS, and says what it hears to another one in clear.
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ends with this.
    _runtime: Runtime,
}

impl Front {
    /// In front of `behind`, with this certificate.
    pub fn start(pair: &Pair, behind: SocketAddr) -> Self {
        let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut heard = acceptor.accept(stream).await?;
                    let mut said = TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut heard, &mut said).await?;
                    Ok::<_, io::Error>(())
                });
            }
        });
        Self { address, _runtime: runtime }
    }

    /// Its address under the name that certificates are for.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

/// What curl says to these arguments, without its progress.
pub fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["-sS", "--max-time", "60"])
        .args(arguments)
        .output()
        .expect("curl is installed by tests/run")
}

/// The same, which must succeed; standard output as text.
#[track_caller]
pub fn curled(arguments: &[&str]) -> String {
    let output = curl(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs asynchronous work to its end.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
