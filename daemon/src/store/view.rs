//! Records as keys and values: the layout of the view, how a change is applied to it, and how it is read. All of it is
//! derived from the journal: the same changes in the same order give the same octets.
//!
//! One tree, so that a batch is applied by one atomic `sled::Batch`. The first octet of a key is its space:
//!
//! | space | key | value |
//! |---|---|---|
//! | `u` | user name | `UserRecord` |
//! | `U` | user id | user name |
//! | `s` | session id | `SessionRecord` |
//! | `S` | user id, 0, session id | – |
//! | `m` | model id | `ModelRecord` |
//! | `n` | folded model name | model id |
//! | `r` | changed at, model id | – |
//! | `t` | tag key, 0, tag value, 0, folded model name | model id |
//! | `t` | 1, facet, 0, value, 0, folded model name | model id: what `facets` says of it, found as tags are |
//! | `T` | tag or facet as in `t`, or an element type | how many models have it that are neither deleted nor purged |
//! | `X` | where a block of folded names begins | which texts its models may have (`view/search.rs`) |
//! | `x` | restorable until, model id | – |
//! | `v` | model id, version | `VersionRecord` |
//! | `d` | digest, model id, version | – |
//! | `a` | model id, alias, 0, entry index | `AliasEventRecord` |
//! | `b` | digest | `BlobRecord` |
//! | `D` | digest | `DamageRecord` |
//! | `C` | – | how many of those hold versions back |
//! | `i` | idempotency key | `IdempotencyRecord` |
//! | `I` | at, idempotency key | – |
//! | `h` | chain, value | [`Head`] |
//! | `e` | chain, octets of the value, value, entry index | – : every 256th entry of a chain |
//! | `c` | – | `Counters` |
//! | `k` | – | `LogKeysRecord` |
//! | `R` | – | `RulesetRecord` |
//! | `g` | item of the drop folder | `IngestRecord` |
//! | `G` | – | `IntakeRecord` |
//! | `w` | ruleset, 0, model id, version | – : versions that are not deleted, by the rules they were inspected with |
//! | `W` | ruleset | how many those are |
//! | `q` | 0 or 1 if blocked, held since, model id, version | – : versions in quarantine |
//! | `Q` | 0 or 1 if blocked | how many those are, without those of deleted models |
//! | `Q` | 0 or 1 if blocked, model id | how many those of a model are |
//! | `N` | model id, version, entry index | `ReviewNoteRecord` |
//! | `A` | model id, version | `ApprovalRecord`s |
//! | `P` | user id | `SenderRecord` |
//! | `K` | API token id | `ApiTokenRecord` |
//! | `L` | user id, 0, API token id | – |
//! | `L` | – | how many of those there are |
//! | `H` | webhook | `WebhookRecord` |
//! | `j` | webhook | `WebhookProgressRecord` |
//! | `E` | user id | `GrantRecord`s |
//! | `O` | user id | `SecondFactorRecord` |
//! | `F` | `n` or `u`, namespace or user id | `QuotaRecord` |
//! | `f` | `n` or `u`, namespace or user id | `UsageRecord`: what is not purged of it |
//! | `f` | `m`, model id | `UsageRecord` of the model's versions |
//! | `Y` | name of a rule | `RetentionRuleRecord` |
//! | `y` | restorable until, model id, version | – : deleted versions |
//! | `V` | feature, 0, model id | – : models with a version that is not deleted and has this feature (`view/features.rs`) |
//! | `B` | feature | how many of those models are neither deleted nor purged |
//! | `p` | model id, feature | how many versions of the model that are not deleted have it |
//! | `z` | – | [`Applied`] |
//!
//! Numbers in keys are big-endian, so that keys sort as they do.

mod features;
mod search;

pub(crate) use self::search::words;

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use common::api::State;
use common::digest::Digest;
use common::name::{Alias, HookId, ItemId, ModelId, ModelName, UserName, Version};
use common::role::Role;
use common::token::TokenId;
use serde::{Deserialize, Serialize};

use crate::store::codec::{decode, encode};
use crate::store::overlay::{Kv, Overlay, prefix_end, prefixed};
use crate::store::records::{
    Account, AliasEventRecord, ApiTokenRecord, ApprovalRecord, BlobRecord, Counters, DamageRecord, GrantRecord,
    IdempotencyRecord, IngestRecord, IntakeRecord, LogKeysRecord, ModelRecord, QuotaRecord, RetentionRuleRecord,
    ReviewDecision, ReviewNoteRecord, RulesetRecord, SecondFactorRecord, SenderRecord, SessionRecord, UsageRecord,
    UserRecord, VersionRecord, WebhookProgressRecord, WebhookRecord, Write,
};
use crate::store::{
    Feature, ModelPage, ModelQuery, ModelSort, ModelUnlike, Moment, Read, Records, StoreError, VersionKey,
};

/// How many rows one page may look at.
pub const SCAN_ROWS_MAX: usize = 5_000;
/// How many rows are looked at to say how many match in all, where no counter says it.
const COUNT_ROWS_MAX: usize = 1_000;
/// Keys that are looked at in the time of one record.
const RECORD_KEYS: usize = 16;
/// Ids of models that are held while a page is found: 16 octets each, and some for the set.
const KNOWN_IDS_MAX: usize = 20_000;
/// Models of a tag that are read and sorted, rather than looked for in an order by time.
const SORTED_ROWS_MAX: usize = 1_000;
/// How long an idempotency key is remembered, in milliseconds: 24 hours.
pub const IDEMPOTENCY_MS: i64 = 24 * 3600 * 1000;
/// How many expired idempotency keys each new one removes.
const IDEMPOTENCY_PRUNED: usize = 4;

/// How far the view has come, and which log it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Entries applied.
    pub size: u64,
    /// Leaf hash of entry 0.
    pub genesis: [u8; 32],
}

/// The end of a chain of entries that share a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Index of the last one.
    pub last: u64,
    /// How many there are.
    pub count: u64,
}

/// The chains along which entries are found. Each row of the entries' index names the entry before it in each chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// Same subject (audit-log.md §1, `prev`).
    Target,
    /// Same actor, by name.
    Actor,
    /// Same action.
    Action,
    /// Same outcome.
    Outcome,
    /// Same client address.
    Ip,
}

impl Chain {
    /// All of them; the position is the column in the entries' index.
    pub const ALL: [Self; 5] = [Self::Target, Self::Actor, Self::Action, Self::Outcome, Self::Ip];
}

