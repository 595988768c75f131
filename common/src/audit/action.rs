//! What an entry says was done: the closed list of actions this version writes.
//!
//! A verifier must accept entries of a newer daemon, so a well-formed name outside the list is kept, not refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::leaf::LeafError;

/// Octets of the longest action name.
pub const ACTION_LEN_MAX: usize = 64;

/// One line per action: its variant, its name on the wire, and when it is written.
macro_rules! actions {
    ($($variant:ident $name:literal $doc:literal)+) => {
        /// What was done, or was tried.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", $name, "`: ", $doc, ".")] $variant,)+
            /// An action this version does not know, written by a newer one.
            Other(OtherAction),
        }

        impl Action {
            /// Every action this version knows, in the order of the list.
            pub const KNOWN: &[Self] = &[$(Self::$variant,)+];

            /// The name on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)+
                    Self::Other(other) => &other.0,
                }
            }
        }

        impl FromStr for Action {
            type Err = LeafError;

            fn from_str(name: &str) -> Result<Self, LeafError> {
                match name {
                    $($name => Ok(Self::$variant),)+
                    other if is_well_formed(other) => Ok(Self::Other(OtherAction(other.to_owned()))),
                    other => Err(LeafError::Action { action: other.to_owned() }),
                }
            }
        }
    };
}

