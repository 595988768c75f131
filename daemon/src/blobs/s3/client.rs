//! The client of the object store: where it is, how it is spoken to, who we are. Knows settings and the SDK; refuses to know
//! objects.
//!
//! TLS is rustls with aws-lc-rs, as everywhere. Who we are is decided in this order: the keys of the settings; else the
//! profile files, a web identity, a container's role, as AWS's own tools find them; and the instance's role only where that
//! is asked for, for it takes requests to a link-local address that many networks answer slowly or hostilely.

use std::io;
use std::path::Path;
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{Identity, S3Options};

/// For a connection to the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the first octet of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// For one try of a request, its body included: a part of the largest size at half a MiB a second.
pub(super) const TRY_TIMEOUT: Duration = Duration::from_secs(120);
/// Tries of a request, the first included.
const TRIES: u32 = 4;
/// Before the second try, at most; it doubles with each.
const BACKOFF: Duration = Duration::from_millis(200);
/// Before any try, at most.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A client for these options. Asks nobody yet.
pub(super) fn client(options: &S3Options) -> io::Result<Client> {
    let http = http_client(options)?;
    let region = Region::new(options.region.clone());
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .region(region.clone())
        .credentials_provider(credentials(options, http, region))
        .force_path_style(options.path_style)
        // We send a checksum of our own with each object, or none where the store takes none. The SDK's would come in
        // trailers, which some stores refuse; and what is read is compared with its digest, not with theirs.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(TRIES)
                .with_initial_backoff(BACKOFF)
                .with_max_backoff(BACKOFF_MAX),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .operation_attempt_timeout(TRY_TIMEOUT)
                .build(),
        )
        // A reader of ours may be slow for as long as it likes; who waits for octets has a limit of its own (`read.rs`).
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Ok(Client::from_conf(config.build()))
}

fn http_client(options: &S3Options) -> io::Result<SharedHttpClient> {
    if options.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
        return Ok(aws_smithy_http_client::Builder::new().build_http());
    }
    https_client(options.ca_file.as_deref())
}

fn https_client(ca_file: Option<&Path>) -> io::Result<SharedHttpClient> {
    let trusted = match ca_file {
        Some(path) => {
            let unreadable = |error| io::Error::other(format!("'{}' can't be read: {error}", path.display()));
            let pem = std::fs::read(path).map_err(unreadable)?;
            // The SDK panics at its first connection over what it can't parse.
            let parsed = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            if !parsed.is_ok_and(|parsed| !parsed.is_empty()) {
                let why = format!("'{}' holds no certificates in PEM", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            TrustStore::empty().with_pem_certificate(pem)
        }
        None => {
            if rustls_native_certs::load_native_certs().certs.is_empty() {
                let why = "this machine trusts no certificate authority; install ca-certificates, or name a file with \
                           MREG_S3_CA_FILE";
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
            TrustStore::default()
        }
    };
    let context = TlsContext::builder().with_trust_store(trusted).build().map_err(io::Error::other)?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https())
}

fn credentials(options: &S3Options, http: SharedHttpClient, region: Region) -> SharedCredentialsProvider {
    let asks_instance = match &options.identity {
        Identity::Given { key_id, secret, session_token } => {
            let token = session_token.as_ref().map(|token| token.expose().to_owned());
            let given = Credentials::new(key_id.expose(), secret.expose(), token, None, "settings");
            return SharedCredentialsProvider::new(given);
        }
        Identity::Found { asks_instance } => *asks_instance,
    };
    // Whoever gives out credentials is elsewhere than the store, and known to the authorities of this machine.
    let http = https_client(None).unwrap_or(http);
    let config = ProviderConfig::without_region().with_http_client(http).with_region(Some(region));
    let mut chain = CredentialsProviderChain::first_try(
        "profile",
        ProfileFileCredentialsProvider::builder().configure(&config).build(),
    )
    .or_else("web identity", WebIdentityTokenCredentialsProvider::builder().configure(&config).build())
    .or_else("container", EcsCredentialsProvider::builder().configure(&config).build());
    if asks_instance {
        chain = chain.or_else("instance", ImdsCredentialsProvider::builder().configure(&config).build());
    }
    SharedCredentialsProvider::new(chain)
}
