//! `mreg do`: a change without a screen. The question, its rules, the course of the change and what becomes of it without an
//! answer are the console's own, run by `run::bare`; here are the words around them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use common::client::{Client, ClientError, IngestQuery, Reply};
use common::name::ModelName;
use serde_json::{Value, json};

use super::upload::send;
use super::{CliError, document, status, talk, wrong_answer};
use crate::access::{Access, may, refusal_of, refusal_on};
use crate::action::{Answer, Call, Outcome, RequestId};
use crate::acts::{ACTS, Act, Named, Options, Wish, find};
use crate::clean::clean;
use crate::config::{Credential, Opening};
use crate::edit::LINE_OCTETS_MAX;
use crate::event::{Code, EventKind, Key};
use crate::run::bare::Bare;
use crate::state::changes::{Run, Status};
use crate::state::deeds::{Base, Change, Object, Tier};
use crate::state::dialog::{Confirm, Dialog};
use crate::state::forms::Login;
use crate::state::{State, Who};
use crate::time::bytes;
use crate::transfer::upload::Uploaded;
use crate::update::{acknowledge, ask_before};

/// How long it is looked for what became of a change without an answer.
const UNKNOWN_MAX: Duration = Duration::from_secs(30);
/// Rows of the drop folder that are looked through at once.
const ITEM_ROWS: u32 = 200;
/// What the number in the list says.
const LEGEND: &str = "0: done at once; 1: --yes NAME does it; 2: likewise, and it can't be taken back, or reaches far";

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The word and what follows it; empty for the list.
    pub(super) words: Vec<String>,
    pub(super) options: Options,
    /// The name or number that says yes.
    pub(super) yes: Option<String>,
    /// List what there is.
    pub(super) list: bool,
    pub(super) json: bool,
}

impl Asked {
    /// Whether a file is to be uploaded.
    pub(super) fn is_upload(&self) -> bool {
        !self.list && self.words.first().is_some_and(|word| word == "upload")
    }

    /// Whether it is about all that match.
    pub(super) fn is_sweep(&self) -> bool {
        !self.list && self.options.filter.is_some()
    }

    /// What the words come to, before anybody is asked; none for the list.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn wish(&self) -> Result<Option<(&'static Act, Wish)>, CliError> {
        let Some((word, rest)) = self.words.split_first().filter(|_| !self.list) else { return Ok(None) };
        let act = find(word).map_err(CliError::Usage)?;
        let wish = act.wish(rest, &self.options).map_err(CliError::Usage)?;
        match (&self.options.reason, act.wants_reason()) {
            (None, true) => {
                Err(CliError::Usage(format!("{word}: a reason is needed, the log keeps it: --reason TEXT")))
            }
            (Some(reason), _) if !is_reason(reason) => {
                Err(CliError::Usage(format!("--reason: one line of at most {LINE_OCTETS_MAX} octets")))
            }
            _ => Ok(Some((act, wish))),
        }
    }
}

/// Whether a text can be the reason of something.
pub(super) fn is_reason(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= LINE_OCTETS_MAX && !text.chars().any(char::is_control)
}

/// Does it, or lists what there is.
pub(super) fn act(opening: Opening, asked: &Asked) -> Result<(), CliError> {
    let wish = asked.wish()?;
    let (mut bare, _sender) = Bare::new(opening.settings.clone());
    let has_otp = matches!(opening.credential, Credential::Password { otp: Some(_), .. });
    bare.open(opening, false)?;
    let result = sign_in(&mut bare, has_otp).and_then(|()| match wish {
        None => list(&bare.engine.state, asked.json),
        Some((act, wish)) => perform(&mut bare, act, wish, asked),
    });
    bare.engine.leave();
    result
}