actions! {
    LogGenesis "log.genesis" "the first entry: origin, key, build, schema"
    LogStart "log.start" "the daemon began to serve"
    LogStop "log.stop" "the daemon stopped in order"
    LogRefuse "log.refuse" "the log refuses all but urgent entries from here on, with the reason"
    LogResume "log.resume" "the log takes all entries again"
    LogHeartbeat "log.heartbeat" "nothing else was logged for a while"
    LogKeyRotate "log.key_rotate" "a signing key was added or retired"
    LogRecover "log.recover" "a torn record was cut or derived data rebuilt at start"
    LogRollbackAccepted "log.rollback_accepted" "older data were accepted, under a new origin"
    ConfigChange "config.change" "settings were changed while the daemon serves"
    AuthLogin "auth.login" "a sign-in"
    AuthLogout "auth.logout" "a sign-out"
    AuthRefresh "auth.refresh" "a token was exchanged for a fresh one"
    AuthThrottled "auth.throttled" "sign-ins the rate limit rejected, counted over a minute"
    AuthDenied "auth.denied" "a request was refused for want of a valid token"
    UserRead "user.read" "a user was looked at"
    UserList "user.list" "users were listed"
    UserCreate "user.create" "a user was created"
    UserUpdate "user.update" "a user was changed"
    UserDisable "user.disable" "a user may no longer sign in"
    UserEnable "user.enable" "a disabled user may sign in again"
    UserDelete "user.delete" "a user was deleted"
    UserPassword "user.password" "a password was changed"
    UserRevokeSessions "user.revoke_sessions" "all sessions of a user were ended"
    UserTotpEnrol "user.totp_enrol" "a secret for a second factor was made, and is yet to be confirmed"
    UserTotpEnable "user.totp_enable" "a second factor was confirmed, and is asked for from here on"
    UserTotpDisable "user.totp_disable" "a user gave up the second factor"
    UserTotpReset "user.totp_reset" "a user's second factor was taken away by somebody else"
    RoleGrant "role.grant" "a user was given a role"
    RoleRevoke "role.revoke" "a role was taken from a user"
    UserGrants "user.grants" "what a user may do with models by their names was changed"
    TokenCreate "token.create" "a token was issued"
    TokenRevoke "token.revoke" "a token was revoked"
    TokenRotate "token.rotate" "a token got another secret"
    TokenUse "token.use" "when API tokens were last used was written down, at most once an hour for all of them"
    ModelUpload "model.upload" "a version was published"
    ModelDownload "model.download" "content is handed out, before its first octet"
    ModelDownloadEnd "model.download_end" "a hand-out ended, with the octets sent"
    ModelUpdate "model.update" "metadata were changed"
    ModelDelete "model.delete" "a model or version was deleted, restorably"
    ModelRestore "model.restore" "a deletion was taken back"
    ModelPurge "model.purge" "a deletion was made final"
    ModelRead "model.read" "metadata of one model were read"
    ModelList "model.list" "models were listed"
    ModelScan "model.scan" "content was inspected, with the verdict"
    ModelQuarantine "model.quarantine" "content was withdrawn from download"
    ModelRelease "model.release" "content was released from quarantine"
    ModelOverride "model.override" "a verdict was overruled, with the reason"
    ModelApprove "model.approve" "a release was approved that takes more than one person"
    ModelNote "model.note" "something was noted of content that is held"
    ModelExamine "model.examine" "octets round a finding in held content were shown to a reviewer"
    ModelBlock "model.block" "content was withdrawn from download for good"
    ModelRescan "model.rescan" "content was inspected anew, with both verdicts"
    ModelDeprecate "model.deprecate" "a version was marked as outdated"
    ModelSign "model.sign" "a signature was added"
    ModelVerify "model.verify" "a signature was verified"
    AliasSet "alias.set" "an alias was pointed to a version"
    AliasClear "alias.clear" "an alias was removed"
    ScanRules "scan.rules" "inspections are done with another set of rules"
    PolicyChange "policy.change" "a policy was changed"
    TrustAdd "trust.add" "a signer was trusted"
    TrustRemove "trust.remove" "a signer is no longer trusted"
    IngestAccept "ingest.accept" "a file of the drop folder was taken in"
    IngestReject "ingest.reject" "a file of the drop folder was refused"
    IngestRetry "ingest.retry" "an item of the drop folder was tried again by hand"
    IngestDiscard "ingest.discard" "an item of the drop folder was given up by hand, with the reason"
    IngestPause "ingest.pause" "the drop folder was told to take in nothing more, with the reason"
    IngestResume "ingest.resume" "the drop folder was told to go on"
    WebhookRead "webhook.read" "a webhook or its deliveries were looked at"
    WebhookList "webhook.list" "webhooks were listed"
    WebhookCreate "webhook.create" "a webhook was created"
    WebhookUpdate "webhook.update" "a webhook was changed, disabled or enabled by somebody"
    WebhookDelete "webhook.delete" "a webhook was deleted"
    WebhookRotateSecret "webhook.rotate_secret" "a webhook was given a new secret"
    WebhookTest "webhook.test" "a test was sent to a webhook's receiver"
    WebhookReplay "webhook.replay" "a webhook was told to send entries again, or where to go on"
    WebhookDisable "webhook.disable" "a webhook was disabled because its receiver was gone, or failed for too long"
    WebhookProgress "webhook.progress" "how far webhooks have come, for the daemon that delivers next; it is no event for webhooks"
    StoreRebuild "store.rebuild" "the store was rebuilt from the journal"
    BackupCreate "backup.create" "a backup was made"
    BackupRestore "backup.restore" "a backup was restored"
    BackupVerify "backup.verify" "a backup was read whole and held against its checkpoint"
    AuditRead "audit.read" "entries of the log were read"
    AuditExport "audit.export" "the log was exported"
    AuditAcknowledge "audit.acknowledge" "somebody whose console found the log not to be what it signed says why it may go on"
    BlobsScrub "blobs.scrub" "every blob was read again and compared with its digest"
    BlobDamaged "blob.damaged" "a blob is not what its digest says; the versions that need it are held back"
    BlobUnreadable "blob.unreadable" "a blob could not be read; it is tried again before anything is held back"
    BlobRepaired "blob.repaired" "a blob that was damaged or unreadable is sound again"
    QuotaSet "quota.set" "how much a user or a namespace may keep was set, or taken back to the default"
    QuotaRead "quota.read" "quotas and what is used of them were read"
    RetentionSet "retention.set" "a rule was set by which versions go"
    RetentionDelete "retention.delete" "a rule was removed by which versions went"
    RetentionRequest "retention.request" "a rule was asked to be carried out at once"
    RetentionRun "retention.run" "a rule was carried out, with what went"
    RetentionRead "retention.read" "rules by which versions go were read, or what they would take"
    BlobsCollect "blobs.collect" "bytes that nothing points to were looked for and removed"
}

/// The name of an action that [`Action`] does not list. Only parsing makes one, so it is never a listed name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OtherAction(String);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+`
pub(super) fn is_well_formed(name: &str) -> bool {
    name.len() <= ACTION_LEN_MAX
        && name.contains('.')
        && name.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}
