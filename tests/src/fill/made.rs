//! What a made-up registry consists of: users, models, versions and entries by their numbers and a seed. Pure: the same
//! number and seed give the same record. Knows the records' shapes and what entries of such acts say.

use std::collections::BTreeMap;
use std::ops::Range;

use common::api::{Origin, State};
use common::audit::{Action, Actor, ActorKind, Outcome, RequestInfo, Target};
use common::digest::Digest;
use common::name::{Alias, ModelId, ModelName, Version};
use common::role::Role;
use daemon::store::records::{
    AliasEventRecord, AliasRecord, ArtifactRecord, InspectionRecord, LatestRecord, MetadatumRecord, ModelRecord,
    UserRecord, VersionRecord, Write,
};
use daemon::store::{Decision, Draft, Moment, Records, StoreError};
use serde_json::{Value, json};

use super::Size;
use super::files::Files;

/// Names and roles of the users. The first is the one who can sign in to do everything.
pub const USERS: [(&str, Role); 10] = [
    ("admin", Role::Admin),
    ("alice", Role::Admin),
    ("bob", Role::Contributor),
    ("carol", Role::Contributor),
    ("dave", Role::Contributor),
    ("svc-ci", Role::Contributor),
    ("erin", Role::Auditor),
    ("frank", Role::Auditor),
    ("grace", Role::Viewer),
    ("heidi", Role::Viewer),
];

const TEAMS: [&str; 20] = [
    "team-nlp",
    "team-vision",
    "team-speech",
    "search",
    "ads",
    "fraud",
    "risk",
    "pricing",
    "routing",
    "maps",
    "support",
    "legal",
    "hr",
    "finance",
    "robotics",
    "games",
    "health",
    "weather",
    "energy",
    "research",
];
const KINDS: [&str; 25] = [
    "intent-router",
    "summariser",
    "ner-multi",
    "toxicity",
    "asr",
    "translate-de-en",
    "embed",
    "rerank",
    "keyphrase",
    "lang-id",
    "punctuate",
    "spell",
    "topic",
    "tts",
    "detector",
    "segmenter",
    "ocr",
    "captioner",
    "forecast",
    "ranker",
    "churn",
    "anomaly",
    "dedup",
    "layout",
    "matcher",
];
const SIZES: [&str; 5] = ["tiny", "small", "base", "large", "xl"];
const STAGES: [&str; 4] = ["dev", "test", "prod", "archived"];
/// The first millisecond of ids: 2026-01-01T00:00:00Z.
const FIRST_MS: u128 = 1_767_225_600_000;
/// Of the models behind, those that are mostly read.
const RECENT: u64 = 2_000;