/// Waits until somebody is signed in. A code that the daemon asks for is asked for on the terminal, unless there was one.
fn sign_in(bare: &mut Bare, has_otp: bool) -> Result<(), CliError> {
    let mut last: Option<ClientError> = None;
    let mut asked_code = false;
    loop {
        let state = &bare.engine.state;
        if state.new_password.is_some() {
            let user = state.who.as_ref().map_or(state.settings.user.as_str(), |who| who.username.as_str());
            return Err(CliError::NotAllowed(super::must_change(&state.settings, user)));
        }
        if state.enrol.is_some() {
            let user = state.who.as_ref().map_or(state.settings.user.as_str(), |who| who.username.as_str());
            return Err(CliError::NotAllowed(super::must_enrol(&state.settings, user)));
        }
        let wants_code = |form: &Login| !form.busy && form.code.is_some();
        if !asked_code
            && !has_otp
            && let Some(form) = state.login.as_ref().filter(|form| wants_code(form))
        {
            let code = super::prompt_code(form.user.text())?;
            asked_code = true;
            bare.answer(code.expose());
            continue;
        }
        let form_waits = state.login.as_ref().is_some_and(|form| !form.busy);
        if form_waits || state.asked.is_empty() {
            let reason = state.login.as_ref().and_then(|form| form.reason.clone());
            let is_known = state.who.as_ref().is_some_and(|who| !who.id.is_empty());
            return match (last, form_waits) {
                (_, false) if is_known => Ok(()),
                (Some(error), _) => Err(error.into()),
                (None, _) => Err(CliError::NotSignedIn(reason.unwrap_or_else(|| "not signed in".to_owned()))),
            };
        }
        for kind in bare.take(None) {
            if let EventKind::Reply { result, .. } = &kind
                && let Err(error) = &**result
            {
                last = Some(error.clone());
            }
            bare.feed_or_keep(kind);
        }
    }
}

// ---- the list -------------------------------------------------------------------------------------------------------

fn list(state: &State, as_json: bool) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    for act in ACTS {
        let refused = may(state, act.permission(), true).refusal();
        let tier = lifted(state, act.tier());
        if as_json {
            let row = json!({
                "command": act.word, "usage": act.usage(), "help": act.help(), "tier": number(tier),
                "needs_yes": tier != Tier::Free, "needs_reason": act.wants_reason(),
                "permission": act.permission(), "allowed": refused.is_none(), "why_not": refused,
            });
            writeln!(out, "{}", document(&row)?)?;
        } else {
            writeln!(out, "{}", listed(state, act))?;
        }
    }
    if !as_json {
        writeln!(out, "{LEGEND}")?;
    }
    Ok(())
}

/// An act on a line: how it is written, its tier, what it does, and why it can't be done now.
pub(super) fn listed(state: &State, act: &Act) -> String {
    let refused = may(state, act.permission(), true).refusal();
    let tier = number(lifted(state, act.tier()));
    let line = format!("{:52} {tier}  {}", act.usage(), act.help());
    match refused {
        Some(why) => format!("{line} ({})", clean(&why)),
        None => line,
    }
}

fn lifted(state: &State, tier: Tier) -> Tier {
    if state.settings.strict && tier == Tier::Asked { Tier::Named } else { tier }
}

fn number(tier: Tier) -> u8 {
    match tier {
        Tier::Free => 0,
        Tier::Asked => 1,
        Tier::Named => 2,
    }
}

// ---- doing ----------------------------------------------------------------------------------------------------------

fn perform(bare: &mut Bare, act: &Act, wish: Wish, asked: &Asked) -> Result<(), CliError> {
    allowed(&bare.engine.state, act)?;
    let (deed, named) = match wish {
        // They have ways of their own.
        Wish::Upload { .. } | Wish::Sweep(..) => return Err(wrong_answer()),
        Wish::Acknowledge => return acknowledge_alarm(bare, asked),
        Wish::Change(deed, named) => (deed, named),
    };
    let alarmed = bare.engine.state.log.trust.alarm().is_some();
    let objects = resolve(bare, named)?;
    let changes = objects.into_iter().map(|object| Change::new(object, deed.clone())).collect();
    let mut question = Question::open(bare, changes)?;
    question.read(bare)?;
    let told = question.consent(bare, asked)?;
    let mut reports = told;
    if question.count(bare) > 0 {
        reports.extend(question.go(bare, asked.options.reason.as_deref())?);
    }
    reports.sort_by_key(|report| report.place);
    let mut out = io::stdout().lock();
    for report in &reports {
        report.write(act, asked.json, &mut out)?;
    }
    out.flush()?;
    if let Some(alarm) = bare.engine.state.log.trust.alarm().filter(|_| !alarmed) {
        return Err(CliError::NotVerified(format!("the receipt does not fit the log: {}", alarm.what)));
    }
    ended(&reports)
}

