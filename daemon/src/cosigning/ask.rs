//! One witness, one checkpoint: the exchanges of C2SP tlog-witness, from the log's side.
//!
//! Knows the request, the answers and what each says about the log; verifies a cosignature before anyone sees it. Speaks
//! HTTP/1.1 over TLS or clear TCP, follows no redirects, and bounds each exchange by [`EXCHANGE_TIMEOUT`] and
//! [`ANSWER_BYTES_MAX`]. Refuses to know when to ask, and what to do with the answer.

use std::time::Duration;

use bytes::Bytes;
use common::audit::{Note, Verifier, format_hashes, parse_decimal};
use common::tls::Connector;
use http::header;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::clock;
use crate::config::witness::Address;
use crate::registry::Registry;
use crate::registry::access::Caller;
use crate::store::PublishedCheckpoint;
use crate::witness::server::SIZE_TYPE;

/// For one exchange, from looking up the address to the last octet.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Octets of the longest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Exchanges in a row: the size to go out from may be learned, and may change once more in between.
const EXCHANGES_MAX: usize = 3;
/// How far a witness's clock may be from ours for its word to be taken, seconds.
pub const CLOCK_SKEW_MAX_S: u64 = 600;

/// What became of asking.
#[derive(Debug)]
pub struct Asked {
    /// What the witness says to have cosigned last, if that became known.
    pub size: Option<u64>,
    /// The cosignature, or why there is none.
    pub result: Result<Cosigned, Trouble>,
}

/// A cosignature that was verified.
#[derive(Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The line, with its newline.
    pub line: String,
    /// When the witness signed, seconds since the epoch, as it says.
    pub at_s: u64,
}

/// Why there is no cosignature. Nothing in it is the witness's own words: they would go into our log and status.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// It was not reached, or the exchange broke.
    #[error("can't be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer within 5 s")]
    Late,
    /// An answer that says no, or one that the protocol doesn't know.
    #[error("{0}")]
    Answer(String),
    /// Our own log could not be read for a proof.
    #[error("the proof for it can't be made; the diagnostics say why")]
    Proof,
    /// 409 with a size beyond the newest checkpoint.
    #[error("it cosigned {theirs} entries of this log, which has {ours}")]
    Beyond {
        /// What it cosigned.
        theirs: u64,
        /// What there is.
        ours: u64,
    },
    /// 409 although it was asked from the size it says.
    #[error("it cosigned another root of this log at {size} entries")]
    OtherRoot {
        /// The size of both.
        size: u64,
    },
    /// 422: the proof from its checkpoint to ours does not verify.
    #[error("its checkpoint of {old} entries is not the beginning of this log")]
    NotExtended {
        /// The size of its checkpoint.
        old: u64,
    },
}

impl Trouble {
    /// Whether it says that the log was rolled back or rewritten.
    pub fn contradicts(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late | Self::Answer(_) | Self::Proof => false,
            Self::Beyond { .. } | Self::OtherRoot { .. } | Self::NotExtended { .. } => true,
        }
    }
}

/// Who is asked.
pub struct Witness<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// Its key.
    pub key: &'a Verifier,
    /// The way to it in TLS; none: in clear.
    pub tls: Option<&'a Connector>,
}

/// Octets to and from a witness.
trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Octets for S {}

/// Asks a witness to cosign a checkpoint, going out from the size it cosigned last, `old`, which it may correct.
pub async fn cosign(
    registry: &Registry,
    caller: &Caller,
    witness: &Witness<'_>,
    checkpoint: &PublishedCheckpoint,
    old: u64,
) -> Asked {
    let mut old = if old > checkpoint.size { 0 } else { old };
    let mut size = None;
    for _ in 0..EXCHANGES_MAX {
        let proof = if old == 0 || old == checkpoint.size {
            Vec::new()
        } else {
            match registry.log_consistency(caller, old, checkpoint.size).await {
                Ok(proof) => proof,
                Err(error) => {
                    tracing::error!(error = crate::error_chain(&error), old, "the log's growth can't be proved");
                    return Asked { size, result: Err(Trouble::Proof) };
                }
            }
        };
        let body = format!("old {old}\n{}\n{}", format_hashes(&proof), checkpoint.note);
        let answer = match tokio::time::timeout(EXCHANGE_TIMEOUT, exchange(witness, body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(trouble)) => return Asked { size, result: Err(trouble) },
            Err(_elapsed) => return Asked { size, result: Err(Trouble::Late) },
        };
        match judge(&answer, witness.key, checkpoint, old) {
            Heard::Cosigned(cosigned) => return Asked { size: Some(checkpoint.size), result: Ok(cosigned) },
            Heard::Trouble(trouble) => return Asked { size, result: Err(trouble) },
            Heard::At(theirs) => {
                size = Some(theirs);
                if theirs > checkpoint.size {
                    // A newer checkpoint may have been published, and cosigned, by the time of this answer.
                    let ours = registry.checkpoints().borrow().size;
                    let trouble = if theirs > ours {
                        Trouble::Beyond { theirs, ours }
                    } else {
                        Trouble::Answer("it has cosigned a newer checkpoint already".to_owned())
                    };
                    return Asked { size, result: Err(trouble) };
                }
                old = theirs;
            }
        }
    }
    Asked { size, result: Err(Trouble::Answer("it names another size each time it is asked".to_owned())) }
}