fn key(space: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(space);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Times before 1970 don't occur; a broken clock must not break the order.
fn time(ms: i64) -> [u8; 8] {
    u64::try_from(ms).unwrap_or(0).to_be_bytes()
}

fn id(id: ModelId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn item(id: ItemId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn hook(id: HookId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

fn number(version: Version) -> [u8; 4] {
    version.number().to_be_bytes()
}

fn model_id(octets: &[u8]) -> Read<ModelId> {
    let octets: [u8; 16] = octets
        .try_into()
        .map_err(|_length| StoreError::Corrupt("a model id in the view is not 16 octets".to_owned()))?;
    Ok(ModelId::from_u128(u128::from_be_bytes(octets)))
}

fn chain_octet(chain: Chain) -> u8 {
    match chain {
        Chain::Target => b't',
        Chain::Actor => b'a',
        Chain::Action => b'c',
        Chain::Outcome => b'o',
        Chain::Ip => b'i',
    }
}

fn head_key(chain: Chain, value: &str) -> Vec<u8> {
    key(b'h', &[&[chain_octet(chain)], value.as_bytes()])
}

/// Entries of a chain from one mark to the next.
const MARK_EACH: u64 = 256;

/// Where the marks of a chain are: by them a chain is entered anywhere.
fn mark_key(chain: Chain, value: &str, index: Option<u64>) -> Vec<u8> {
    // Octets of a value are bounded by those of a leaf.
    let octets = u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes();
    let index = index.map(u64::to_be_bytes);
    let index = index.as_ref().map_or(&[][..], |index| &index[..]);
    key(b'e', &[&[chain_octet(chain)], &octets, value.as_bytes(), index])
}

/// The oldest mark of a chain that is not below an index.
pub fn chain_mark(kv: &(impl Kv + ?Sized), chain: Chain, value: &str, index: u64) -> Read<Option<u64>> {
    let to = prefix_end(&mark_key(chain, value, None));
    let from = Bound::Included(mark_key(chain, value, Some(index)));
    let Some((at, _nothing)) = kv.range(from, to, false).next().transpose()? else { return Ok(None) };
    let octets = at.last_chunk::<8>();
    octets
        .map(|octets| Some(u64::from_be_bytes(*octets)))
        .ok_or_else(|| StoreError::Corrupt("the mark of a chain in the view is too short".to_owned()))
}

/// The values of a chain that begin so; none where there are more than `most`.
pub fn heads_with_prefix(
    kv: &(impl Kv + ?Sized),
    chain: Chain,
    prefix: &str,
    most: usize,
) -> Read<Option<Vec<String>>> {
    let mut values = Vec::new();
    for pair in prefixed(kv, &head_key(chain, prefix), false) {
        if values.len() == most {
            return Ok(None);
        }
        values.push(text_of(pair?.0.get(2..))?);
    }
    Ok(Some(values))
}

/// The kinds of subjects that the log has entries of; none where there are more than `most`.
pub fn subject_kinds(kv: &(impl Kv + ?Sized), most: usize) -> Read<Option<Vec<String>>> {
    let all = head_key(Chain::Target, "");
    let mut kinds = Vec::new();
    let mut from = Bound::Included(all.clone());
    while let Some(pair) = kv.range(from, prefix_end(&all), false).next() {
        if kinds.len() == most {
            return Ok(None);
        }
        let subject = text_of(pair?.0.get(2..))?;
        let kind = subject.split('/').next().unwrap_or_default().to_owned();
        // What stands behind a slash, in the order of octets.
        from = Bound::Included(head_key(Chain::Target, &format!("{kind}0")));
        kinds.push(kind);
    }
    Ok(Some(kinds))
}

fn text_of(octets: Option<&[u8]>) -> Read<String> {
    let text = octets.and_then(|octets| std::str::from_utf8(octets).ok());
    text.map(str::to_owned).ok_or_else(|| StoreError::Corrupt("a chain's key in the view is no text".to_owned()))
}

/// The name of the user who has an id.
pub fn user_name(kv: &(impl Kv + ?Sized), id: &str) -> Read<Option<String>> {
    let name = kv.get(&key(b'U', &[id.as_bytes()]))?;
    name.map(|name| text_of(Some(&name))).transpose()
}

/// The end of a chain.
pub fn head(kv: &(impl Kv + ?Sized), chain: Chain, value: &str) -> Read<Option<Head>> {
    record(kv, &head_key(chain, value))
}

/// How far the view has come; none if it is empty.
pub fn applied(kv: &(impl Kv + ?Sized)) -> Read<Option<Applied>> {
    record(kv, b"z")
}

/// The log's name and keys; none while they are those of its first entry.
pub fn log_keys(kv: &(impl Kv + ?Sized)) -> Read<Option<LogKeysRecord>> {
    record(kv, b"k")
}

fn record<T: serde::de::DeserializeOwned>(kv: &(impl Kv + ?Sized), key: &[u8]) -> Read<Option<T>> {
    kv.get(key)?.map(|octets| decode(&octets)).transpose()
}

// ---- applying -------------------------------------------------------------------------------------------------------

/// Notes how far the view has come.
pub fn set_applied(overlay: &mut Overlay<'_>, applied: &Applied) -> Read<()> {
    overlay.put(b"z".to_vec(), encode(applied)?);
    Ok(())
}

/// Moves the end of a chain to an entry and returns the one before it.
pub fn advance_head(overlay: &mut Overlay<'_>, chain: Chain, value: &str, index: u64) -> Read<Option<u64>> {
    let key = head_key(chain, value);
    let before: Option<Head> = record(overlay, &key)?;
    let head = Head { last: index, count: before.map_or(0, |head| head.count) + 1 };
    overlay.put(key, encode(&head)?);
    if head.count.is_multiple_of(MARK_EACH) {
        overlay.put(mark_key(chain, value, Some(index)), Vec::new());
    }
    Ok(before.map(|head| head.last))
}

/// Applies a change. `released` gains the blobs whose last reference went.
pub fn apply(overlay: &mut Overlay<'_>, writes: &[Write], moment: Moment, released: &mut Vec<Digest>) -> Read<()> {
    let before = counters(overlay)?;
    let mut counts = before;
    for write in writes {
        match write {
            Write::PutUser(user) => put_user(overlay, user, &mut counts)?,
            Write::DeleteUser { name } => delete_user(overlay, name, &mut counts)?,
            Write::PutSession(session) => {
                overlay.put(key(b's', &[session.sid.as_bytes()]), encode(session)?);
                overlay.put(key(b'S', &[session.user_id.as_bytes(), b"\0", session.sid.as_bytes()]), Vec::new());
            }
            Write::DeleteSession { sid } => {
                let at = key(b's', &[sid.as_bytes()]);
                if let Some(session) = record::<SessionRecord>(overlay, &at)? {
                    overlay.delete(key(b'S', &[session.user_id.as_bytes(), b"\0", sid.as_bytes()]));
                    overlay.delete(at);
                }
            }
            Write::PutModel(model) => put_model(overlay, model, &mut counts)?,
            Write::PutVersion(version) => put_version(overlay, version)?,
            Write::DeleteVersion { model, version } => {
                let at = key(b'v', &[&id(*model), &number(*version)]);
                if let Some(old) = record::<VersionRecord>(overlay, &at)? {
                    forget_digests(overlay, &old);
                    index_version(overlay, Some(&old), None)?;
                    index_deletion(overlay, Some(&old), None);
                    features::index(overlay, Some(&old), None)?;
                    count_usage(overlay, Some(&old), None)?;
                    forget_review(overlay, *model, *version)?;
                    overlay.delete(at);
                }
            }
            Write::AppendAliasEvent { model, alias, event } => {
                let at = key(b'a', &[&id(*model), alias.as_str().as_bytes(), b"\0", &event.index.to_be_bytes()]);
                overlay.put(at, encode(event)?);
            }
            Write::SetBlob { digest, size, refs } => set_blob(overlay, digest, *size, *refs, &mut counts, released)?,
            Write::PutIdempotency { key: name, record } => put_idempotency(overlay, name, record, moment)?,
            Write::PutLogKeys(keys) => overlay.put(b"k".to_vec(), encode(keys)?),
            Write::PutRuleset(ruleset) => overlay.put(b"R".to_vec(), encode(ruleset)?),
            Write::RenewInspections { ruleset, versions } => {
                for (model, version) in versions {
                    renew_inspection(overlay, *model, *version, ruleset, moment)?;
                }
            }
            Write::PutDamage { digest, damage } => set_damage(overlay, digest, Some(damage))?,
            Write::DeleteDamage { digest } => set_damage(overlay, digest, None)?,
            Write::PutIngest(ingest) => overlay.put(key(b'g', &[&item(ingest.item)]), encode(ingest)?),
            Write::DeleteIngest { item: which } => overlay.delete(key(b'g', &[&item(*which)])),
            Write::PutIntake(intake) => overlay.put(b"G".to_vec(), encode(intake)?),
            Write::AppendReviewNote { model, version, note } => {
                let at = key(b'N', &[&id(*model), &number(*version), &note.index.to_be_bytes()]);
                overlay.put(at, encode(note)?);
            }
            Write::PutApprovals { model, version, approvals } => {
                let at = key(b'A', &[&id(*model), &number(*version)]);
                if approvals.is_empty() {
                    overlay.delete(at);
                } else {
                    overlay.put(at, encode(approvals)?);
                }
            }
            Write::PutApiToken(token) => put_api_token(overlay, token)?,
            Write::DeleteApiToken { id } => delete_api_token(overlay, id)?,
            Write::UseApiTokens(uses) => {
                for (id, at_ms) in uses {
                    use_api_token(overlay, id, *at_ms)?;
                }
            }
            Write::PutWebhook(webhook) => overlay.put(key(b'H', &[&hook(webhook.id)]), encode(webhook)?),
            Write::DeleteWebhook { hook: which } => {
                overlay.delete(key(b'H', &[&hook(*which)]));
                overlay.delete(key(b'j', &[&hook(*which)]));
            }
            Write::PutWebhookProgress(progress) => {
                for one in progress {
                    if overlay.get(&key(b'H', &[&hook(one.hook)]))?.is_some() {
                        overlay.put(key(b'j', &[&hook(one.hook)]), encode(one)?);
                    }
                }
            }
            Write::PutGrants { user, grants } => {
                let at = key(b'E', &[user.as_bytes()]);
                if grants.is_empty() {
                    overlay.delete(at);
                } else {
                    overlay.put(at, encode(grants)?);
                }
            }
            Write::PutQuota(quota) => overlay.put(account_key(b'F', &quota.account), encode(quota)?),
            Write::DeleteQuota(account) => overlay.delete(account_key(b'F', account)),
            Write::PutRetentionRule(rule) => overlay.put(key(b'Y', &[rule.name.as_bytes()]), encode(rule)?),
            Write::DeleteRetentionRule { name } => overlay.delete(key(b'Y', &[name.as_bytes()])),
            Write::PutSecondFactor(factor) => overlay.put(key(b'O', &[factor.user.as_bytes()]), encode(factor)?),
            Write::DeleteSecondFactor { user } => overlay.delete(key(b'O', &[user.as_bytes()])),
        }
    }
    if counts != before {
        overlay.put(b"c".to_vec(), encode(&counts)?);
    }
    Ok(())
}

/// Counts those that can sign in.
fn is_admin(user: &UserRecord) -> u64 {
    u64::from(user.role == Role::Admin && !user.disabled && !user.is_service())
}

fn api_token_key(id: &TokenId) -> Vec<u8> {
    key(b'K', &[id.as_str().as_bytes()])
}

fn put_api_token(overlay: &mut Overlay<'_>, token: &ApiTokenRecord) -> Read<()> {
    let at = api_token_key(&token.id);
    if overlay.get(&at)?.is_none() {
        let count = api_token_count(overlay)? + 1;
        set_count(overlay, b"L".to_vec(), count)?;
    }
    overlay.put(key(b'L', &[token.user_id.as_bytes(), b"\0", token.id.as_str().as_bytes()]), Vec::new());
    overlay.put(at, encode(token)?);
    Ok(())
}

fn delete_api_token(overlay: &mut Overlay<'_>, id: &TokenId) -> Read<()> {
    let at = api_token_key(id);
    if let Some(old) = record::<ApiTokenRecord>(overlay, &at)? {
        let count = api_token_count(overlay)?.saturating_sub(1);
        set_count(overlay, b"L".to_vec(), count)?;
        overlay.delete(key(b'L', &[old.user_id.as_bytes(), b"\0", id.as_str().as_bytes()]));
        overlay.delete(at);
    }
    Ok(())
}

/// Its revision stays: nothing of it has changed that somebody could have decided upon.
fn use_api_token(overlay: &mut Overlay<'_>, id: &TokenId, at_ms: i64) -> Read<()> {
    let at = api_token_key(id);
    if let Some(old) = record::<ApiTokenRecord>(overlay, &at)?
        && old.last_used_at_ms.is_none_or(|before_ms| before_ms < at_ms)
    {
        overlay.put(at, encode(&ApiTokenRecord { last_used_at_ms: Some(at_ms), ..old })?);
    }
    Ok(())
}

fn put_user(overlay: &mut Overlay<'_>, user: &UserRecord, counts: &mut Counters) -> Read<()> {
    let at = key(b'u', &[user.name.as_str().as_bytes()]);
    match record::<UserRecord>(overlay, &at)? {
        Some(old) => counts.enabled_admins = counts.enabled_admins.saturating_sub(is_admin(&old)),
        None => counts.users += 1,
    }
    counts.enabled_admins += is_admin(user);
    overlay.put(key(b'U', &[user.id.as_bytes()]), user.name.as_str().as_bytes().to_vec());
    overlay.put(at, encode(user)?);
    Ok(())
}

fn delete_user(overlay: &mut Overlay<'_>, name: &UserName, counts: &mut Counters) -> Read<()> {
    let at = key(b'u', &[name.as_str().as_bytes()]);
    if let Some(old) = record::<UserRecord>(overlay, &at)? {
        counts.users = counts.users.saturating_sub(1);
        counts.enabled_admins = counts.enabled_admins.saturating_sub(is_admin(&old));
        overlay.delete(key(b'U', &[old.id.as_bytes()]));
        overlay.delete(at);
    }
    Ok(())
}

fn is_live(model: &ModelRecord) -> bool {
    model.deleted.is_none() && !model.purged
}

fn put_model(overlay: &mut Overlay<'_>, model: &ModelRecord, counts: &mut Counters) -> Read<()> {
    let at = key(b'm', &[&id(model.id)]);
    let old: Option<ModelRecord> = record(overlay, &at)?;
    if let Some(old) = old.as_ref().filter(|old| is_live(old)) {
        counts.models = counts.models.saturating_sub(1);
        counts.versions = counts.versions.saturating_sub(u64::from(old.live_versions));
    }
    if is_live(model) {
        counts.models += 1;
        counts.versions += u64::from(model.live_versions);
    }
    let was_live = old.as_ref().is_some_and(is_live);
    if was_live != is_live(model) {
        count_held_of(overlay, model.id, !was_live)?;
        features::count_of_model(overlay, model.id, !was_live)?;
    }
    count_tags(overlay, old.as_ref(), model)?;
    count_namespace(overlay, old.as_ref(), model)?;
    // Most changes move one key of several, and each costs a write. What a key holds follows from the key and the id.
    let before = old.as_ref().map(model_index).unwrap_or_default();
    let after = model_index(model);
    for at in before.iter().filter(|at| !after.contains(at)) {
        overlay.delete(at.clone());
    }
    for at in after.into_iter().filter(|at| !before.contains(at)) {
        let named = matches!(at.first(), Some(b'n' | b't'));
        overlay.put(at, if named { id(model.id).to_vec() } else { Vec::new() });
    }
    overlay.put(at, encode(model)?);
    search::index_text(overlay, old.as_ref(), model)
}

/// What else models are found by, as if it were tags. No tag's key has the octet 1. What most models are has none: available,
/// and clean.
fn facets(model: &ModelRecord) -> Vec<(&'static str, String)> {
    let mut facets: Vec<_> = model.aliases.keys().map(|alias| (ALIAS, alias.to_string())).collect();
    let state = shown_state(model);
    if state != State::Available {
        facets.push((STATE, facet_of_state(state).to_owned()));
    }
    if let Some(latest) = &model.latest {
        facets.push((FORMAT, latest.format.clone()));
        facets.push((UPLOADER, latest.uploader.clone()));
        facets.extend(latest.verdict.clone().filter(|verdict| verdict != CLEAN).map(|verdict| (VERDICT, verdict)));
    }
    facets
}

const ALIAS: &str = "\u{1}alias";
const STATE: &str = "\u{1}state";
const FORMAT: &str = "\u{1}format";
const UPLOADER: &str = "\u{1}uploader";
const VERDICT: &str = "\u{1}verdict";
const DTYPE: &str = "\u{1}dtype";
/// The verdict that is no facet.
const CLEAN: &str = "clean";

fn facet_of_state(state: State) -> &'static str {
    match state {
        State::Available => "available",
        State::Quarantined => "quarantined",
        State::Deprecated => "deprecated",
        State::Deleted => "deleted",
    }
}

/// The state that rows show: a model without versions is there and empty.
fn shown_state(model: &ModelRecord) -> State {
    match &model.latest {
        _ if model.deleted.is_some() => State::Deleted,
        Some(latest) => latest.state,
        None => State::Available,
    }
}

/// Tags and facets.
fn marks(model: &ModelRecord) -> Vec<(String, String)> {
    let tags = model.tags.iter().map(|(tag, value)| (tag.clone(), value.clone()));
    tags.chain(facets(model).into_iter().map(|(facet, value)| (facet.to_owned(), value))).collect()
}

/// What models are counted by: tags and facets, and element types, by which none is found.
fn counted(model: &ModelRecord) -> BTreeSet<(String, String)> {
    let dtypes = model.latest.iter().flat_map(|latest| &latest.dtypes);
    let dtypes = dtypes.map(|dtype| (DTYPE.to_owned(), dtype.to_ascii_lowercase()));
    marks(model).into_iter().chain(dtypes).collect()
}

/// The tags and facets that all rows of a query have.
fn marks_wanted(query: &ModelQuery) -> Vec<(String, String)> {
    let facet = |facet: &str, value: Option<String>| value.map(|value| (facet.to_owned(), value));
    let facets = [
        facet(
            STATE,
            query.state.filter(|state| *state != State::Available).map(|state| facet_of_state(state).to_owned()),
        ),
        facet(FORMAT, query.format.clone()),
        facet(UPLOADER, query.uploader.clone()),
        facet(VERDICT, query.verdict.clone().filter(|verdict| verdict != CLEAN)),
        facet(ALIAS, query.alias.as_ref().map(Alias::to_string)),
    ];
    // Whoever doesn't see all models must not be told by the size of a page, or by its total, what the others are.
    let marks = query.tags.iter().cloned().chain(facets.into_iter().flatten());
    marks.filter(|_mark| query.names.is_none()).collect()
}

/// Counts a model under the tags and facets it gained, and no longer under those it lost.
fn count_tags(overlay: &mut Overlay<'_>, old: Option<&ModelRecord>, new: &ModelRecord) -> Read<()> {
    let before: BTreeSet<_> = old.filter(|old| is_live(old)).map(counted).unwrap_or_default();
    let after: BTreeSet<_> = if is_live(new) { counted(new) } else { BTreeSet::new() };
    for mark @ (tag, value) in before.symmetric_difference(&after) {
        let at = tag_count_key(tag, value);
        let count: u64 = record(overlay, &at)?.unwrap_or_default();
        let count = if after.contains(mark) { count + 1 } else { count.saturating_sub(1) };
        if count == 0 {
            overlay.delete(at);
        } else {
            overlay.put(at, encode(&count)?);
        }
    }
    Ok(())
}

fn tag_count_key(tag: &str, value: &str) -> Vec<u8> {
    key(b'T', &[tag.as_bytes(), b"\0", value.as_bytes()])
}

/// The keys under which a model is found; a tombstone is found by its id alone.
fn model_index(model: &ModelRecord) -> Vec<Vec<u8>> {
    if model.purged {
        return Vec::new();
    }
    let name = model.name.folded();
    let mut keys = vec![key(b'n', &[name.as_bytes()]), key(b'r', &[&time(model.updated_at_ms), &id(model.id)])];
    for (tag, value) in marks(model) {
        keys.push(key(b't', &[tag.as_bytes(), b"\0", value.as_bytes(), b"\0", name.as_bytes()]));
    }
    if let Some(deletion) = &model.deleted {
        keys.push(key(b'x', &[&time(deletion.restorable_until_ms), &id(model.id)]));
    }
    keys
}

fn put_version(overlay: &mut Overlay<'_>, version: &VersionRecord) -> Read<()> {
    let at = key(b'v', &[&id(version.model), &number(version.version)]);
    let old = record::<VersionRecord>(overlay, &at)?;
    if let Some(old) = &old {
        forget_digests(overlay, old);
    }
    index_version(overlay, old.as_ref(), Some(version))?;
    index_deletion(overlay, old.as_ref(), Some(version));
    features::index(overlay, old.as_ref(), Some(version))?;
    count_usage(overlay, old.as_ref(), Some(version))?;
    if version.deleted.is_none() {
        for artifact in &version.artifacts {
            overlay.put(digest_key(artifact.digest, version), Vec::new());
        }
    }
    overlay.put(at, encode(version)?);
    Ok(())
}

/// Notes that a version was inspected anew and nothing came of it. Its revision stays: nothing of it has changed that a change
/// or a decision could have been made for.
fn renew_inspection(
    overlay: &mut Overlay<'_>,
    model: ModelId,
    version: Version,
    ruleset: &str,
    moment: Moment,
) -> Read<()> {
    let at = key(b'v', &[&id(model), &number(version)]);
    let Some(old) = record::<VersionRecord>(overlay, &at)? else { return Ok(()) };
    let mut new = old.clone();
    let Some(inspection) = &mut new.inspection else { return Ok(()) };
    ruleset.clone_into(&mut inspection.ruleset);
    inspection.at_ms = moment.at_ms;
    index_version(overlay, Some(&old), Some(&new))?;
    overlay.put(at, encode(&new)?);
    Ok(())
}

/// The set of rules a version was inspected with; empty where that was not kept.
fn ruleset_of(version: &VersionRecord) -> &str {
    version.inspection.as_ref().map_or("", |inspection| &inspection.ruleset)
}

/// Moves a version in the indices by ruleset and by quarantine.
fn index_version(overlay: &mut Overlay<'_>, old: Option<&VersionRecord>, new: Option<&VersionRecord>) -> Read<()> {
    let live = |version: &&VersionRecord| version.deleted.is_none();
    let (old, new) = (old.filter(live), new.filter(live));
    let (left, joined) = (old.map(ruleset_of), new.map(ruleset_of));
    if left != joined {
        for (ruleset, version, joins) in
            [(left, old, false), (joined, new, true)].into_iter().filter_map(|(a, b, c)| Some((a?, b?, c)))
        {
            let count_at = key(b'W', &[ruleset.as_bytes()]);
            let count: u64 = record(overlay, &count_at)?.unwrap_or_default();
            let count = if joins { count + 1 } else { count.saturating_sub(1) };
            if count == 0 {
                overlay.delete(count_at);
            } else {
                overlay.put(count_at, encode(&count)?);
            }
            let at = key(b'w', &[ruleset.as_bytes(), b"\0", &id(version.model), &number(version.version)]);
            if joins {
                overlay.put(at, Vec::new());
            } else {
                overlay.delete(at);
            }
        }
    }
    let standing = |version: &VersionRecord| {
        let mut record = SenderRecord::default();
        *standing(&mut record, version) = 1;
        (version.created_by_id.clone(), record)
    };
    if old.map(standing) != new.map(standing) {
        if let Some(old) = old {
            count_sender(overlay, old, false)?;
        }
        if let Some(new) = new {
            count_sender(overlay, new, true)?;
        }
    }
    let (left, joined) = (old.and_then(quarantine_key), new.and_then(quarantine_key));
    if left != joined {
        if let (Some(left), Some(version)) = (left, old) {
            count_held(overlay, version, false)?;
            overlay.delete(left);
        }
        if let (Some(joined), Some(version)) = (joined, new) {
            count_held(overlay, version, true)?;
            overlay.put(joined, Vec::new());
        }
    }
    Ok(())
}

/// What a sender's record counts a version as.
fn standing<'r>(record: &'r mut SenderRecord, version: &VersionRecord) -> &'r mut u64 {
    match version.state {
        State::Quarantined if is_blocked(version) => &mut record.blocked,
        State::Quarantined => &mut record.held,
        State::Available | State::Deprecated | State::Deleted => &mut record.available,
    }
}

/// Counts a version for whoever published it.
fn count_sender(overlay: &mut Overlay<'_>, version: &VersionRecord, joins: bool) -> Read<()> {
    let at = key(b'P', &[version.created_by_id.as_bytes()]);
    let mut record: SenderRecord = self::record(overlay, &at)?.unwrap_or_default();
    let count = standing(&mut record, version);
    *count = if joins { count.saturating_add(1) } else { count.saturating_sub(1) };
    if record == SenderRecord::default() {
        overlay.delete(at);
    } else {
        overlay.put(at, encode(&record)?);
    }
    Ok(())
}

/// Where what is known of an account is.
fn account_key(space: u8, account: &Account) -> Vec<u8> {
    let kind = match account {
        Account::Namespace(_) => b'n',
        Account::User(_) => b'u',
    };
    key(space, &[&[kind], account.key().as_bytes()])
}

/// The account that the end of a key names.
fn account_at(octets: &[u8]) -> Read<Account> {
    let bad = || StoreError::Corrupt("an account's key in the view is damaged".to_owned());
    let (kind, name) = octets.split_first().ok_or_else(bad)?;
    let name = std::str::from_utf8(name).map_err(|_not_utf8| bad())?.to_owned();
    match kind {
        b'n' => Ok(Account::Namespace(name)),
        b'u' => Ok(Account::User(name)),
        _ => Err(bad()),
    }
}

fn usage_key_of(model: ModelId) -> Vec<u8> {
    key(b'f', &[b"m", &id(model)])
}

/// Changes what is counted under a key; what is nothing has none.
fn recount(overlay: &mut Overlay<'_>, at: Vec<u8>, less: UsageRecord, more: UsageRecord) -> Read<()> {
    let before: UsageRecord = record(overlay, &at)?.unwrap_or_default();
    let after = before.plus(more).minus(less);
    if after == before {
        return Ok(());
    }
    if after == UsageRecord::default() {
        overlay.delete(at);
    } else {
        overlay.put(at, encode(&after)?);
    }
    Ok(())
}

/// Counts a version for its publisher, its model, and, where the model is there already, its namespace; whether it is deleted
/// doesn't matter. A manifest never changes, so mostly nothing does.
fn count_usage(overlay: &mut Overlay<'_>, old: Option<&VersionRecord>, new: Option<&VersionRecord>) -> Read<()> {
    let usage = |version: &VersionRecord| UsageRecord { bytes: version.bytes(), versions: 1, models: 0 };
    let (less, more) = (old.map(usage), new.map(usage));
    let publisher = |version: Option<&VersionRecord>| version.map(|version| version.created_by_id.clone());
    if less == more && publisher(old) == publisher(new) {
        return Ok(());
    }
    let nothing = UsageRecord::default();
    for (version, less, more) in [(old, less.unwrap_or_default(), nothing), (new, nothing, more.unwrap_or_default())] {
        let Some(version) = version else { continue };
        recount(overlay, account_key(b'f', &Account::User(version.created_by_id.clone())), less, more)?;
        recount(overlay, usage_key_of(version.model), less, more)?;
        let model: Option<ModelRecord> = record(overlay, &key(b'm', &[&id(version.model)]))?;
        if let Some(model) = model.filter(|model| !model.purged) {
            recount(overlay, account_key(b'f', &Account::of_model(&model.name)), less, more)?;
        }
    }
    Ok(())
}

/// Counts a model, with what its versions come to, for its namespace: when it comes, when it is purged, and when its name
/// leads elsewhere.
fn count_namespace(overlay: &mut Overlay<'_>, old: Option<&ModelRecord>, new: &ModelRecord) -> Read<()> {
    let account =
        |model: Option<&ModelRecord>| model.filter(|model| !model.purged).map(|model| Account::of_model(&model.name));
    let (before, after) = (account(old), account(Some(new)));
    if before == after {
        return Ok(());
    }
    let versions: UsageRecord = record(overlay, &usage_key_of(new.id))?.unwrap_or_default();
    let whole = versions.plus(UsageRecord { models: 1, ..UsageRecord::default() });
    if let Some(before) = before {
        recount(overlay, account_key(b'f', &before), whole, UsageRecord::default())?;
    }
    if let Some(after) = after {
        recount(overlay, account_key(b'f', &after), UsageRecord::default(), whole)?;
    }
    Ok(())
}

/// Where a version is found while it is deleted.
fn deletion_key(version: &VersionRecord) -> Option<Vec<u8>> {
    let deletion = version.deleted.as_ref()?;
    Some(key(b'y', &[&time(deletion.restorable_until_ms), &id(version.model), &number(version.version)]))
}

/// Moves a version in the index of deleted ones.
fn index_deletion(overlay: &mut Overlay<'_>, old: Option<&VersionRecord>, new: Option<&VersionRecord>) {
    let (left, joined) = (old.and_then(deletion_key), new.and_then(deletion_key));
    if left == joined {
        return;
    }
    if let Some(left) = left {
        overlay.delete(left);
    }
    if let Some(joined) = joined {
        overlay.put(joined, Vec::new());
    }
}

/// Forgets what people said of a version that is gone for good.
fn forget_review(overlay: &mut Overlay<'_>, model: ModelId, version: Version) -> Read<()> {
    let prefix = key(b'N', &[&id(model), &number(version)]);
    let mut notes = Vec::new();
    for pair in prefixed(&*overlay, &prefix, false) {
        notes.push(pair?.0.to_vec());
    }
    notes.push(key(b'A', &[&id(model), &number(version)]));
    for at in notes {
        overlay.delete(at);
    }
    Ok(())
}

/// Counts a version that comes into quarantine or leaves it: for its model, and in all unless the model is deleted.
fn count_held(overlay: &mut Overlay<'_>, version: &VersionRecord, joins: bool) -> Read<()> {
    let blocked = is_blocked(version);
    let model: Option<ModelRecord> = record(overlay, &key(b'm', &[&id(version.model)]))?;
    let of_model = Some(held_key(blocked, Some(version.model)));
    let of_all = model.as_ref().is_some_and(is_live).then(|| held_key(blocked, None));
    for at in of_model.into_iter().chain(of_all) {
        let count: u64 = record(overlay, &at)?.unwrap_or_default();
        set_count(overlay, at, if joins { count + 1 } else { count.saturating_sub(1) })?;
    }
    Ok(())
}

/// Counts the versions in quarantine of a model that is deleted or restored.
fn count_held_of(overlay: &mut Overlay<'_>, model: ModelId, joins: bool) -> Read<()> {
    for blocked in [false, true] {
        let count = held(overlay, blocked, Some(model))?;
        if count > 0 {
            let all = held(overlay, blocked, None)?;
            let all = if joins { all + count } else { all.saturating_sub(count) };
            set_count(overlay, held_key(blocked, None), all)?;
        }
    }
    Ok(())
}

fn set_count(overlay: &mut Overlay<'_>, at: Vec<u8>, count: u64) -> Read<()> {
    if count == 0 {
        overlay.delete(at);
    } else {
        overlay.put(at, encode(&count)?);
    }
    Ok(())
}

fn held_key(blocked: bool, model: Option<ModelId>) -> Vec<u8> {
    let model = model.map(id);
    key(b'Q', &[&[u8::from(blocked)], model.as_ref().map_or(&[], |model| &model[..])])
}

fn held(kv: &(impl Kv + ?Sized), blocked: bool, model: Option<ModelId>) -> Read<u64> {
    Ok(record(kv, &held_key(blocked, model))?.unwrap_or_default())
}

fn is_blocked(version: &VersionRecord) -> bool {
    version.review.as_ref().is_some_and(|review| review.decision == ReviewDecision::Blocked)
}

/// Where a version is found while it is held.
fn quarantine_key(version: &VersionRecord) -> Option<Vec<u8>> {
    if version.state != State::Quarantined {
        return None;
    }
    let parts: [&[u8]; 4] =
        [&[u8::from(is_blocked(version))], &time(version.state_at_ms), &id(version.model), &number(version.version)];
    Some(key(b'q', &parts))
}

fn digest_key(digest: Digest, version: &VersionRecord) -> Vec<u8> {
    key(b'd', &[digest.as_bytes(), &id(version.model), &number(version.version)])
}

fn forget_digests(overlay: &mut Overlay<'_>, version: &VersionRecord) {
    for artifact in &version.artifacts {
        overlay.delete(digest_key(artifact.digest, version));
    }
}

fn set_blob(
    overlay: &mut Overlay<'_>,
    digest: &Digest,
    size: u64,
    refs: u64,
    counts: &mut Counters,
    released: &mut Vec<Digest>,
) -> Read<()> {
    let at = key(b'b', &[digest.as_bytes()]);
    if record::<BlobRecord>(overlay, &at)?.is_some() {
        counts.blobs = counts.blobs.saturating_sub(1);
        counts.blob_bytes = counts.blob_bytes.saturating_sub(size);
    }
    if refs == 0 {
        overlay.delete(at);
        // Bytes that go were not repaired; whoever uploads them again brings them anew.
        set_damage(overlay, digest, None)?;
        released.push(*digest);
    } else {
        counts.blobs += 1;
        counts.blob_bytes += size;
        overlay.put(at, encode(&BlobRecord { size, refs })?);
    }
    Ok(())
}

fn set_damage(overlay: &mut Overlay<'_>, digest: &Digest, damage: Option<&DamageRecord>) -> Read<()> {
    let at = key(b'D', &[digest.as_bytes()]);
    let old: Option<DamageRecord> = record(overlay, &at)?;
    let held = |damage: Option<&DamageRecord>| u64::from(damage.is_some_and(|damage| damage.held));
    let (before, after) = (held(old.as_ref()), held(damage));
    if before != after {
        let count = damaged(overlay)?.saturating_sub(before).saturating_add(after);
        overlay.put(b"C".to_vec(), encode(&count)?);
    }
    match damage {
        Some(damage) => overlay.put(at, encode(damage)?),
        None if old.is_some() => overlay.delete(at),
        None => {}
    }
    Ok(())
}

fn put_idempotency(overlay: &mut Overlay<'_>, name: &[u8; 32], record: &IdempotencyRecord, moment: Moment) -> Read<()> {
    let until = time(moment.at_ms - IDEMPOTENCY_MS);
    let mut expired = Vec::new();
    for pair in overlay.range(Bound::Included(vec![b'I']), Bound::Excluded(key(b'I', &[&until])), false) {
        expired.push(pair?.0);
        if expired.len() == IDEMPOTENCY_PRUNED {
            break;
        }
    }
    for at in expired {
        overlay.delete(key(b'i', &[at.get(9..).unwrap_or_default()]));
        overlay.delete(at.to_vec());
    }
    // An answer that is over and not yet pruned makes way, else pruning its index row later would remove this one.
    if let Some(old) = self::record::<IdempotencyRecord>(overlay, &key(b'i', &[name]))? {
        overlay.delete(key(b'I', &[&time(old.at_ms), name]));
    }
    overlay.put(key(b'I', &[&time(record.at_ms), name]), Vec::new());
    overlay.put(key(b'i', &[name]), encode(record)?);
    Ok(())
}

// ---- reading --------------------------------------------------------------------------------------------------------

fn counters(kv: &(impl Kv + ?Sized)) -> Read<Counters> {
    Ok(record(kv, b"c")?.unwrap_or_default())
}

fn api_token_count(kv: &(impl Kv + ?Sized)) -> Read<u64> {
    Ok(record(kv, b"L")?.unwrap_or_default())
}

fn damaged(kv: &(impl Kv + ?Sized)) -> Read<u64> {
    Ok(record(kv, b"C")?.unwrap_or_default())
}

/// Records whose keys are a space and a digest, after one of them.
fn by_digest<T: serde::de::DeserializeOwned>(
    kv: &(impl Kv + ?Sized),
    space: u8,
    after: Option<&Digest>,
    limit: usize,
) -> Read<Vec<(Digest, T)>> {
    let from = match after {
        Some(digest) => Bound::Excluded(key(space, &[digest.as_bytes()])),
        None => Bound::Included(vec![space]),
    };
    let pairs = kv.range(from, prefix_end(&[space]), false).take(limit);
    pairs
        .map(|pair| {
            let (at, value) = pair?;
            let digest: [u8; 32] = at.get(1..).unwrap_or_default().try_into().map_err(|_length| bad_digest_key())?;
            Ok((Digest::from_bytes(digest), decode(&value)?))
        })
        .collect()
}

/// The model and version at the end of a digest's key.
fn holder_at(octets: &[u8]) -> Read<(ModelId, Version)> {
    let (model, version) = octets.split_at_checked(16).ok_or_else(bad_digest_key)?;
    let number = u32::from_be_bytes(version.try_into().map_err(|_length| bad_digest_key())?);
    Ok((model_id(model)?, Version::try_from(number).map_err(|_zero| bad_digest_key())?))
}

/// A tag or facet.
struct Mark {
    prefix: Vec<u8>,
    /// How many models have it.
    count: u64,
}

fn value_of(pair: Read<(sled::IVec, sled::IVec)>) -> Read<sled::IVec> {
    Ok(pair?.1)
}

/// A model and its key in the order that was asked for.
type KeyedModel = (Vec<u8>, ModelRecord);

/// The same of a model whose record is not held.
type KeyedId = (Vec<u8>, ModelId);

/// Reads records from anything that holds keys and values.
pub struct KvRecords<'k, K: Kv + ?Sized>(pub &'k K);