/// Acknowledges what was found about the log, and waits until the daemon has it.
fn acknowledge_alarm(bare: &mut Bare, asked: &Asked) -> Result<(), CliError> {
    let what = bare.engine.state.log.trust.alarm().map(|alarm| alarm.what.clone()).unwrap_or_default();
    let reason = asked.options.reason.as_deref().unwrap_or_default();
    let actions = acknowledge(&mut bare.engine.state, reason).map_err(CliError::Refused)?;
    bare.act(actions);
    let until = Instant::now() + UNKNOWN_MAX;
    while bare.engine.state.log.sending.is_some() && Instant::now() < until {
        bare.turn(Some(until));
    }
    let state = &bare.engine.state;
    let is_sent = state.who.as_ref().is_some_and(|who| state.log.trust.unsent_by(&who.username).is_none());
    let mut out = io::stdout().lock();
    if asked.json {
        writeln!(out, "{}", document(&json!({ "acknowledged": what, "reason": reason, "sent": is_sent }))?)?;
    } else {
        writeln!(out, "acknowledged: {}", clean(&what))?;
    }
    if !is_sent {
        talk("it is kept here, and sent to the daemon's log by the next console");
    }
    Ok(out.flush()?)
}

/// Whether the signed-in user may do it at all.
pub(super) fn allowed(state: &State, act: &Act) -> Result<(), CliError> {
    match may(state, act.permission(), true) {
        Access::Allowed => Ok(()),
        Access::NotAllowed(why) => Err(CliError::NotAllowed(format!("{}: {why}", act.word))),
        Access::NotNow(why) => Err(CliError::Refused(format!("{}: {why}", act.word))),
    }
}

/// The things that names stand for.
///
/// # Errors
/// Where the daemon knows none of that name.
pub(super) fn resolve(bare: &mut Bare, named: Vec<Named>) -> Result<Vec<Object>, CliError> {
    named.into_iter().map(|named| thing(bare, named)).collect()
}

fn thing(bare: &mut Bare, named: Named) -> Result<Object, CliError> {
    match named {
        Named::Known(object) => Ok(object),
        Named::Model(reference) => match bare.request(Call::Model(reference))? {
            Answer::Model(reply) => {
                let model = reply.body.model;
                Ok(Object::Model { id: model.id.to_string(), name: model.name.to_string() })
            }
            _ => Err(wrong_answer()),
        },
        Named::Version(reference) => match bare.request(Call::Model(reference.clone()))? {
            Answer::Model(reply) => {
                let version = reply.body.selected;
                let version = version.ok_or_else(|| CliError::Refused(format!("{reference} has no version")))?;
                let (id, name) = (version.id.to_string(), version.name.to_string());
                Ok(Object::Version { id, name, version: version.version })
            }
            _ => Err(wrong_answer()),
        },
        Named::Item(text) if text.parse::<common::name::ItemId>().is_ok() => {
            let path = text.clone();
            match bare.request(Call::Look(Object::Item { id: text, path }))? {
                Answer::Look(Reply { body: Base::Item(item), .. }) => Ok(Object::Item { id: item.id, path: item.path }),
                _ => Err(wrong_answer()),
            }
        }
        Named::Token(id) => {
            let object = Object::Token { label: id.clone(), id, user: String::new() };
            match bare.request(Call::Look(object))? {
                Answer::Look(Reply { body: Base::Token(token), .. }) => {
                    Ok(Object::Token { id: token.id, label: token.label, user: token.user.to_string() })
                }
                _ => Err(wrong_answer()),
            }
        }
        Named::Item(path) => by_path(bare, path),
    }
}

fn by_path(bare: &mut Bare, path: String) -> Result<Object, CliError> {
    let mut query = IngestQuery { q: path.clone(), limit: Some(ITEM_ROWS), ..IngestQuery::default() };
    loop {
        let Answer::Ingest(reply) = bare.request(Call::Ingest(Box::new(query.clone())))? else {
            return Err(wrong_answer());
        };
        if let Some(item) = reply.body.items.into_iter().find(|item| item.path == path) {
            return Ok(Object::Item { id: item.id, path });
        }
        query.cursor = reply.body.next_cursor;
        if query.cursor.is_none() {
            return Err(CliError::Refused(format!("there is no item {path} in the drop folder")));
        }
    }
}

/// A question that is open, and what went wrong with its things.
pub(super) struct Question {
    /// Why things could not be read, or changes failed, by their place.
    errors: BTreeMap<usize, ClientError>,
}

