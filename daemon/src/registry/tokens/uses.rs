//! When API tokens were last used: noted in memory on each request, and written down once an hour and at a stop, for all of
//! them in one commit. A request costs no write that way, and the log no entry for each; a crash forgets an hour at most.
//! Refuses to know who used a token, and for what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::audit::{Action, Target};
use common::token::TokenId;

use crate::registry::Inner;
use crate::registry::access::Caller;
use crate::registry::commit::Note;
use crate::store::records::Write;

/// Tokens whose use is noted between two commits; the use of others isn't. Some megabytes.
const NOTED_MAX: usize = 65_536;
/// Tokens of one commit.
const WRITTEN_AT_ONCE: usize = 1000;

/// Uses that are not written down yet: milliseconds since the epoch.
#[derive(Default)]
pub(crate) struct Uses(Mutex<HashMap<TokenId, i64>>);

impl Uses {
    /// Notes a use.
    pub(super) fn note(&self, id: &TokenId, at_ms: i64) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last_ms) = noted.get_mut(id) {
            *last_ms = at_ms.max(*last_ms);
        } else if noted.len() < NOTED_MAX {
            noted.insert(id.clone(), at_ms);
        }
    }

    /// The last use, where it is not written down yet.
    pub(super) fn last(&self, id: &TokenId) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// So many of those that are noted. They stay noted until they are [forgotten](Self::forget).
    fn some(&self) -> Vec<(TokenId, i64)> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.iter().take(WRITTEN_AT_ONCE).map(|(id, at_ms)| (id.clone(), *at_ms)).collect()
    }

    /// Forgets those that are written down, unless they were used again meanwhile.
    fn forget(&self, written: &[(TokenId, i64)]) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at_ms) in written {
            if noted.get(id) == Some(at_ms) {
                noted.remove(id);
            }
        }
        if noted.is_empty() {
            noted.shrink_to_fit();
        }
    }
}

impl Inner {
    /// Writes down what is noted. What can't be written stays noted.
    pub(crate) async fn write_token_uses(self: &Arc<Self>) {
        // Used again while they are written, they would never come to an end.
        let rounds = NOTED_MAX.div_ceil(WRITTEN_AT_ONCE);
        for _round in 0..rounds {
            let uses = self.token_uses.some();
            if uses.is_empty() {
                return;
            }
            let is_last = uses.len() < WRITTEN_AT_ONCE;
            let note = Note::event(Action::TokenUse, Target::new("token", "*")).with("tokens", uses.len());
            let written = uses.clone();
            let committed = self
                .commit(&Caller::system(), note, move |_records, _moment, _note| {
                    Ok(((), vec![Write::UseApiTokens(written)]))
                })
                .await;
            match committed {
                Ok(_done) => self.token_uses.forget(&uses),
                Err(failure) => {
                    let error = crate::error_chain(&failure.error);
                    tracing::debug!(error, "when API tokens were last used can't be written down; it is tried again");
                    return;
                }
            }
            if is_last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::token::TokenId;

    use super::{NOTED_MAX, Uses};

    /// The last use counts, what was used again stays, and memory has a bound.
    #[test]
    fn noted() {
        let uses = Uses::default();
        let id = |number| TokenId::new(1, number);
        uses.note(&id(0), 5);
        uses.note(&id(0), 3);
        assert_eq!((uses.last(&id(0)), uses.last(&id(1))), (Some(5), None));
        let written = uses.some();
        uses.note(&id(0), 9);
        uses.forget(&written);
        assert_eq!(uses.last(&id(0)), Some(9));
        uses.forget(&uses.some());
        assert_eq!(uses.last(&id(0)), None);
        for number in 0..=u32::try_from(NOTED_MAX).unwrap_or(u32::MAX) {
            uses.note(&id(number), 1);
        }
        assert_eq!(uses.last(&id(u32::try_from(NOTED_MAX).unwrap_or(u32::MAX))), None);
    }
}