impl<K: Kv + ?Sized> KvRecords<'_, K> {
    fn model_at(&self, octets: &[u8]) -> Read<ModelRecord> {
        let at = model_id(octets)?;
        self.model(at)?.ok_or_else(|| StoreError::Corrupt(format!("the view names model {at}, which is not there")))
    }
}

/// Models in an order, each with its place in it, which is what a page's `next` says; none is one that was told not to match
/// by its key alone.
type Rows<'a> = Box<dyn Iterator<Item = Read<(Vec<u8>, Option<ModelRecord>)>> + 'a>;

impl<K: Kv + ?Sized> KvRecords<'_, K> {
    /// The models that a query has to look at, in its order.
    fn rows(&self, query: &ModelQuery) -> Read<Rows<'_>> {
        let (by_name, down) = match query.sort {
            ModelSort::NameUp => (true, false),
            ModelSort::NameDown => (true, true),
            ModelSort::UpdatedUp | ModelSort::CreatedUp => (false, false),
            ModelSort::UpdatedDown | ModelSort::CreatedDown => (false, true),
        };
        let down = down != query.backward;
        let mark = self.rarest_mark(query)?;
        let is_rare = mark.as_ref().is_some_and(|mark| mark.count <= SORTED_ROWS_MAX as u64);
        let sought = query.text.as_deref().and_then(search::wanted).filter(|_sought| !is_rare && query.names.is_none());
        if !by_name {
            let found = match (&mark, sought) {
                (Some(mark), _) if is_rare => {
                    self.sorted_rows(query, down, prefixed(self.0, &mark.prefix, false).map(value_of))?
                }
                (_, Some(sought)) => {
                    self.sorted_rows(query, down, search::candidates(self.0, sought, None, false)?.map(value_of))?
                }
                _ => None,
            };
            if let Some(rows) = found {
                return Ok(Box::new(rows.into_iter().map(|(place, model)| Ok((place, Some(model))))));
            }
        } else if let Some(sought) = sought {
            let pairs = search::candidates(self.0, sought, query.after.as_deref(), down)?;
            return Ok(Box::new(pairs.map(|pair| {
                let (at, value) = pair?;
                Ok((at.get(1..).unwrap_or_default().to_vec(), Some(self.model_at(&value)?)))
            })));
        }
        if let Some(places) = self.featured_places(query)? {
            return Ok(Box::new(places.into_iter().map(|(place, of)| Ok((place, Some(self.model_at(&id(of))?))))));
        }
        // By time, of a tag that some have: those that have it are told by their ids, before their records are read.
        let ids = match &mark {
            Some(mark) if !by_name && query.names.is_none() && self.is_some_of(mark, query.limit)? => {
                self.ids_of(mark)?
            }
            Some(_) | None => None,
        };
        let prefix = match mark {
            Some(mark) if by_name => mark.prefix,
            Some(_) | None => index_for(query).0,
        };
        if let (b"n", Some(within)) = (&prefix[..], query.names.as_ref().and_then(|names| names.within.clone())) {
            return Ok(Box::new(self.named_within(within, query.after.as_deref(), down)));
        }
        let (from, to) = match (&query.after, down) {
            (None, _) => (Bound::Included(prefix.clone()), prefix_end(&prefix)),
            (Some(after), false) => (Bound::Excluded(key_after(&prefix, after)), prefix_end(&prefix)),
            (Some(after), true) => (Bound::Included(prefix.clone()), Bound::Excluded(key_after(&prefix, after))),
        };
        Ok(Box::new(self.0.range(from, to, down).map(move |pair| {
            let (at, value) = pair?;
            let place = at[prefix.len()..].to_vec();
            let one = at.last_chunk::<16>();
            if ids.as_ref().is_some_and(|ids| one.is_none_or(|one| !ids.contains(one))) {
                return Ok((place, None));
            }
            let model = match prefix.first() {
                Some(b'm') => decode(&value)?,
                Some(b'r') => self.model_at(at.get(9..).unwrap_or_default())?,
                Some(b'V') => self.model_at(at.get(prefix.len()..).unwrap_or_default())?,
                _ => self.model_at(&value)?,
            };
            Ok((place, Some(model)))
        })))
    }

    /// Whether it costs less to read all ids of a tag or facet than the records of a page's worth of others.
    fn is_some_of(&self, mark: &Mark, limit: usize) -> Read<bool> {
        let others = self.counters()?.models.saturating_mul(limit as u64).saturating_mul(RECORD_KEYS as u64);
        Ok(mark.count <= KNOWN_IDS_MAX as u64 && mark.count.saturating_mul(mark.count) <= others)
    }

    /// The ids of the models that have a tag or facet; none where they are too many.
    fn ids_of(&self, mark: &Mark) -> Read<Option<HashSet<[u8; 16]>>> {
        let mut ids = HashSet::new();
        for pair in prefixed(self.0, &mark.prefix, false) {
            if ids.len() == KNOWN_IDS_MAX {
                return Ok(None);
            }
            ids.insert(id(model_id(&pair?.1)?));
        }
        Ok(Some(ids))
    }

    /// Whether counters say that no model matches.
    fn is_void(&self, query: &ModelQuery) -> Read<bool> {
        // Deleted models are not counted, and models out of sight are.
        if query.state == Some(State::Deleted) || query.names.is_some() {
            return Ok(false);
        }
        for (tag, value) in marks_wanted(query) {
            if self.tagged(&tag, &value)? == 0 {
                return Ok(true);
            }
        }
        for feature in &query.features {
            if features::count(self.0, feature)? == 0 {
                return Ok(true);
            }
        }
        for dtype in &query.dtypes {
            if self.tagged(DTYPE, &dtype.to_ascii_lowercase())? == 0 {
                return Ok(true);
            }
        }
        let all = self.counters()?.models;
        for unlike in &query.not {
            let of = match unlike {
                ModelUnlike::Tag(tag, value) => self.tagged(tag, value)?,
                ModelUnlike::Format(format) => self.tagged(FORMAT, format)?,
                ModelUnlike::Uploader(by) => self.tagged(UPLOADER, by)?,
                ModelUnlike::Alias(alias) => self.tagged(ALIAS, alias.as_str())?,
                ModelUnlike::State(_) | ModelUnlike::Verdict(_) => 0,
            };
            if of == all {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of the tags and facets that a query asks for, the one that the fewest models have.
    fn rarest_mark(&self, query: &ModelQuery) -> Read<Option<Mark>> {
        let mut rarest: Option<Mark> = None;
        for (tag, value) in marks_wanted(query) {
            // Deleted models are found, but not counted.
            let count =
                if tag == STATE && query.state == Some(State::Deleted) { 0 } else { self.tagged(&tag, &value)? };
            if rarest.as_ref().is_none_or(|rarest| count < rarest.count) {
                rarest = Some(Mark { prefix: tag_prefix(&tag, &value), count });
            }
        }
        Ok(rarest)
    }

    /// Models by name, from one beginning of names to the next; `within` is in the order of names.
    fn named_within(
        &self,
        mut within: Vec<String>,
        after: Option<&[u8]>,
        down: bool,
    ) -> impl Iterator<Item = Read<(Vec<u8>, Option<ModelRecord>)>> + '_ {
        if down {
            within.reverse();
        }
        let after = after.map(|after| key(b'n', &[after]));
        let ranges = within.into_iter().filter_map(move |head| {
            let begin = key(b'n', &[head.as_bytes()]);
            let end = prefix_end(&begin);
            Some(match &after {
                None => (Bound::Included(begin), end),
                Some(after) if down && *after <= begin => return None,
                Some(after) if down && after.starts_with(&begin) => {
                    (Bound::Included(begin), Bound::Excluded(after.clone()))
                }
                Some(after) if !down && after.starts_with(&begin) => (Bound::Excluded(after.clone()), end),
                Some(after) if !down && *after > begin => return None,
                Some(_outside) => (Bound::Included(begin), end),
            })
        });
        ranges.flat_map(move |(from, to)| {
            self.0.range(from, to, down).map(|pair| {
                let (at, value) = pair?;
                Ok((at.get(1..).unwrap_or_default().to_vec(), Some(self.model_at(&value)?)))
            })
        })
    }

    /// Of some models those that match, in an order by time; none where they are many. The index by time knows neither tags nor
    /// texts, and would be walked from end to end for a few.
    fn sorted_rows(
        &self,
        query: &ModelQuery,
        down: bool,
        ids: impl Iterator<Item = Read<sled::IVec>>,
    ) -> Read<Option<Vec<KeyedModel>>> {
        let by_change = matches!(query.sort, ModelSort::UpdatedUp | ModelSort::UpdatedDown);
        let mut rows = Vec::new();
        for (looked_at, at) in ids.enumerate() {
            // More than were counted: many that can be restored.
            if rows.len() == SORTED_ROWS_MAX || looked_at == SCAN_ROWS_MAX {
                return Ok(None);
            }
            let model = self.model_at(&at?)?;
            let place = if by_change { key_of_time(model.updated_at_ms, model.id) } else { id(model.id).to_vec() };
            let is_after = |after: &Vec<u8>| if down { place < *after } else { place > *after };
            if query.after.as_ref().is_none_or(is_after) && self.fits(query, &model)? {
                rows.push((place, model));
            }
        }
        rows.sort_unstable_by(|(one, _), (other, _)| if down { other.cmp(one) } else { one.cmp(other) });
        Ok(Some(rows))
    }

    /// The rows of a feature in an order that its index hasn't, where all of them are fewer than a walk of that order would
    /// look at until a page is full. Places and ids alone are held; the records are read again as the page needs them.
    fn featured_places(&self, query: &ModelQuery) -> Read<Option<Vec<KeyedId>>> {
        let by_name = match query.sort {
            ModelSort::NameUp | ModelSort::NameDown => true,
            ModelSort::UpdatedUp | ModelSort::UpdatedDown => false,
            // The index of a feature is in the order of ids, which is that of creation.
            ModelSort::CreatedUp | ModelSort::CreatedDown => return Ok(None),
        };
        let down = matches!(query.sort, ModelSort::NameDown | ModelSort::UpdatedDown) != query.backward;
        let Some(feature) = walked_feature(query) else { return Ok(None) };
        let count = features::count(self.0, feature)?;
        let walk = (query.limit as u64).saturating_mul(self.counters()?.models) / count.max(1);
        if count > SCAN_ROWS_MAX as u64 || count > walk.max(SORTED_ROWS_MAX as u64) {
            return Ok(None);
        }
        let prefix = features::prefix(feature);
        let mut places = Vec::new();
        for (looked_at, pair) in prefixed(self.0, &prefix, false).enumerate() {
            // More than were counted: many that can be restored.
            if looked_at == SCAN_ROWS_MAX {
                return Ok(None);
            }
            let of = features::model_at(&prefix, &pair?.0)?;
            // Of a version whose model is not there yet, in a log that is cut short, there is nothing to be shown.
            let Some(model) = self.model(of)? else { continue };
            let place =
                if by_name { model.name.folded().into_bytes() } else { key_of_time(model.updated_at_ms, model.id) };
            let is_after = |after: &Vec<u8>| if down { place < *after } else { place > *after };
            if query.after.as_ref().is_none_or(is_after) {
                places.push((place, of));
            }
        }
        places.sort_unstable_by(|(one, _), (other, _)| if down { other.cmp(one) } else { one.cmp(other) });
        Ok(Some(places))
    }

    /// Whether a model is one that a query asks for.
    fn fits(&self, query: &ModelQuery, model: &ModelRecord) -> Read<bool> {
        if !matches(query, model) {
            return Ok(false);
        }
        for feature in &query.features {
            if !features::has(self.0, model.id, feature)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The time of the newest change, in a walk that begins with it.
    fn newest_change(&self, query: &ModelQuery) -> Read<Option<[u8; 8]>> {
        let (prefix, down) = index_for(query);
        if prefix != b"r" || down == query.backward || query.after.is_some() {
            return Ok(None);
        }
        let newest = prefixed(self.0, &prefix, true).next().transpose()?;
        Ok(newest.and_then(|(at, _)| at.get(1..9)?.try_into().ok()))
    }

    /// Makes good what changes did to a walk under way, for sled's iterators see changes as they come: a model that changes
    /// moves to the newest end of the order by change, from ahead of the walk to behind it, where it was never met, or from
    /// behind it to ahead of it, where it was met twice.
    fn take_in_moved(
        &self,
        query: &ModelQuery,
        newest: Option<[u8; 8]>,
        rows: &mut Vec<KeyedModel>,
        next: &mut Option<Vec<u8>>,
    ) -> Read<()> {
        let mut moved = Vec::new();
        if let Some(newest) = newest {
            let since = Bound::Included(key(b'r', &[&newest]));
            for pair in self.0.range(since, prefix_end(b"r"), true).take(SCAN_ROWS_MAX) {
                let (at, _) = pair?;
                let model = self.model_at(at.get(9..).unwrap_or_default())?;
                if self.fits(query, &model)? {
                    moved.push((at[1..].to_vec(), model));
                    if moved.len() > query.limit {
                        break;
                    }
                }
            }
        }
        // Of two rows of one model the newer place is the true one: it comes first in a walk that begins with the newest
        // change, and last in any other.
        let begins_with_newest = newest.is_some();
        let mut met = BTreeSet::new();
        let mut all: Vec<KeyedModel> = moved.into_iter().chain(rows.drain(..)).collect();
        if !begins_with_newest {
            all.reverse();
        }
        all.retain(|(_, model)| met.insert(model.id));
        if !begins_with_newest {
            all.reverse();
        }
        if all.len() > query.limit {
            all.truncate(query.limit);
            *next = all.last().map(|(place, _)| place.clone());
        }
        *rows = all;
        Ok(())
    }

    /// How many models have a tag.
    fn tagged(&self, tag: &str, value: &str) -> Read<u64> {
        Ok(record(self.0, &tag_count_key(tag, value))?.unwrap_or_default())
    }

    /// How many models match a query, where counters say it; else the beginning of a count.
    fn count_of(&self, query: &ModelQuery) -> Read<Count> {
        let is_more = query.text.is_some()
            || query.state == Some(State::Deleted)
            || query.parameters.is_some()
            || !query.dtypes.is_empty()
            || query.since_ms.is_some()
            || query.names.is_some()
            || !query.not.is_empty();
        // No counter says how many are what most are.
        let is_common = query.state == Some(State::Available) || query.verdict.as_deref() == Some(CLEAN);
        Ok(match (marks_wanted(query).as_slice(), query.features.as_slice()) {
            _ if is_more || is_common => Count::SoFar(0),
            ([], []) => Count::Known(self.counters()?.models),
            ([(tag, value)], []) => Count::Known(self.tagged(tag, value)?),
            ([], [feature]) => Count::Known(features::count(self.0, feature)?),
            _ => Count::SoFar(0),
        })
    }
}

impl<K: Kv + ?Sized> Records for KvRecords<'_, K> {
    fn user(&self, name: &UserName) -> Read<Option<UserRecord>> {
        record(self.0, &key(b'u', &[name.as_str().as_bytes()]))
    }

    fn user_by_id(&self, id: &str) -> Read<Option<UserRecord>> {
        match self.0.get(&key(b'U', &[id.as_bytes()]))? {
            Some(name) => record(self.0, &key(b'u', &[&name])),
            None => Ok(None),
        }
    }

    fn grants(&self, user_id: &str) -> Read<Vec<GrantRecord>> {
        Ok(record(self.0, &key(b'E', &[user_id.as_bytes()]))?.unwrap_or_default())
    }

    fn second_factor(&self, user_id: &str) -> Read<Option<SecondFactorRecord>> {
        record(self.0, &key(b'O', &[user_id.as_bytes()]))
    }

    fn users(&self, after: Option<&UserName>, limit: usize) -> Read<Vec<UserRecord>> {
        let from = match after {
            Some(name) => Bound::Excluded(key(b'u', &[name.as_str().as_bytes()])),
            None => Bound::Included(vec![b'u']),
        };
        self.0.range(from, prefix_end(b"u"), false).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn users_back(&self, before: Option<&UserName>, limit: usize) -> Read<Vec<UserRecord>> {
        let to = match before {
            Some(name) => Bound::Excluded(key(b'u', &[name.as_str().as_bytes()])),
            None => prefix_end(b"u"),
        };
        self.0.range(Bound::Included(vec![b'u']), to, true).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn session(&self, sid: &str) -> Read<Option<SessionRecord>> {
        record(self.0, &key(b's', &[sid.as_bytes()]))
    }

    fn sessions_of(&self, user_id: &str) -> Read<Vec<SessionRecord>> {
        let prefix = key(b'S', &[user_id.as_bytes(), b"\0"]);
        let mut sessions = Vec::new();
        for pair in prefixed(self.0, &prefix, false) {
            let (at, _nothing) = pair?;
            sessions.extend(record::<SessionRecord>(self.0, &key(b's', &[&at[prefix.len()..]]))?);
        }
        Ok(sessions)
    }

    fn api_token(&self, id: &TokenId) -> Read<Option<ApiTokenRecord>> {
        record(self.0, &api_token_key(id))
    }

    fn api_tokens_of(&self, user_id: &str) -> Read<Vec<ApiTokenRecord>> {
        let prefix = key(b'L', &[user_id.as_bytes(), b"\0"]);
        let mut tokens = Vec::new();
        for pair in prefixed(self.0, &prefix, false) {
            let (at, _nothing) = pair?;
            tokens.extend(record::<ApiTokenRecord>(self.0, &key(b'K', &[&at[prefix.len()..]]))?);
        }
        Ok(tokens)
    }

    fn api_tokens(&self, after: Option<&TokenId>, limit: usize) -> Read<Vec<ApiTokenRecord>> {
        let from = match after {
            Some(id) => Bound::Excluded(api_token_key(id)),
            None => Bound::Included(vec![b'K']),
        };
        self.0.range(from, prefix_end(b"K"), false).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn api_tokens_back(&self, before: Option<&TokenId>, limit: usize) -> Read<Vec<ApiTokenRecord>> {
        let to = match before {
            Some(id) => Bound::Excluded(api_token_key(id)),
            None => prefix_end(b"K"),
        };
        self.0.range(Bound::Included(vec![b'K']), to, true).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn api_token_count(&self) -> Read<u64> {
        api_token_count(self.0)
    }

    fn model(&self, at: ModelId) -> Read<Option<ModelRecord>> {
        record(self.0, &key(b'm', &[&id(at)]))
    }

    fn model_named(&self, name: &ModelName) -> Read<Option<ModelId>> {
        self.0.get(&key(b'n', &[name.folded().as_bytes()]))?.map(|octets| model_id(&octets)).transpose()
    }

    fn version(&self, model: ModelId, version: Version) -> Read<Option<VersionRecord>> {
        record(self.0, &key(b'v', &[&id(model), &number(version)]))
    }

    fn versions(&self, model: ModelId, below: Option<Version>, limit: usize) -> Read<Vec<VersionRecord>> {
        let prefix = key(b'v', &[&id(model)]);
        let to = match below {
            Some(version) => Bound::Excluded(key(b'v', &[&id(model), &number(version)])),
            None => prefix_end(&prefix),
        };
        self.0.range(Bound::Included(prefix), to, true).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn versions_back(&self, model: ModelId, above: Option<Version>, limit: usize) -> Read<Vec<VersionRecord>> {
        let prefix = key(b'v', &[&id(model)]);
        let from = match above {
            Some(version) => Bound::Excluded(key(b'v', &[&id(model), &number(version)])),
            None => Bound::Included(prefix.clone()),
        };
        self.0.range(from, prefix_end(&prefix), false).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn holder_seen(&self, digest: &Digest, sees: &dyn Fn(&ModelName) -> bool) -> Read<Option<(ModelId, Version)>> {
        let prefix = key(b'd', &[digest.as_bytes()]);
        for pair in prefixed(self.0, &prefix, true).take(SCAN_ROWS_MAX) {
            let (at, _nothing) = pair?;
            let (model, version) = holder_at(&at[prefix.len()..])?;
            let model = self.model_at(&id(model))?;
            if is_live(&model) && sees(&model.name) {
                return Ok(Some((model.id, version)));
            }
        }
        Ok(None)
    }

    fn blob(&self, digest: &Digest) -> Read<Option<BlobRecord>> {
        record(self.0, &key(b'b', &[digest.as_bytes()]))
    }

    fn blobs(&self, after: Option<&Digest>, limit: usize) -> Read<Vec<(Digest, BlobRecord)>> {
        by_digest(self.0, b'b', after, limit)
    }

    fn holders(
        &self,
        digest: &Digest,
        after: Option<(ModelId, Version)>,
        limit: usize,
    ) -> Read<Vec<(ModelId, Version)>> {
        let prefix = key(b'd', &[digest.as_bytes()]);
        let from = match after {
            Some((model, version)) => Bound::Excluded(key(b'd', &[digest.as_bytes(), &id(model), &number(version)])),
            None => Bound::Included(prefix.clone()),
        };
        let pairs = self.0.range(from, prefix_end(&prefix), false).take(limit);
        pairs.map(|pair| holder_at(&pair?.0[prefix.len()..])).collect()
    }

    fn damage(&self, digest: &Digest) -> Read<Option<DamageRecord>> {
        record(self.0, &key(b'D', &[digest.as_bytes()]))
    }

    fn damages(&self, after: Option<&Digest>, limit: usize) -> Read<Vec<(Digest, DamageRecord)>> {
        by_digest(self.0, b'D', after, limit)
    }

    fn damaged(&self) -> Read<u64> {
        damaged(self.0)
    }

    fn alias_events(
        &self,
        at: ModelId,
        alias: &Alias,
        below: Option<u64>,
        limit: usize,
    ) -> Read<Vec<AliasEventRecord>> {
        let prefix = key(b'a', &[&id(at), alias.as_str().as_bytes(), b"\0"]);
        let to = match below {
            Some(index) => {
                Bound::Excluded(key(b'a', &[&id(at), alias.as_str().as_bytes(), b"\0", &index.to_be_bytes()]))
            }
            None => prefix_end(&prefix),
        };
        self.0.range(Bound::Included(prefix), to, true).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn idempotency(&self, name: &[u8; 32]) -> Read<Option<IdempotencyRecord>> {
        record(self.0, &key(b'i', &[name]))
    }

    fn models(&self, query: &ModelQuery) -> Read<ModelPage> {
        let before = applied(self.0)?;
        let newest = self.newest_change(query)?;
        let mut count = if query.after.is_some() { Count::Unasked } else { self.count_of(query)? };
        let mut rows: Vec<KeyedModel> = Vec::new();
        let mut next = None;
        let mut last = Vec::new();
        if self.is_void(query)? {
            let total = (!matches!(count, Count::Unasked)).then_some(0);
            return Ok(ModelPage { models: Vec::new(), next: None, ends: None, total });
        }
        // In keys; a record costs as much as some of them.
        let mut looked_at = 0;
        for row in self.rows(query)? {
            if looked_at >= COUNT_ROWS_MAX * RECORD_KEYS {
                count.give_up();
            }
            if looked_at >= SCAN_ROWS_MAX * RECORD_KEYS {
                next.get_or_insert(last);
                break;
            }
            let (place, model) = row?;
            looked_at += if model.is_some() { RECORD_KEYS } else { 1 };
            if let Some(model) = model
                && self.fits(query, &model)?
            {
                if rows.len() == query.limit {
                    next.get_or_insert_with(|| last.clone());
                } else {
                    rows.push((place.clone(), model));
                }
                count.one_more();
            }
            if next.is_none() {
                last = place;
            } else if !count.is_counting() {
                break;
            }
        }
        if applied(self.0)? != before {
            self.take_in_moved(query, newest, &mut rows, &mut next)?;
        }
        if query.backward {
            rows.reverse();
        }
        let ends = rows.first().zip(rows.last()).map(|((first, _), (last, _))| (first.clone(), last.clone()));
        let models = rows.into_iter().map(|(_place, model)| model).collect();
        Ok(ModelPage { models, next, ends, total: count.total() })
    }

    fn expired_models(&self, now_ms: i64, limit: usize) -> Read<Vec<ModelId>> {
        self.0
            .range(Bound::Included(vec![b'x']), Bound::Excluded(key(b'x', &[&time(now_ms)])), false)
            .take(limit)
            .map(|pair| model_id(pair?.0.get(9..).unwrap_or_default()))
            .collect()
    }

    fn counters(&self) -> Read<Counters> {
        counters(self.0)
    }

    fn log_keys(&self) -> Read<Option<LogKeysRecord>> {
        log_keys(self.0)
    }

    fn ingest(&self, which: ItemId) -> Read<Option<IngestRecord>> {
        record(self.0, &key(b'g', &[&item(which)]))
    }

    fn ingests(&self, after: Option<ItemId>, limit: usize) -> Read<Vec<IngestRecord>> {
        let prefix = key(b'g', &[]);
        let from = match after {
            Some(after) => Bound::Excluded(key(b'g', &[&item(after)])),
            None => Bound::Included(prefix.clone()),
        };
        self.0.range(from, prefix_end(&prefix), false).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn intake(&self) -> Read<Option<IntakeRecord>> {
        record(self.0, b"G")
    }

    fn webhook(&self, which: HookId) -> Read<Option<WebhookRecord>> {
        record(self.0, &key(b'H', &[&hook(which)]))
    }

    fn webhooks(&self) -> Read<Vec<WebhookRecord>> {
        prefixed(self.0, b"H", false).map(|pair| decode(&pair?.1)).collect()
    }

    fn webhook_progress(&self, which: HookId) -> Read<Option<WebhookProgressRecord>> {
        record(self.0, &key(b'j', &[&hook(which)]))
    }

    fn ruleset(&self) -> Read<Option<RulesetRecord>> {
        record(self.0, b"R")
    }

    fn inspected_with(&self) -> Read<Vec<(String, u64)>> {
        let counted = |pair: Read<(sled::IVec, sled::IVec)>| {
            let (at, count) = pair?;
            Ok((String::from_utf8_lossy(at.get(1..).unwrap_or_default()).into_owned(), decode(&count)?))
        };
        prefixed(self.0, b"W", false).map(counted).collect()
    }

    fn inspected_by(&self, ruleset: &str, below: Option<VersionKey>, limit: usize) -> Read<Vec<VersionKey>> {
        let prefix = key(b'w', &[ruleset.as_bytes(), b"\0"]);
        let to = match below {
            Some((model, version)) => Bound::Excluded([&prefix[..], &id(model)[..], &number(version)[..]].concat()),
            None => prefix_end(&prefix),
        };
        let keys = self.0.range(Bound::Included(prefix.clone()), to, true).take(limit);
        keys.map(|pair| version_key(pair?.0.get(prefix.len()..).unwrap_or_default())).collect()
    }

    fn quarantined(&self, blocked: bool, after: Option<&[u8]>, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>> {
        let prefix = key(b'q', &[&[u8::from(blocked)]]);
        let from = match after {
            Some(after) => Bound::Excluded(key_after(&prefix, after)),
            None => Bound::Included(prefix.clone()),
        };
        let held = |pair: Read<(sled::IVec, sled::IVec)>| {
            let place = pair?.0.get(prefix.len()..).unwrap_or_default().to_vec();
            let of = version_key(place.get(8..).unwrap_or_default())?;
            Ok((place, of))
        };
        self.0.range(from, prefix_end(&prefix), false).take(limit).map(held).collect()
    }

    fn quarantined_back(&self, blocked: bool, before: Option<&[u8]>, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>> {
        let prefix = key(b'q', &[&[u8::from(blocked)]]);
        let to = match before {
            Some(before) => Bound::Excluded(key_after(&prefix, before)),
            None => prefix_end(&prefix),
        };
        let held = |pair: Read<(sled::IVec, sled::IVec)>| {
            let place = pair?.0.get(prefix.len()..).unwrap_or_default().to_vec();
            let of = version_key(place.get(8..).unwrap_or_default())?;
            Ok((place, of))
        };
        self.0.range(Bound::Included(prefix.clone()), to, true).take(limit).map(held).collect()
    }

    fn review_notes(&self, model: ModelId, version: Version, limit: usize) -> Read<Vec<ReviewNoteRecord>> {
        let prefix = key(b'N', &[&id(model), &number(version)]);
        prefixed(self.0, &prefix, true).take(limit).map(|pair| decode(&pair?.1)).collect()
    }

    fn approvals(&self, model: ModelId, version: Version) -> Read<Vec<ApprovalRecord>> {
        Ok(record(self.0, &key(b'A', &[&id(model), &number(version)]))?.unwrap_or_default())
    }

    fn sender(&self, id: &str) -> Read<SenderRecord> {
        Ok(record(self.0, &key(b'P', &[id.as_bytes()]))?.unwrap_or_default())
    }

    fn held(&self, blocked: bool) -> Read<u64> {
        held(self.0, blocked, None)
    }

    fn usage(&self, account: &Account) -> Read<UsageRecord> {
        Ok(record(self.0, &account_key(b'f', account))?.unwrap_or_default())
    }

    fn quota(&self, account: &Account) -> Read<Option<QuotaRecord>> {
        record(self.0, &account_key(b'F', account))
    }

    fn accounts(&self, after: Option<&Account>, limit: usize) -> Read<Vec<Account>> {
        let mut found = BTreeSet::new();
        // Those with a quota, and those of which something is kept: either index has the first of them at its beginning.
        for space in [b'F', b'f'] {
            for kind in [b'n', b'u'] {
                let prefix = [space, kind];
                let from = match after.map(|after| account_key(space, after)) {
                    Some(after) if after.starts_with(&prefix) => Bound::Excluded(after),
                    Some(after) if after.as_slice() > prefix.as_slice() => continue,
                    Some(_) | None => Bound::Included(prefix.to_vec()),
                };
                for pair in self.0.range(from, prefix_end(&prefix), false).take(limit) {
                    found.insert(account_at(pair?.0.get(1..).unwrap_or_default())?);
                }
            }
        }
        // In the order of the keys, which is not that of the enumeration.
        let mut found: Vec<Account> = found.into_iter().collect();
        found.sort_by_cached_key(|account| account_key(b'f', account));
        found.truncate(limit);
        Ok(found)
    }

    fn retention_rule(&self, name: &str) -> Read<Option<RetentionRuleRecord>> {
        record(self.0, &key(b'Y', &[name.as_bytes()]))
    }

    fn retention_rules(&self) -> Read<Vec<RetentionRuleRecord>> {
        prefixed(self.0, b"Y", false).map(|pair| decode(&pair?.1)).collect()
    }

    fn deleted_versions(&self, after: Option<&[u8]>, until_ms: i64, limit: usize) -> Read<Vec<(Vec<u8>, VersionKey)>> {
        let from = match after {
            Some(after) => Bound::Excluded(key_after(b"y", after)),
            None => Bound::Included(vec![b'y']),
        };
        let to = Bound::Excluded(key(b'y', &[&time(until_ms)]));
        if let Bound::Excluded(after) = &from
            && after.as_slice() >= key(b'y', &[&time(until_ms)]).as_slice()
        {
            return Ok(Vec::new());
        }
        let pairs = self.0.range(from, to, false).take(limit);
        pairs
            .map(|pair| {
                let place = pair?.0.get(1..).unwrap_or_default().to_vec();
                let of = version_key(place.get(8..).unwrap_or_default())?;
                Ok((place, of))
            })
            .collect()
    }

    fn all_versions(&self, after: Option<VersionKey>, limit: usize) -> Read<Vec<VersionRecord>> {
        let from = match after {
            Some((model, version)) => Bound::Excluded(key(b'v', &[&id(model), &number(version)])),
            None => Bound::Included(vec![b'v']),
        };
        self.0.range(from, prefix_end(b"v"), false).take(limit).map(|pair| decode(&pair?.1)).collect()
    }
}

/// The end of a key: a model's id and a version's number.
fn version_key(octets: &[u8]) -> Read<VersionKey> {
    let (model, version) = octets.split_at_checked(16).ok_or_else(bad_version_key)?;
    let number = u32::from_be_bytes(version.try_into().map_err(|_length| bad_version_key())?);
    Ok((model_id(model)?, Version::try_from(number).map_err(|_zero| bad_version_key())?))
}

fn bad_version_key() -> StoreError {
    StoreError::Corrupt("a version's key in the view is damaged".to_owned())
}

fn bad_digest_key() -> StoreError {
    StoreError::Corrupt("a digest's key in the view is damaged".to_owned())
}

fn key_after(prefix: &[u8], after: &[u8]) -> Vec<u8> {
    [prefix, after].concat()
}

fn key_of_time(ms: i64, model: ModelId) -> Vec<u8> {
    [&time(ms)[..], &id(model)].concat()
}

fn tag_prefix(tag: &str, value: &str) -> Vec<u8> {
    key(b't', &[tag.as_bytes(), b"\0", value.as_bytes(), b"\0"])
}

/// How many rows match in all: known at once, being counted, or not to be had.
enum Count {
    Known(u64),
    SoFar(u64),
    Unasked,
}

impl Count {
    fn is_counting(&self) -> bool {
        matches!(self, Self::SoFar(_))
    }
    fn one_more(&mut self) {
        if let Self::SoFar(count) = self {
            *count += 1;
        }
    }
    fn give_up(&mut self) {
        if self.is_counting() {
            *self = Self::Unasked;
        }
    }
    fn total(&self) -> Option<u64> {
        match self {
            Self::Known(count) | Self::SoFar(count) => Some(*count),
            Self::Unasked => None,
        }
    }
}

/// The feature whose models are walked. As of tags and facets: not for whoever doesn't see all models.
fn walked_feature(query: &ModelQuery) -> Option<&Feature> {
    query.features.first().filter(|_feature| query.names.is_none())
}

/// The index that has all models in an order, by its prefix, and the direction; by creation those of a feature alone.
fn index_for(query: &ModelQuery) -> (Vec<u8>, bool) {
    let by_id = || walked_feature(query).map_or_else(|| vec![b'm'], features::prefix);
    match query.sort {
        ModelSort::NameUp => (vec![b'n'], false),
        ModelSort::NameDown => (vec![b'n'], true),
        ModelSort::UpdatedUp => (vec![b'r'], false),
        ModelSort::UpdatedDown => (vec![b'r'], true),
        ModelSort::CreatedUp => (by_id(), false),
        ModelSort::CreatedDown => (by_id(), true),
    }
}

fn matches(query: &ModelQuery, model: &ModelRecord) -> bool {
    let state = shown_state(model);
    let state_fits = match query.state {
        Some(wanted) => state == wanted,
        None => model.deleted.is_none(),
    };
    let text_fits = query.text.as_ref().is_none_or(|text| {
        let (text, name, description) = (text.to_lowercase(), model.name.folded(), model.description.to_lowercase());
        search::words(&text).all(|word| name.contains(word) || description.contains(word))
    });
    let latest = model.latest.as_ref();
    let is_unlike = |unlike: &ModelUnlike| match unlike {
        ModelUnlike::Tag(tag, value) => model.tags.get(tag) == Some(value),
        ModelUnlike::State(unwanted) => state == *unwanted,
        ModelUnlike::Format(format) => latest.is_some_and(|latest| &latest.format == format),
        ModelUnlike::Verdict(verdict) => latest.is_some_and(|latest| latest.verdict.as_ref() == Some(verdict)),
        ModelUnlike::Alias(alias) => model.aliases.contains_key(alias),
        ModelUnlike::Uploader(by) => latest.is_some_and(|latest| &latest.uploader == by),
    };
    !model.purged
        && state_fits
        && text_fits
        && query.tags.iter().all(|(tag, value)| model.tags.get(tag) == Some(value))
        && query.format.as_ref().is_none_or(|format| latest.is_some_and(|latest| &latest.format == format))
        && query.parameters.is_none_or(|bounds| {
            latest.and_then(|latest| latest.parameters).is_some_and(|parameters| bounds.fit(parameters))
        })
        && query
            .dtypes
            .iter()
            .all(|dtype| latest.is_some_and(|latest| latest.dtypes.iter().any(|one| one.eq_ignore_ascii_case(dtype))))
        && query.verdict.as_ref().is_none_or(|verdict| latest.is_some_and(|one| one.verdict.as_ref() == Some(verdict)))
        && query.uploader.as_ref().is_none_or(|by| latest.is_some_and(|latest| &latest.uploader == by))
        && query.alias.as_ref().is_none_or(|alias| model.aliases.contains_key(alias))
        && query.since_ms.is_none_or(|since| model.updated_at_ms >= since)
        && query.names.as_ref().is_none_or(|names| (names.fits)(&model.name))
        && !query.not.iter().any(is_unlike)
}

#[cfg(test)]
#[path = "view/costs/tests.rs"]
mod costs;
#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::{BTreeMap, BTreeSet};
    use std::ops::Bound;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use common::api::State;
    use common::name::{HookId, ItemId, ModelId, ModelName};
    use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};

    use super::{Applied, KvRecords, SORTED_ROWS_MAX, apply, set_applied};
    use crate::store::overlay::{Kv, Overlay, Pairs};
    use crate::store::packed::PackedTree;
    use crate::store::records::{
        Account, ArtifactRecord, DeletionRecord, IngestOutcome, IngestRecord, InspectionRecord, IntakeRecord,
        ModelRecord, QuotaRecord, ReviewDecision, ReviewRecord, UsageRecord, VersionRecord, WebhookDisabledRecord,
        WebhookProgressRecord, WebhookRecord, WebhookSecretRecord, Write,
    };
    use crate::store::{ModelPage, ModelQuery, ModelSort, Moment, NamesWanted, Records};
    use crate::store::{Read, VersionKey};

    pub(super) fn model(number: u32, tags: &[(&str, &str)]) -> ModelRecord {
        ModelRecord {
            id: ModelId::from_u128(u128::from(number) + 1),
            name: format!("model-{number:05}").parse().unwrap(),
            description: String::new(),
            tags: tags.iter().map(|&(tag, value)| (tag.to_owned(), value.to_owned())).collect(),
            owner: "ana".to_owned(),
            created_at_ms: 0,
            // Several of a time, and not in the order of the names.
            updated_at_ms: i64::from(number * 7919 % 101),
            last_number: 0,
            live_versions: 0,
            latest: None,
            aliases: BTreeMap::new(),
            deleted: None,
            purged: false,
            revision: 0,
        }
    }

    pub(super) fn put(tree: &PackedTree, models: impl IntoIterator<Item = ModelRecord>) {
        let mut overlay = Overlay::new(tree);
        let writes: Vec<Write> = models.into_iter().map(Write::PutModel).collect();
        apply(&mut overlay, &writes, Moment { index: 1, at_ms: 1 }, &mut Vec::new()).unwrap();
        tree.apply(overlay.into_changes()).unwrap();
    }

    pub(super) fn tree() -> PackedTree {
        PackedTree::open(&sled::Config::new().temporary(true).open().unwrap(), b"view").unwrap()
    }

    fn tagged(tree: &PackedTree, value: &str) -> (Option<u64>, usize) {
        let tags = vec![("stage".to_owned(), value.to_owned())];
        let page = KvRecords(tree).models(&ModelQuery { tags, limit: 1000, ..ModelQuery::default() }).unwrap();
        (page.total, page.models.len())
    }

    /// A tag's count follows what becomes of its models.
    #[test]
    fn tags_are_counted() {
        let tree = tree();
        put(&tree, (0..3).map(|number| model(number, &[("stage", "dev"), ("stage-2", "dev")])));
        assert_eq!(tagged(&tree, "dev"), (Some(3), 3));
        put(&tree, [model(0, &[("stage", "prod")]), model(1, &[])]);
        assert_eq!((tagged(&tree, "dev"), tagged(&tree, "prod")), ((Some(1), 1), (Some(1), 1)));
        let deleted = DeletionRecord {
            at_ms: 1,
            restorable_until_ms: 2,
            by: "ana".to_owned(),
            state_before: common::api::State::Available,
        };
        put(&tree, [ModelRecord { deleted: Some(deleted), ..model(2, &[("stage", "dev")]) }]);
        assert_eq!(tagged(&tree, "dev"), (Some(0), 0));
        put(&tree, [model(2, &[("stage", "dev")])]);
        assert_eq!(tagged(&tree, "dev"), (Some(1), 1));
        put(&tree, [ModelRecord { purged: true, ..model(2, &[("stage", "dev")]) }]);
        assert_eq!(tagged(&tree, "dev"), (Some(0), 0));
    }

    pub(super) fn version(number: u32, state: State, ruleset: Option<&str>) -> VersionRecord {
        VersionRecord {
            model: ModelId::from_u128(1),
            version: number.try_into().unwrap(),
            state,
            state_reason: None,
            state_at_ms: i64::from(number),
            held_by_inspection: false,
            description: String::new(),
            artifacts: Vec::new(),
            metadata: BTreeMap::new(),
            findings: Vec::new(),
            inspection: ruleset.map(|ruleset| InspectionRecord {
                ruleset: ruleset.to_owned(),
                verdict: "clean".to_owned(),
                at_ms: 0,
                findings_total: 0,
                policy: "default".to_owned(),
            }),
            review: None,
            source: "api".to_owned(),
            created_at_ms: 0,
            created_by: "ana".to_owned(),
            created_by_id: "usr_ana".to_owned(),
            index: 0,
            deleted: None,
            revision: 0,
        }
    }

    pub(super) fn write(tree: &PackedTree, writes: &[Write]) {
        let mut overlay = Overlay::new(tree);
        apply(&mut overlay, writes, Moment { index: 9, at_ms: 99 }, &mut Vec::new()).unwrap();
        tree.apply(overlay.into_changes()).unwrap();
    }

    /// Versions are found and counted by the rules they were inspected with, whatever becomes of them; a renewal moves them.
    #[test]
    fn by_ruleset() {
        let tree = tree();
        let model = ModelId::from_u128(1);
        let counts = || KvRecords(&tree).inspected_with().unwrap();
        let found = |ruleset: &str, below: Option<u32>| {
            let below = below.map(|number| (model, number.try_into().unwrap()));
            let found = KvRecords(&tree).inspected_by(ruleset, below, 2).unwrap();
            found.into_iter().map(|(_model, version)| version.number()).collect::<Vec<_>>()
        };
        let put = |number, ruleset| Write::PutVersion(version(number, State::Available, ruleset));
        write(&tree, &[put(1, None), put(2, Some("a")), put(3, Some("a")), put(4, Some("a")), put(5, Some("ab"))]);
        assert_eq!(counts(), [("".into(), 1), ("a".into(), 3), ("ab".into(), 1)]);
        assert_eq!((found("a", None), found("a", Some(3)), found("", None)), (vec![4, 3], vec![2], vec![1]));
        let versions = [1, 3, 7].map(|number: u32| (model, number.try_into().unwrap())).to_vec();
        write(&tree, &[Write::RenewInspections { ruleset: "ab".into(), versions }]);
        assert_eq!(
            counts(),
            [("".into(), 1), ("a".into(), 2), ("ab".into(), 2)],
            "one was never inspected, one isn't there"
        );
        let renewed = KvRecords(&tree).version(model, 3.try_into().unwrap()).unwrap().unwrap();
        assert_eq!((renewed.inspection.unwrap().at_ms, renewed.revision), (99, 0));
        let deletion =
            DeletionRecord { at_ms: 1, restorable_until_ms: 2, by: "ana".into(), state_before: State::Available };
        let deleted = VersionRecord { deleted: Some(deletion), ..version(4, State::Deleted, Some("a")) };
        write(&tree, &[Write::PutVersion(deleted), Write::DeleteVersion { model, version: 2.try_into().unwrap() }]);
        assert_eq!(counts(), [("".into(), 1), ("ab".into(), 2)]);
        assert_eq!((found("a", None), found("ab", None)), (vec![], vec![5, 3]));
    }

    /// Items of the drop folder are kept in their order, replaced and forgotten one by one; the folder's own record is no item.
    #[test]
    fn items_of_the_drop_folder() {
        let tree = tree();
        let ingest = |item: u128, path: &str| IngestRecord {
            item: ItemId::from_u128(item),
            path: path.to_owned(),
            device: u64::MAX,
            inode: u64::MAX,
            owner_uid: u32::MAX,
            digest: None,
            size: u64::MAX,
            outcome: IngestOutcome::Discarded { by: "ana".into(), reason: "x".into() },
            at_ms: 1,
            index: 1,
        };
        let found = |after: Option<u128>, limit| {
            let found = KvRecords(&tree).ingests(after.map(ItemId::from_u128), limit).unwrap();
            found.into_iter().map(|record| (record.item.as_u128(), record.path)).collect::<Vec<_>>()
        };
        let at = |item: u128, path: &str| (item, path.to_owned());
        let put = |item, path| Write::PutIngest(ingest(item, path));
        let intake = IntakeRecord { paused: true, by: "ana".to_owned(), reason: "x".to_owned(), at_ms: 1, index: 9 };
        let puts = [put(u128::MAX, "last"), put(256, "b"), put(0, "first"), put(1, "a")];
        write(&tree, &puts);
        assert_eq!(KvRecords(&tree).intake().unwrap(), None);
        write(&tree, &[Write::PutIntake(intake.clone()), Write::DeleteIngest { item: ItemId::from_u128(7) }]);
        assert_eq!(KvRecords(&tree).intake().unwrap(), Some(intake));
        assert_eq!(found(None, 2), [at(0, "first"), at(1, "a")]);
        assert_eq!(found(Some(1), 9), [at(256, "b"), at(u128::MAX, "last")]);
        assert_eq!(found(Some(7), 1), [at(256, "b")]);
        assert_eq!(found(Some(u128::MAX), 9), []);
        write(&tree, &[put(256, "again"), Write::DeleteIngest { item: ItemId::from_u128(0) }]);
        assert_eq!(found(None, 9), [at(1, "a"), at(256, "again"), at(u128::MAX, "last")]);
        assert_eq!(KvRecords(&tree).ingest(ItemId::from_u128(256)).unwrap(), Some(ingest(256, "again")));
        assert_eq!(KvRecords(&tree).ingest(ItemId::from_u128(0)).unwrap(), None);
    }

    /// Webhooks are found oldest first, replaced and removed together with how far they had come; what is said of one that
    /// is gone leaves nothing behind.
    #[test]
    fn webhooks() {
        let tree = tree();
        let secret = WebhookSecretRecord { generation: u32::MAX, key: [7; 8] };
        let hook = |id: u128, url: &str| WebhookRecord {
            id: HookId::from_u128(id),
            url: url.to_owned(),
            description: String::new(),
            actions: vec!["model.*".to_owned()],
            models: vec!["team/*".parse().unwrap()],
            outcomes: vec!["ok".to_owned()],
            disabled: Some(WebhookDisabledRecord { because: Some("gone".to_owned()), at_ms: i64::MAX }),
            secret,
            previous: Some((secret, 5)),
            course: 1,
            from: u64::MAX,
            created_at_ms: 1,
            created_by: "ana".to_owned(),
            updated_at_ms: 2,
            revision: 3,
        };
        let progress = |id: u128, next| WebhookProgressRecord { hook: HookId::from_u128(id), course: 1, next };
        let [first, second, last] = [1, 256, u128::MAX].map(HookId::from_u128);
        write(&tree, &[256, u128::MAX, 1].map(|id| Write::PutWebhook(hook(id, "a"))));
        write(&tree, &[Write::PutWebhookProgress(vec![progress(1, 4), progress(256, 5), progress(7, 6)])]);
        write(&tree, &[Write::PutWebhook(hook(1, "b")), Write::DeleteWebhook { hook: second }]);
        assert_eq!(KvRecords(&tree).webhooks().unwrap(), [hook(1, "b"), hook(u128::MAX, "a")]);
        assert_eq!(KvRecords(&tree).webhook(second).unwrap(), None);
        assert_eq!(KvRecords(&tree).webhook(last).unwrap(), Some(hook(u128::MAX, "a")));
        assert_eq!(KvRecords(&tree).webhook_progress(first).unwrap(), Some(progress(1, 4)));
        for gone in [second, HookId::from_u128(7)] {
            assert_eq!(KvRecords(&tree).webhook_progress(gone).unwrap(), None);
        }
    }

    /// The quarantine has what is held, the longest held first, and what is blocked apart.
    #[test]
    fn quarantine() {
        let tree = tree();
        let found = |blocked, after: Option<&[u8]>| KvRecords(&tree).quarantined(blocked, after, 2).unwrap();
        let numbers = |found: Vec<(Vec<u8>, VersionKey)>| {
            found.into_iter().map(|(_place, (_model, version))| version.number()).collect::<Vec<_>>()
        };
        let held = |number| Write::PutVersion(version(number, State::Quarantined, None));
        write(&tree, &[held(3), held(1), held(2), Write::PutVersion(version(4, State::Available, None))]);
        let first = found(false, None);
        let place = first[1].0.clone();
        assert_eq!((numbers(first), numbers(found(false, Some(&place)))), (vec![1, 2], vec![3]));
        let review = ReviewRecord {
            decision: ReviewDecision::Blocked,
            by: "ana".into(),
            at_ms: 1,
            index: 1,
            reason: "x".into(),
            over: Vec::new(),
        };
        let blocked = VersionRecord { review: Some(review), ..version(1, State::Quarantined, None) };
        write(&tree, &[Write::PutVersion(blocked), Write::PutVersion(version(2, State::Available, None))]);
        assert_eq!((numbers(found(false, None)), numbers(found(true, None))), (vec![3], vec![1]));
    }

    /// The quarantine is counted: without what is released or removed, blocked apart, and without what is deleted with its
    /// model until that is restored, whichever comes first.
    #[test]
    fn quarantine_is_counted() {
        let tree = tree();
        let counts = || [false, true].map(|blocked| KvRecords(&tree).held(blocked).unwrap());
        let held = |number| Write::PutVersion(version(number, State::Quarantined, None));
        let review = ReviewRecord {
            decision: ReviewDecision::Blocked,
            by: "ana".into(),
            at_ms: 1,
            index: 1,
            reason: "x".into(),
            over: Vec::new(),
        };
        let blocked = |number| {
            let version = version(number, State::Quarantined, None);
            Write::PutVersion(VersionRecord { review: Some(review.clone()), ..version })
        };
        let live = model(0, &[]);
        let gone =
            DeletionRecord { at_ms: 1, restorable_until_ms: 2, by: "ana".into(), state_before: State::Available };
        let deleted = ModelRecord { deleted: Some(gone), ..model(0, &[]) };
        write(&tree, &[held(1), Write::PutModel(live.clone()), held(2), held(3), blocked(4)]);
        assert_eq!(counts(), [3, 1]);
        write(&tree, &[Write::PutVersion(version(1, State::Available, None)), held(2), blocked(3)]);
        assert_eq!(counts(), [1, 2], "put again as it was, it counts once");
        write(&tree, &[Write::PutModel(deleted.clone()), held(5)]);
        assert_eq!(counts(), [0, 0]);
        write(&tree, &[Write::DeleteVersion { model: ModelId::from_u128(1), version: 4.try_into().unwrap() }]);
        write(&tree, &[held(6), Write::PutModel(live), held(7)]);
        assert_eq!(counts(), [4, 1]);
        write(&tree, &[Write::PutModel(ModelRecord { purged: true, ..deleted })]);
        assert_eq!(counts(), [0, 0]);
    }

    /// A tree in which a model changes after some steps of a walk.
    struct Moving<'t> {
        tree: &'t PackedTree,
        steps: Cell<usize>,
        change: Cell<Option<ModelRecord>>,
    }

    impl Moving<'_> {
        fn step(&self) {
            self.steps.set(self.steps.get().saturating_sub(1));
            if self.steps.get() == 0
                && let Some(model) = self.change.take()
            {
                let mut overlay = Overlay::new(self.tree);
                let moment = Moment { index: 2, at_ms: model.updated_at_ms };
                apply(&mut overlay, &[Write::PutModel(model)], moment, &mut Vec::new()).unwrap();
                set_applied(&mut overlay, &Applied { size: 2, genesis: [0; 32] }).unwrap();
                self.tree.apply(overlay.into_changes()).unwrap();
            }
        }
    }

    impl Kv for Moving<'_> {
        fn get(&self, key: &[u8]) -> Read<Option<sled::IVec>> {
            Kv::get(self.tree, key)
        }

        fn range(&self, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>, down: bool) -> Pairs<'_> {
            Box::new(Kv::range(self.tree, from, to, down).inspect(|_pair| self.step()))
        }
    }

    /// A model that changes while a page is read by the time of change is on it once, whenever it changes and wherever it
    /// was, and so are all others.
    #[test]
    fn a_model_that_moves_under_a_walk_is_met_once() {
        for sort in [ModelSort::UpdatedDown, ModelSort::UpdatedUp] {
            for backward in [false, true] {
                for (which, steps) in (0..20).flat_map(|which| (0..24).map(move |steps| (which, steps))) {
                    let tree = tree();
                    put(&tree, (0..20).map(|number| model(number, &[])));
                    let change = ModelRecord { updated_at_ms: 1000, ..model(which, &[]) };
                    let moving = Moving { tree: &tree, steps: Cell::new(steps), change: Cell::new(Some(change)) };
                    let query = ModelQuery { sort, backward, limit: 20, ..ModelQuery::default() };
                    let page = KvRecords(&moving).models(&query).unwrap();
                    let met: BTreeSet<_> = page.models.iter().map(|model| model.id).collect();
                    let case = format!("{sort:?}, backward {backward}, model {which}, step {steps}");
                    assert_eq!((page.models.len(), met.len()), (20, 20), "{case}");
                    // A page that is full goes on behind its last row.
                    let query = ModelQuery { limit: 5, ..query };
                    let page = KvRecords(&moving).models(&query).unwrap();
                    assert_eq!(page.models.len(), 5, "{case}");
                }
            }
        }
    }

    /// Where beginnings of names are known only what begins so is looked at, and the pages are the same: from every place on,
    /// in either order, from either end.
    #[test]
    fn names_within_beginnings() {
        let tree = tree();
        let names = ["a", "a/1", "a/2", "b", "b/1", "b/2", "b1", "c/1", "d", "d/1", "e/z"];
        put(
            &tree,
            names
                .iter()
                .zip(0..)
                .map(|(name, number)| ModelRecord { name: name.parse().unwrap(), ..model(number, &[]) }),
        );
        let wanted = ["a/", "b/", "d", "x"].map(str::to_owned).to_vec();
        let looked = Arc::new(AtomicUsize::new(0));
        let query = |within: Option<Vec<String>>, sort, backward, after, limit| {
            let (wanted, looked) = (wanted.clone(), Arc::clone(&looked));
            let fits = move |name: &ModelName| {
                looked.fetch_add(1, Ordering::Relaxed);
                wanted.iter().any(|head| name.folded().starts_with(head.as_str()))
            };
            let names = Some(NamesWanted { fits: Arc::new(fits), within });
            let page = ModelQuery { names, sort, backward, after, limit, ..ModelQuery::default() };
            KvRecords(&tree).models(&page).unwrap()
        };
        let shown = |page: &ModelPage| page.models.iter().map(|model| model.name.to_string()).collect::<Vec<_>>();
        for sort in [ModelSort::NameUp, ModelSort::NameDown] {
            for backward in [false, true] {
                for limit in [1, 2, 9] {
                    for after in [None].into_iter().chain(names.iter().map(Some)).chain([Some(&"0"), Some(&"zz")]) {
                        let after = after.map(|name| name.as_bytes().to_vec());
                        let all = query(None, sort, backward, after.clone(), limit);
                        let within = query(Some(wanted.clone()), sort, backward, after.clone(), limit);
                        assert_eq!(shown(&all), shown(&within), "{sort:?} {backward} {limit} {after:?}");
                        assert_eq!((all.next.is_some(), all.total), (within.next.is_some(), within.total));
                    }
                }
            }
        }
        looked.store(0, Ordering::Relaxed);
        let found = query(Some(wanted.clone()), ModelSort::NameUp, false, None, 50);
        assert_eq!((found.models.len(), found.total, looked.load(Ordering::Relaxed)), (6, Some(6), 6));
    }

    /// One step of a registry's life, for the counters of quotas.
    #[derive(Debug, Clone)]
    enum Life {
        /// A user publishes a version of so many octets; the version's write comes before the model's, or after it.
        Publish {
            model: u8,
            user: u8,
            sizes: Vec<u16>,
            first: bool,
        },
        /// A version is deleted, restored or purged.
        Delete {
            model: u8,
            version: u8,
        },
        Restore {
            model: u8,
            version: u8,
        },
        Purge {
            model: u8,
            version: u8,
        },
        DeleteModel {
            model: u8,
        },
        PurgeModel {
            model: u8,
        },
    }

    fn lives() -> impl Strategy<Value = Vec<Life>> {
        let publish = (0..4_u8, 0..3_u8, proptest::collection::vec(any::<u16>(), 0..4), any::<bool>())
            .prop_map(|(model, user, sizes, first)| Life::Publish { model, user, sizes, first });
        let of_version = (0..4_u8, 1..6_u8);
        proptest::collection::vec(
            prop_oneof![
                4 => publish,
                1 => of_version.clone().prop_map(|(model, version)| Life::Delete { model, version }),
                1 => of_version.clone().prop_map(|(model, version)| Life::Restore { model, version }),
                2 => of_version.prop_map(|(model, version)| Life::Purge { model, version }),
                1 => (0..4_u8).prop_map(|model| Life::DeleteModel { model }),
                1 => (0..4_u8).prop_map(|model| Life::PurgeModel { model }),
            ],
            0..40,
        )
    }

    const NAMES: [&str; 4] = ["a", "Team/a", "team/b", "other/a"];

    proptest! {
        /// Whatever is published, deleted, restored and purged in whatever order: what is counted of each user and namespace
        /// is what a sum over all versions that are left comes to, and what is nothing has no record.
        #[test]
        fn usage_is_the_sum(lives in lives()) {
            let tree = tree();
            let deletion =
                || DeletionRecord { at_ms: 1, restorable_until_ms: 2, by: "x".into(), state_before: State::Available };
            let mut ids: [Option<ModelId>; 4] = [None; 4];
            let mut made = 0_u128;
            for life in lives {
                let records = KvRecords(&tree);
                let find = |model: u8, version: u8| {
                    let id = ids[usize::from(model)]?;
                    records.version(id, u32::from(version).try_into().unwrap()).unwrap()
                };
                let mut writes = Vec::new();
                match life {
                    Life::Publish { model, user, sizes, first } => {
                        let which = usize::from(model);
                        let id = *ids[which].get_or_insert_with(|| {
                            made += 1;
                            ModelId::from_u128(made)
                        });
                        let mut record = records.model(id).unwrap().unwrap_or_else(|| super::tests::model(0, &[]));
                        (record.id, record.name) = (id, NAMES[which].parse().unwrap());
                        record.last_number += 1;
                        let mut version = version(record.last_number, State::Available, None);
                        (version.model, version.created_by_id) = (id, format!("usr_{user}"));
                        version.artifacts = sizes
                            .iter()
                            .enumerate()
                            .map(|(at, size)| ArtifactRecord {
                                path: format!("{at}.bin").parse().unwrap(),
                                size: u64::from(*size),
                                digest: common::digest::Digest::from_bytes([7; 32]),
                                format: String::new(),
                                verdict: None,
                            })
                            .collect();
                        writes.push(Write::PutVersion(version));
                        writes.insert(usize::from(first), Write::PutModel(record));
                    }
                    Life::Delete { model, version } => {
                        let found = find(model, version);
                        writes.extend(found.map(|found| Write::PutVersion(VersionRecord { deleted: Some(deletion()), ..found })));
                    }
                    Life::Restore { model, version } => {
                        let found = find(model, version);
                        writes.extend(found.map(|found| Write::PutVersion(VersionRecord { deleted: None, ..found })));
                    }
                    Life::Purge { model, version } => {
                        let found = find(model, version);
                        writes.extend(found.map(|found| Write::DeleteVersion { model: found.model, version: found.version }));
                    }
                    Life::DeleteModel { model } => {
                        let id = ids[usize::from(model)];
                        let found = id.and_then(|id| records.model(id).unwrap());
                        writes.extend(found.map(|found| Write::PutModel(ModelRecord { deleted: Some(deletion()), ..found })));
                    }
                    Life::PurgeModel { model } => {
                        if let Some(id) = ids[usize::from(model)].take() {
                            let versions = records.versions(id, None, 1000).unwrap();
                            writes.extend(versions.iter().map(|one| Write::DeleteVersion { model: id, version: one.version }));
                            let found = records.model(id).unwrap().unwrap();
                            writes.push(Write::PutModel(ModelRecord { purged: true, deleted: None, ..found }));
                        }
                    }
                }
                write(&tree, &writes);
            }
            let records = KvRecords(&tree);
            let mut sums: BTreeMap<Account, UsageRecord> = BTreeMap::new();
            for (which, id) in ids.iter().enumerate().filter_map(|(which, id)| Some((which, (*id)?))) {
                let namespace = Account::of_model(&NAMES[which].parse().unwrap());
                sums.entry(namespace.clone()).or_default().models += 1;
                for version in records.versions(id, None, 1000).unwrap() {
                    for account in [namespace.clone(), Account::User(version.created_by_id.clone())] {
                        let sum = sums.entry(account).or_default();
                        sum.versions += 1;
                        sum.bytes += version.artifacts.iter().map(|artifact| artifact.size).sum::<u64>();
                    }
                }
            }
            let counted = records.accounts(None, 100).unwrap();
            let counted: BTreeMap<Account, UsageRecord> =
                counted.into_iter().map(|account| (account.clone(), records.usage(&account).unwrap())).collect();
            prop_assert_eq!(counted, sums);
        }
    }

    /// Accounts come page by page in one order, those that have only a quota among them.
    #[test]
    fn accounts_in_pages() {
        let tree = tree();
        let quota = |account| {
            let by = "ana".to_owned();
            Write::PutQuota(QuotaRecord {
                account,
                bytes: Some(1),
                versions: None,
                models: None,
                by,
                at_ms: 1,
                index: 1,
            })
        };
        let named = |name: &str| ModelRecord { name: name.parse().unwrap(), ..model(0, &[]) };
        let user = |id: &str| Account::User(id.to_owned());
        let namespace = |name: &str| Account::Namespace(name.to_owned());
        write(&tree, &[Write::PutModel(named("b/x")), Write::PutVersion(version(1, State::Available, None))]);
        write(&tree, &[quota(namespace("a")), quota(namespace("b")), quota(user("usr_b")), quota(namespace(""))]);
        let all = [namespace(""), namespace("a"), namespace("b"), user("usr_ana"), user("usr_b")];
        for limit in 1..7 {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = KvRecords(&tree).accounts(after.as_ref(), limit).unwrap();
                after = page.last().cloned();
                found.extend(page.clone());
                if page.len() < limit {
                    break;
                }
            }
            assert_eq!(found, all, "{limit}");
        }
        write(&tree, &[Write::DeleteQuota(user("usr_b"))]);
        assert_eq!(KvRecords(&tree).quota(&user("usr_b")).unwrap(), None);
        assert_eq!(KvRecords(&tree).quota(&namespace("a")).unwrap().unwrap().bytes, Some(1));
    }

    /// Deleted versions are found by the end of their time, until they are restored or purged.
    #[test]
    fn deleted_versions_by_time() {
        let tree = tree();
        let deleted = |number: u32, until_ms| {
            let deletion = DeletionRecord {
                at_ms: 1,
                restorable_until_ms: until_ms,
                by: "x".into(),
                state_before: State::Available,
            };
            Write::PutVersion(VersionRecord { deleted: Some(deletion), ..version(number, State::Deleted, None) })
        };
        write(
            &tree,
            &[deleted(1, 30), deleted(2, 10), deleted(3, 20), Write::PutVersion(version(4, State::Available, None))],
        );
        let found = |after: Option<&[u8]>, until_ms| {
            let found = KvRecords(&tree).deleted_versions(after, until_ms, 2).unwrap();
            found.into_iter().map(|(place, (_model, version))| (place, version.number())).collect::<Vec<_>>()
        };
        let numbers = |found: &[(Vec<u8>, u32)]| found.iter().map(|(_place, number)| *number).collect::<Vec<_>>();
        let first = found(None, 31);
        assert_eq!(numbers(&first), [2, 3]);
        assert_eq!(numbers(&found(Some(&first[1].0), 31)), [1]);
        assert_eq!(numbers(&found(Some(&first[1].0), 30)), [] as [u32; 0]);
        assert_eq!(numbers(&found(Some(&first[1].0), 5)), [] as [u32; 0]);
        assert_eq!(numbers(&found(None, 20)), [2]);
        let model = ModelId::from_u128(1);
        write(&tree, &[Write::PutVersion(version(2, State::Available, None))]);
        write(&tree, &[Write::DeleteVersion { model, version: 3.try_into().unwrap() }]);
        assert_eq!(numbers(&found(None, 99)), [1]);
        let all = KvRecords(&tree).all_versions(None, 9).unwrap();
        assert_eq!(all.iter().map(|one| one.version.number()).collect::<Vec<_>>(), [1, 2, 4]);
        let rest = KvRecords(&tree).all_versions(Some((model, 2.try_into().unwrap())), 9).unwrap();
        assert_eq!(rest.len(), 1);
    }

    /// Pages of a rare tag, which are sorted, hold what pages of a common one, which are walked, hold: in every order.
    #[test]
    fn pages_are_the_same_whether_sorted_or_walked() {
        let tree = tree();
        // As many with the common tag as make it one, half of them with the rare tag as well.
        let many = u32::try_from(SORTED_ROWS_MAX).unwrap() + 1;
        put(
            &tree,
            (0..many).map(|number| {
                let tags = [("common", "1"), ("rare", "1")];
                model(number, if number < 100 { &tags } else { &tags[..1] })
            }),
        );
        for sort in [ModelSort::UpdatedUp, ModelSort::UpdatedDown, ModelSort::CreatedUp, ModelSort::CreatedDown] {
            let walk = |tags: &[&str], limit: usize| {
                let tags: Vec<_> = tags.iter().map(|&tag| (tag.to_owned(), "1".to_owned())).collect();
                let mut query = ModelQuery { tags, sort, limit, ..ModelQuery::default() };
                let mut found = Vec::new();
                loop {
                    let ModelPage { models, next, .. } = KvRecords(&tree).models(&query).unwrap();
                    found.extend(models.into_iter().map(|model| model.id));
                    let Some(next) = next else { break };
                    query.after = Some(next);
                }
                // From the end to the beginning it is the same list.
                let (mut back, mut page) = (Vec::new(), ModelQuery { backward: true, after: None, ..query.clone() });
                loop {
                    let ModelPage { models, next, ends, .. } = KvRecords(&tree).models(&page).unwrap();
                    assert_eq!(ends.is_some(), !models.is_empty());
                    back.splice(0..0, models.into_iter().map(|model| model.id));
                    let Some(next) = next else { break };
                    page.after = Some(next);
                }
                assert_eq!(back, found, "{sort:?}");
                found
            };
            let sorted = walk(&["rare", "common"], 7);
            assert_eq!(sorted, walk(&["common", "rare"], 7), "{sort:?}");
            assert_eq!(sorted.len(), 100);
        }
    }
}