impl Question {
    /// Asks before these changes.
    ///
    /// # Errors
    /// Where they may not be made.
    pub(super) fn open(bare: &mut Bare, changes: Vec<Change>) -> Result<Self, CliError> {
        let who = bare.engine.state.who.as_ref();
        let mut refusals = changes.iter().map(|change| refusal_of(who, change));
        if let Some(Some(why)) = refusals.next()
            && refusals.all(|why| why.is_some())
        {
            return Err(CliError::NotAllowed(why));
        }
        let actions = ask_before(&mut bare.engine.state, changes);
        bare.act(actions);
        if confirm(bare).is_none() {
            let why = bare.engine.state.message.as_ref().map(|note| note.text.clone());
            return Err(CliError::Refused(why.unwrap_or_else(|| "it can't be done".to_owned())));
        }
        Ok(Self { errors: BTreeMap::new() })
    }

    /// Waits until the daemon has said what the things are.
    ///
    /// # Errors
    /// Where the session ended meanwhile.
    pub(super) fn read(&mut self, bare: &mut Bare) -> Result<(), CliError> {
        while confirm(bare).is_some_and(|confirm| !confirm.is_read()) {
            if bare.engine.state.login.is_some() {
                return Err(CliError::NotSignedIn("the session has ended".to_owned()));
            }
            for kind in bare.take(None) {
                if let Some((id, error)) = failure(&kind)
                    && let Some(place) = confirm(bare).and_then(|confirm| confirm.reading.get(&id).copied())
                {
                    self.errors.insert(place, error.clone());
                }
                bare.feed_or_keep(kind);
            }
        }
        Ok(())
    }

    fn count(&self, bare: &Bare) -> u64 {
        confirm(bare).map_or(0, Confirm::count)
    }

    /// Whether the command line says yes to it; the things that are left out.
    fn consent(&self, bare: &Bare, asked: &Asked) -> Result<Vec<Report>, CliError> {
        let Some(confirm) = confirm(bare) else { return Ok(Vec::new()) };
        let mut left_out = Vec::new();
        for (place, subject) in confirm.subjects.iter().enumerate() {
            if let Some(why) = &subject.trouble {
                let status = match self.errors.get(&place) {
                    Some(error) => CliError::Client(error.clone()).status(),
                    None => status::CONFLICT,
                };
                let end = End::Failed { why: why.clone(), status };
                left_out.push(Report { place, change: subject.change.clone(), end });
            }
        }
        if confirm.count() == 0 || confirm.tier == Tier::Free {
            return Ok(left_out);
        }
        match &asked.yes {
            Some(yes) if *yes == confirm.word => Ok(left_out),
            Some(yes) => {
                let (is, word) = (confirm.word_is, &confirm.word);
                Err(CliError::Usage(format!("--yes {yes}: the {is} is {word}; nothing was done")))
            }
            None => {
                consequences(confirm).iter().for_each(|line| talk(line));
                Err(CliError::Usage(format!("nothing was done; --yes {} does it", quoted(&confirm.word))))
            }
        }
    }

    /// Says yes, and follows what becomes of it.
    ///
    /// # Errors
    /// Where the question was not taken, or the session ended.
    pub(super) fn go(&mut self, bare: &mut Bare, reason: Option<&str>) -> Result<Vec<Report>, CliError> {
        let Some(question) = confirm(bare) else { return Ok(Vec::new()) };
        let (tier, word) = (question.tier, question.word.clone());
        // Places among all things of those that are done.
        let places: Vec<usize> = (0..question.subjects.len())
            .filter(|place| question.subjects.get(*place).is_some_and(|subject| subject.trouble.is_none()))
            .collect();
        let number = bare.engine.state.changes.next_run;
        bare.shown();
        if let Some(reason) = reason {
            bare.answer(reason);
        }
        if tier == Tier::Named {
            bare.answer(&word);
        } else {
            bare.feed(EventKind::Key(Key { code: Code::Char('y'), ctrl: false }));
        }
        if let Some(question) = confirm(bare) {
            let why = question.note.clone().unwrap_or_else(|| "it was not taken".to_owned());
            bare.engine.state.dialog = None;
            return Err(CliError::Refused(why));
        }
        let mut done: BTreeMap<usize, Reply<Box<Outcome>>> = BTreeMap::new();
        self.errors.clear();
        let mut give_up: Option<Instant> = None;
        while let Some(run) = bare.engine.state.changes.runs.get(&number) {
            let unknown = run.items.iter().any(|item| matches!(item.status, Status::Unknown { .. }));
            if unknown && give_up.is_none() {
                talk("not known whether it happened; it is looked for");
                give_up = Some(Instant::now() + UNKNOWN_MAX);
            }
            let has_ended = bare.engine.state.login.is_some() || give_up.is_some_and(|at| at <= Instant::now());
            if run.is_over() || has_ended {
                break;
            }
            for kind in bare.take(give_up) {
                let waits = |id: RequestId| {
                    let run = bare.engine.state.changes.runs.get(&number)?;
                    run.items.iter().position(|item| item.waits_for() == Some(id))
                };
                if let EventKind::Reply { id, result } = &kind
                    && let Some(place) = waits(*id)
                {
                    match &**result {
                        Ok(Answer::Changed(reply)) => drop(done.insert(place, reply.clone())),
                        Err(error) => drop(self.errors.insert(place, error.clone())),
                        Ok(_) => {}
                    }
                }
                bare.feed_or_keep(kind);
            }
        }
        let Some(run) = bare.engine.state.changes.runs.get(&number) else { return Ok(Vec::new()) };
        Ok(self.reports(run, &places, &mut done))
    }