/// An answer as it came.
struct Answer {
    status: StatusCode,
    is_size: bool,
    body: Bytes,
}

async fn exchange(witness: &Witness<'_>, body: String) -> Result<Answer, Trouble> {
    let unreachable = |error: &dyn std::error::Error| Trouble::Unreachable(crate::error_chain(error));
    let address = witness.address;
    let stream =
        TcpStream::connect((address.host.as_str(), address.port)).await.map_err(|error| unreachable(&error))?;
    let stream: Box<dyn Octets> = match witness.tls {
        None => Box::new(stream),
        Some(tls) => {
            let shaken = tls.connect(&address.host, stream).await;
            Box::new(shaken.map_err(|error| Trouble::Unreachable(error.in_our_words()))?)
        }
    };
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let request = Request::post(format!("{}/add-checkpoint", address.prefix))
        .header(header::HOST, &address.authority)
        .header(header::USER_AGENT, concat!("mregd/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| unreachable(&error))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let content_type = response.headers().get(header::CONTENT_TYPE).map(header::HeaderValue::as_bytes);
        let is_size = content_type.is_some_and(|value| {
            value.split(|octet| *octet == b';').next().is_some_and(|kind| kind.trim_ascii() == SIZE_TYPE.as_bytes())
        });
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Trouble::Answer(format!("its answer can't be read: {error}")))?.to_bytes();
        Ok(Answer { status, is_size, body })
    };
    // The connection is driven here, so that it ends with this exchange, however that ends.
    tokio::pin!(connection, answered);
    tokio::select! {
        answer = &mut answered => answer,
        ended = &mut connection => match ended {
            // What was read before the end may be all of the answer.
            Ok(()) => answered.await,
            Err(error) => Err(unreachable(&error)),
        },
    }
}

/// What an answer says.
enum Heard {
    Cosigned(Cosigned),
    /// It is at this size.
    At(u64),
    Trouble(Trouble),
}

fn judge(answer: &Answer, key: &Verifier, checkpoint: &PublishedCheckpoint, old: u64) -> Heard {
    let said = |text: &str| Heard::Trouble(Trouble::Answer(text.to_owned()));
    match answer.status.as_u16() {
        200 => match cosignature(&answer.body, key, &checkpoint.note) {
            Some(cosigned) => {
                let now_s = u64::try_from(clock::now_ms() / clock::SECOND_MS).unwrap_or(0);
                let skew_s = now_s.abs_diff(cosigned.at_s);
                if skew_s > CLOCK_SKEW_MAX_S {
                    return said("its clock and ours are more than 10 minutes apart");
                }
                Heard::Cosigned(cosigned)
            }
            None => said("its answer has no valid cosignature by the key that the policy has for it"),
        },
        409 => {
            let size = std::str::from_utf8(&answer.body).ok().and_then(|text| parse_decimal(text.strip_suffix('\n')?));
            match size.filter(|_| answer.is_size) {
                None => said("its 409 names no size"),
                Some(theirs) if theirs == old && old == checkpoint.size => {
                    Heard::Trouble(Trouble::OtherRoot { size: old })
                }
                Some(theirs) if theirs == old => said("it refuses to go on from the size it names itself (409)"),
                Some(theirs) => Heard::At(theirs),
            }
        }
        422 => Heard::Trouble(Trouble::NotExtended { old }),
        403 => said("it does not know this log's key (403); its administrators add the log's vkey"),
        404 => said("it does not watch this log (404); its administrators add the log's vkey"),
        status @ 300..=399 => said(&format!("it redirects ({status}), which is not followed; correct its address")),
        status => said(&format!("it answers {status}")),
    }
}