/// A number from a seed, a stream and an index (splitmix64's mixing).
pub fn mix(seed: u64, stream: u64, index: u64) -> u64 {
    let mut state = seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

fn pick(of: &[&'static str], chance: u64) -> &'static str {
    of[usize::try_from(chance % of.len() as u64).unwrap_or(0)]
}

/// Everything, by number.
#[derive(Debug)]
pub struct Made {
    /// How much.
    pub size: Size,
    files: Files,
    ruleset: String,
}

/// A user's id.
fn user_id(number: usize) -> String {
    format!("usr_{}", ModelId::from_u128(FIRST_MS << 80 | number as u128))
}

/// A user's record.
pub fn user_record(number: usize, password_hash: String, moment: Moment) -> UserRecord {
    let (name, role) = USERS[number];
    UserRecord {
        id: user_id(number),
        name: name.parse().expect("the names are valid"),
        role,
        password_hash,
        disabled: false,
        must_change_password: false,
        epoch: 0,
        created_at_ms: moment.at_ms,
        updated_at_ms: moment.at_ms,
        last_login_at_ms: None,
        revision: moment.index,
    }
}

impl Made {
    /// Of a size, with files that are there, inspected by a set of rules.
    pub fn new(size: Size, files: Files, ruleset: String) -> Self {
        Self { size, files, ruleset }
    }

    fn chance(&self, stream: u64, index: u64) -> u64 {
        mix(self.size.seed, stream, index)
    }

    /// The numbers, of all versions, of a model's.
    pub fn versions_of(&self, model: u64) -> Range<u64> {
        let until = |model: u64| u128::from(model) * u128::from(self.size.versions) / u128::from(self.size.models);
        // At most the number of all versions.
        let number = |wide: u128| u64::try_from(wide).unwrap_or(u64::MAX);
        number(until(model))..number(until(model + 1))
    }

    /// A model's id: as of one made every 30 s.
    pub fn model_id(&self, model: u64) -> ModelId {
        let at_ms = FIRST_MS + u128::from(model) * 30_000;
        ModelId::from_u128(at_ms << 80 | u128::from(self.chance(3, model)))
    }

    /// A model's name, unlike any other's.
    pub fn name(&self, model: u64) -> ModelName {
        let chance = self.chance(4, model);
        let (team, kind, size) = (pick(&TEAMS, chance), pick(&KINDS, chance >> 8), pick(&SIZES, chance >> 16));
        format!("{team}/{kind}-{size}-{model:x}").parse().expect("the parts are valid")
    }

    fn new_model(&self, model: u64, by: usize, moment: Moment) -> ModelRecord {
        let chance = self.chance(5, model);
        let name = self.name(model);
        let what = name.as_str().rsplit('/').next().unwrap_or_default().to_owned();
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        ModelRecord {
            id: self.model_id(model),
            name,
            description: format!("{what}: what it is for, in a sentence or two, as people write them."),
            tags: BTreeMap::from([
                tag("stage", pick(&STAGES, chance)),
                tag("project", &format!("p{}", (chance >> 8) % 100)),
            ]),
            owner: USERS[by].0.to_owned(),
            created_at_ms: moment.at_ms,
            updated_at_ms: moment.at_ms,
            last_number: 0,
            live_versions: 0,
            latest: None,
            aliases: BTreeMap::new(),
            deleted: None,
            purged: false,
            revision: moment.index,
        }
    }

    /// Decides the publication of a model's version, the first being 0, as an upload's is decided.
    ///
    /// # Errors
    /// What reading says.
    pub fn publish(
        &self,
        records: &dyn Records,
        moment: Moment,
        model: u64,
        version: u64,
    ) -> Result<Decision, StoreError> {
        let of_all = self.versions_of(model).start + version;
        let chance = self.chance(6, of_all);
        // Admins and contributors are the first six.
        let by = usize::try_from(1 + chance % 5).unwrap_or(1);
        let (artifacts, parameters) = self.files.of_version(chance >> 8);
        let mut writes = references(records, &artifacts)?;
        let mut record = match version {
            0 => self.new_model(model, by, moment),
            _ => records.model(self.model_id(model))?.ok_or_else(|| lost("a model"))?,
        };
        let number = u32::try_from(version + 1).ok().and_then(|number| Version::try_from(number).ok());
        let number = number.ok_or_else(|| lost("a version's number"))?;
        let size = artifacts.iter().map(|artifact| artifact.size).sum();
        record.last_number = number.number();
        record.live_versions += 1;
        record.updated_at_ms = moment.at_ms;
        record.revision = moment.index;
        record.latest = Some(LatestRecord {
            version: number,
            state: State::Available,
            format: "safetensors".to_owned(),
            size,
            uploader: USERS[by].0.to_owned(),
            verdict: Some("clean".to_owned()),
            parameters: Some(parameters),
            dtypes: vec!["F32".to_owned()],
        });
        let draft = self.upload_draft(&record, number, &artifacts, size, by, of_all);
        writes.push(Write::PutVersion(self.new_version(&record, number, artifacts, parameters, by, moment)));
        let is_last = of_all + 1 == self.versions_of(model).end;
        if is_last && self.chance(7, model).is_multiple_of(3) {
            writes.push(point(&mut record, "prod", number, by, moment));
        }
        writes.push(Write::PutModel(record));
        Ok(Decision { draft, writes })
    }

    fn new_version(
        &self,
        model: &ModelRecord,
        version: Version,
        artifacts: Vec<ArtifactRecord>,
        parameters: u64,
        by: usize,
        moment: Moment,
    ) -> VersionRecord {
        let measured = |value: Value| MetadatumRecord { json: value.to_string(), origin: Origin::Measured };
        let size: u64 = artifacts.iter().map(|artifact| artifact.size).sum();
        let metadata = [
            ("dtypes", json!(["F32"])),
            ("files", json!(artifacts.len())),
            ("format", json!("safetensors")),
            ("parameters", json!(parameters)),
            ("size_bytes", json!(size)),
            ("tensors", json!(1)),
        ];
        VersionRecord {
            model: model.id,
            version,
            state: State::Available,
            state_reason: None,
            state_at_ms: moment.at_ms,
            held_by_inspection: false,
            description: String::new(),
            artifacts,
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), measured(value))).collect(),
            findings: Vec::new(),
            inspection: Some(InspectionRecord {
                ruleset: self.ruleset.clone(),
                verdict: "clean".to_owned(),
                at_ms: moment.at_ms,
                findings_total: 0,
                policy: "default".to_owned(),
            }),
            review: None,
            source: "api".to_owned(),
            created_at_ms: moment.at_ms,
            created_by: USERS[by].0.to_owned(),
            created_by_id: user_id(by),
            index: moment.index,
            deleted: None,
            revision: moment.index,
        }
    }

    // ---- entries ----------------------------------------------------------------------------------------------------

    /// The entry of a user's creation.
    pub fn user_draft(&self, user: &UserRecord) -> Draft {
        let data = [("name", json!(user.name)), ("role", json!(user.role))];
        Draft {
            action: Action::UserCreate,
            outcome: Outcome::Ok,
            actor: Actor::system(),
            target: Target::new("user", &user.id),
            request: None,
            data: data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }

    fn upload_draft(
        &self,
        model: &ModelRecord,
        version: Version,
        artifacts: &[ArtifactRecord],
        size: u64,
        by: usize,
        of_all: u64,
    ) -> Draft {
        let mut target = Target::new("version", &model.id.to_string());
        target.version = Some(version.to_string());
        if let [only] = artifacts {
            target.digest = Some(only.digest.to_string());
            target.size = Some(only.size);
        }
        let data = [
            ("name", json!(model.name)),
            ("files", json!(artifacts.len())),
            ("size_bytes", json!(size)),
            ("format", json!("safetensors")),
            ("state", json!("available")),
            ("source", json!("api")),
            ("verdict", json!("clean")),
            ("ruleset", json!(self.ruleset)),
        ];
        Draft {
            action: Action::ModelUpload,
            outcome: Outcome::Ok,
            actor: self.actor(by, of_all),
            target,
            request: Some(self.request(of_all, "POST", "/models", 201)),
            data: data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        }
    }

    /// The entry of what somebody did, when there were so many models: mostly with one of the newest.
    pub fn reading(&self, number: u64, newest: u64) -> Draft {
        let chance = self.chance(8, number);
        let by = usize::try_from((chance >> 8) % USERS.len() as u64).unwrap_or(0);
        let (action, method, route, status, outcome) = match chance % 20 {
            0 => (Action::AuthLogin, "POST", "/login", 200, Outcome::Ok),
            1 => (Action::AuthLogin, "POST", "/login", 401, Outcome::Denied),
            2 => (Action::ModelDelete, "DELETE", "/models/{id}", 403, Outcome::Denied),
            3 => (Action::ModelUpdate, "PATCH", "/models/{id}", 403, Outcome::Denied),
            4 => (Action::ModelUpdate, "PATCH", "/models/{id}", 404, Outcome::Error),
            5..9 => (Action::ModelRead, "GET", "/models/{id}", 200, Outcome::Ok),
            9..11 => (Action::ModelList, "GET", "/models", 200, Outcome::Ok),
            _ => (Action::ModelDownload, "GET", "/models/{id}/download", 200, Outcome::Ok),
        };
        let behind = if (chance >> 12).is_multiple_of(10) { newest + 1 } else { (newest + 1).min(RECENT) };
        let model = self.model_id(newest - (chance >> 16) % behind);
        let (target, actor) = match action {
            Action::AuthLogin if outcome == Outcome::Denied => (Target::new("user", "mallory"), Actor::anonymous()),
            Action::AuthLogin => (Target::new("user", &user_id(by)), self.actor(by, number)),
            Action::ModelList => (Target::new("model", "*"), self.actor(by, number)),
            _ => (Target::new("model", &model.to_string()), self.actor(by, number)),
        };
        let request = Some(self.request(number ^ u64::MAX >> 1, method, route, status));
        Draft { action, outcome, actor, target, request, data: BTreeMap::new() }
    }

    fn actor(&self, by: usize, number: u64) -> Actor {
        let (name, role) = USERS[by];
        Actor {
            id: user_id(by),
            name: Some(name.to_owned()),
            kind: ActorKind::User,
            role: Some(role.as_str().to_owned()),
            // A session lasts for some hundred requests.
            cred: Some(format!("ses_{:016x}", self.chance(9 + by as u64, number / 300))),
        }
    }

    fn request(&self, number: u64, method: &str, route: &str, status: u16) -> RequestInfo {
        let chance = self.chance(30, number);
        RequestInfo {
            id: format!("{chance:016x}{number:016x}"),
            method: method.to_owned(),
            route: route.to_owned(),
            status,
            // Some hundred machines, as in a company.
            ip: Some(format!("10.0.{}.{}", chance % 4, (chance >> 8) % 64 + 1)),
            ua: Some("mreg-client/1.4".to_owned()),
        }
    }
}

/// Adds a version's files to what points to their blobs.
fn references(records: &dyn Records, artifacts: &[ArtifactRecord]) -> Result<Vec<Write>, StoreError> {
    let more = |artifact: &ArtifactRecord| {
        let digest: Digest = artifact.digest;
        let refs = records.blob(&digest)?.map_or(0, |blob| blob.refs);
        Ok(Write::SetBlob { digest, size: artifact.size, refs: refs + 1 })
    };
    artifacts.iter().map(more).collect()
}

/// Points an alias at a version.
fn point(model: &mut ModelRecord, alias: &str, version: Version, by: usize, moment: Moment) -> Write {
    let alias: Alias = alias.parse().expect("the name is valid");
    let set_by = USERS[by].0.to_owned();
    let to = AliasRecord { version, set_at_ms: moment.at_ms, set_by: set_by.clone(), index: moment.index };
    model.aliases.insert(alias.clone(), to);
    let event = AliasEventRecord { version: Some(version), at_ms: moment.at_ms, by: set_by, index: moment.index };
    Write::AppendAliasEvent { model: model.id, alias, event }
}

fn lost(what: &str) -> StoreError {
    StoreError::Corrupt(format!("{what} that was just written is not there"))
}