    fn reports(&self, run: &Run, places: &[usize], done: &mut BTreeMap<usize, Reply<Box<Outcome>>>) -> Vec<Report> {
        let report = |(at, item): (usize, &crate::state::changes::Item)| {
            let end = match &item.status {
                Status::Done(index) => End::Done { index: *index, reply: done.remove(&at) },
                Status::Failed(why) => {
                    let error = self.errors.get(&at).cloned().map(CliError::Client);
                    End::Failed { why: why.clone(), status: error.map_or(status::FAILED, |error| error.status()) }
                }
                Status::Unknown { why, .. } => End::Unknown(why.clone()),
                Status::Waiting | Status::Looking(_) => {
                    End::Failed { why: "not sent".to_owned(), status: status::FAILED }
                }
                Status::Sent(_) | Status::Changed { .. } => End::Unknown("no answer came".to_owned()),
            };
            Report { place: places.get(at).copied().unwrap_or(at), change: item.change.clone(), end }
        };
        run.items.iter().enumerate().map(report).collect()
    }
}

fn failure(kind: &EventKind) -> Option<(RequestId, &ClientError)> {
    match kind {
        EventKind::Reply { id, result } => Some((*id, result.as_ref().as_ref().err()?)),
        _ => None,
    }
}

/// The question that is open.
pub(super) fn confirm(bare: &Bare) -> Option<&Confirm> {
    match &bare.engine.state.dialog {
        Some(Dialog::Confirm(confirm)) => Some(confirm),
        _ => None,
    }
}

/// What would happen, one sentence a line.
pub(super) fn consequences(confirm: &Confirm) -> Vec<String> {
    let mut lines = Vec::new();
    for subject in &confirm.subjects {
        let what =
            format!("{} {} {}", subject.change.verb(), subject.change.object.kind(), subject.change.object.name());
        match &subject.trouble {
            Some(why) => lines.push(format!("{what}: left out: {why}")),
            None => {
                lines.push(format!("{what}:"));
                let said = subject.change.consequences(subject.base.as_ref().map(|(base, _)| base));
                lines.extend(said.into_iter().map(|line| format!("  {line}")));
            }
        }
    }
    lines
}

/// As a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._:@-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

// ---- what became of it ----------------------------------------------------------------------------------------------

/// How a change ended.
pub(super) enum End {
    Done { index: Option<u64>, reply: Option<Reply<Box<Outcome>>> },
    Failed { why: String, status: u8 },
    Unknown(String),
}

/// A change and how it ended.
pub(super) struct Report {
    place: usize,
    pub(super) change: Change,
    pub(super) end: End,
}

impl Report {
    /// The line of a change that is done; none of another.
    pub(super) fn done(&self) -> Option<String> {
        let End::Done { index, reply } = &self.end else { return None };
        let mut line = self.change.done();
        if let Some(index) = index {
            line += &format!(", logged as {index}");
        }
        if let Some(reply) = reply {
            if let Some(said) = &reply.body.said {
                line += &format!(", {said}");
            }
            if let Some(until) = &reply.body.restorable_until {
                line += &format!(", can be restored until {until}");
            }
            line += &format!(", request {}", reply.request_id);
        }
        Some(clean(&line))
    }

    /// The password that was made up for it, to be shown once.
    pub(super) fn password(&self) -> Option<&str> {
        match &self.end {
            End::Done { reply: Some(reply), .. } => reply.body.password.as_ref().map(crate::secret::Secret::expose),
            _ => None,
        }
    }

    /// Whether it is done, and what it was to show came out badly.
    fn is_in_vain(&self) -> bool {
        matches!(&self.end, End::Done { reply: Some(reply), .. } if reply.body.is_in_vain)
    }