/// The first valid cosignature by this key among an answer's lines. Others are passed over (C2SP tlog-witness).
fn cosignature(body: &[u8], key: &Verifier, note: &str) -> Option<Cosigned> {
    let text = Note::parse(note.as_bytes()).ok()?.text();
    std::str::from_utf8(body).ok()?.split_inclusive('\n').find_map(|line| {
        let cosigned = format!("{text}\n{line}");
        let signatures = Note::parse(cosigned.as_bytes()).ok()?.verify(std::slice::from_ref(key)).ok()?;
        let at_s = signatures.first()?.cosigned_at?;
        Some(Cosigned { line: line.to_owned(), at_s })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use bytes::Bytes;
    use common::audit::{Checkpoint, Cosigner, Ed25519Signer, Hash};
    use http::StatusCode;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert, proptest};

    use super::{Answer, Heard, Trouble, judge};
    use crate::clock;
    use crate::store::PublishedCheckpoint;

    fn published() -> PublishedCheckpoint {
        let signer = Ed25519Signer::from_seed("log", &[1; 32]).unwrap();
        let checkpoint = Checkpoint { origin: "log".into(), size: 8, root: Hash([8; 32]) };
        PublishedCheckpoint { size: 8, root: Hash([8; 32]), note: checkpoint.sign(&[&signer]).unwrap() }
    }

    fn witness(seed: u8) -> Cosigner {
        Cosigner::from_seed("w", &[seed; 32]).unwrap()
    }

    fn heard(status: u16, is_size: bool, body: impl Into<Bytes>, old: u64) -> Heard {
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), is_size, body: body.into() };
        judge(&answer, witness(2).verifier(), &published(), old)
    }

    fn line(seed: u8, skew_s: i64) -> String {
        let now_s = clock::now_ms() / clock::SECOND_MS + skew_s;
        let note = published().note;
        let text = format!("{}\n", note.split_once("\n\n").unwrap().0);
        witness(seed).cosign(&text, u64::try_from(now_s).unwrap())
    }

    /// A valid line counts wherever it stands, and nothing else does.
    #[test]
    fn cosignatures() {
        let good = line(2, 0);
        for body in [good.clone(), line(3, 0) + &good, format!("— x AAAAAAAA\n{good}\nnonsense\n")] {
            assert!(matches!(heard(200, false, body, 8), Heard::Cosigned(cosigned) if cosigned.line == good));
        }
        let cut = good[..good.len() - 1].to_owned();
        for body in [String::new(), "\n".to_owned(), line(3, 0), cut, line(2, -700), line(2, 700)] {
            assert!(matches!(heard(200, false, body, 8), Heard::Trouble(Trouble::Answer(_))));
        }
    }

    /// What each refusal says about the log.
    #[test]
    fn refusals() {
        assert!(matches!(heard(409, true, "5\n", 0), Heard::At(5)));
        assert!(matches!(heard(409, true, "9\n", 0), Heard::At(9)));
        assert!(matches!(heard(409, true, "8\n", 8), Heard::Trouble(Trouble::OtherRoot { size: 8 })));
        assert!(matches!(heard(422, false, "", 5), Heard::Trouble(Trouble::NotExtended { old: 5 })));
        for (status, is_size, body) in [
            (409, true, "5\n"),
            (409, false, "6\n"),
            (409, true, "6"),
            (409, true, "06\n"),
            (409, true, "-6\n"),
            (409, true, ""),
            (302, false, ""),
            (400, false, ""),
            (403, false, ""),
            (404, false, ""),
            (503, false, ""),
        ] {
            assert!(matches!(heard(status, is_size, body, 5), Heard::Trouble(Trouble::Answer(_))), "{status} {body:?}");
        }
    }

    proptest! {
        /// No answer upsets the log, and none that was not signed counts.
        #[test]
        fn hostile_answers(status in 100_u16..1000, is_size: bool, body in vec(any::<u8>(), 0..200)) {
            prop_assert!(!matches!(heard(status, is_size, body, 5), Heard::Cosigned(_)));
        }
    }
}