    /// Why it is not done, or in vain; none where it is.
    pub(super) fn failed(&self) -> Option<String> {
        let what = || format!("{} {}", self.change.verb(), self.change.object.name());
        match &self.end {
            End::Done { .. } => self.is_in_vain().then(|| format!("{}: it was not delivered", what())),
            End::Failed { why, .. } => Some(format!("{}: {why}", what())),
            End::Unknown(why) => Some(format!("{}: not known whether it happened: {why}", what())),
        }
    }

    fn status(&self) -> u8 {
        match self.end {
            End::Done { .. } if self.is_in_vain() => status::FAILED,
            End::Done { .. } => 0,
            End::Failed { status, .. } => status,
            End::Unknown(_) => status::NOT_REACHED,
        }
    }

    fn write(&self, act: &Act, as_json: bool, out: &mut impl Write) -> Result<(), CliError> {
        if as_json {
            return Ok(writeln!(out, "{}", document(&self.value(act))?)?);
        }
        // A token is all of standard output, so that a script can take it.
        if let Some(token) = self.password().filter(|_| self.change.makes_secret()) {
            self.done().iter().for_each(|line| talk(line));
            return Ok(writeln!(out, "{token}")?);
        }
        if let Some(line) = self.done() {
            writeln!(out, "{line}")?;
        }
        if let Some(password) = self.password() {
            writeln!(out, "one-time password of {}: {password}", clean(&self.change.object.name()))?;
        }
        Ok(())
    }

    fn value(&self, act: &Act) -> Value {
        let object = &self.change.object;
        let mut value = json!({
            "command": act.word, "kind": object.kind(), "name": object.name(), "id": object.id(),
        });
        let more = match &self.end {
            End::Done { index, reply } => {
                let body = reply.as_ref().map(|reply| &reply.body);
                json!({
                    "outcome": "done", "done": self.change.done(), "log_index": index,
                    "request_id": reply.as_ref().map(|reply| &reply.request_id),
                    "restorable_until": body.and_then(|body| body.restorable_until.as_ref()),
                    "receipt": body.and_then(|body| body.receipt.as_ref()),
                    "password": self.password().filter(|_| !self.change.makes_secret()),
                    "token": self.password().filter(|_| self.change.makes_secret()),
                })
            }
            End::Failed { why, .. } => json!({"outcome": "failed", "error": why}),
            End::Unknown(why) => json!({"outcome": "unknown", "error": why}),
        };
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more.into_iter().filter(|(_, member)| !member.is_null()));
        }
        value
    }
}

/// What the whole comes to.
fn ended(reports: &[Report]) -> Result<(), CliError> {
    let failures: Vec<String> = reports.iter().filter_map(Report::failed).collect();
    let Some(first) = reports.iter().find(|report| report.status() != 0) else { return Ok(()) };
    let status = first.status();
    let why = match failures.as_slice() {
        [only] => only.clone(),
        many => {
            many.iter().for_each(|failure| talk(failure));
            format!("{} of {} failed", many.len(), reports.len())
        }
    };
    Err(CliError::Ended { status, why })
}

// ---- a file ---------------------------------------------------------------------------------------------------------

/// Uploads a file as a new version. It asks nothing before, so that no question has to be run for it.
pub(super) async fn send_file(client: &Client, asked: &Asked, out: &mut impl Write) -> Result<(), CliError> {
    let Some((act, Wish::Upload { path, name })) = asked.wish()? else { return Ok(()) };
    let model: ModelName = name.parse().map_err(|why| CliError::Usage(format!("{why}")))?;
    // Before anything is read or sent: whether somebody answers, and whether it may be.
    let who = Who::from(&client.me().await?.body);
    if let Some(why) = refusal_on(Some(&who), act.permission(), model.as_str()) {
        return Err(CliError::NotAllowed(format!("{}: {why}", act.word)));
    }
    let Uploaded { version, already_present, log_index, octets, .. } = send(client, &path, model.as_str()).await?;
    let how = if already_present { "was there already" } else { version.state.as_str() };
    let logged = log_index.map_or(String::new(), |index| format!(", logged as {index}"));
    let text = format!("{} v{}: {how}, {}{logged}", version.name, version.version, bytes(octets));
    if asked.json {
        let value = json!({"command": "upload", "file": path, "name": name, "outcome": "done", "done": text});
        writeln!(out, "{}", document(&value)?)?;
    } else {
        writeln!(out, "{}", clean(&text))?;
    }
    Ok(out.flush()?)
}
