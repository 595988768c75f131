//! `mreg tail`: the log as it grows, one line an entry, resumed where it was cut; with `--verify` an entry is written only
//! once a verified checkpoint covers it. The rules are those of the screen: `tail` and `trust`.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::api::AuditRow;
use common::client::{AuditQuery, AuditStream, Bye, Client, ClientError, LogEvent};
use common::problem::ProblemType;
use serde_json::Value;

use super::listing::entry_line;
use super::{CliError, document, talk};
use crate::action::{LogAnswer, LogCall};
use crate::event::Moment;
use crate::filter::matches;
use crate::state::log::LogSettings;
use crate::tail::{Held, Input, Tail, Told};
use crate::terminal::output_columns;
use crate::time::rfc3339;
use crate::trust::{Badge, Breach, BreachKind, Judged, Trust, Wants};
use crate::worker::{files, log};

/// Entries that wait to be verified before the stream is read on.
const WAITING_MAX: usize = 4_096;

/// How often witnesses are thought of while nothing comes.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What was asked for.
pub(super) struct Asked {
    /// The first entry; without it, from now on.
    pub(super) from: Option<u64>,
    /// Which entries are written.
    pub(super) filter: AuditQuery,
    /// Whether they must be verified first.
    pub(super) verify: bool,
    /// One JSON document a line.
    pub(super) json: bool,
    /// The last entry.
    pub(super) until: Option<u64>,
    /// The log's key and its witnesses, as they were set.
    pub(super) log: LogSettings,
    /// Where pins and evidence are kept.
    pub(super) folder: Option<PathBuf>,
}

struct Run<'a, W> {
    asked: Asked,
    client: &'a Client,
    out: &'a mut W,
    tail: Tail,
    trust: Trust,
    /// Came, and is not written yet.
    waiting: VecDeque<Held>,
    began: Instant,
    done: bool,
    /// It was said that too few witnesses cosign, or that nothing covers what came.
    told_late: bool,
    /// It was said what is followed.
    told_what: bool,
    /// A stream was there.
    opened: bool,
    /// What the stream could not go on from was read by pages, and nothing has come since.
    refilled: bool,
    away: Away,
}

/// Whether it was said that nobody answers: once when that begins, and once when it is over, however often it is tried.
#[derive(Default)]
struct Away(bool);

impl Away {
    /// It failed, and is tried again.
    fn began(&mut self, why: &ClientError) -> Option<String> {
        let is_news = !std::mem::replace(&mut self.0, true);
        is_news.then(|| format!("{why}; it is tried again until it answers, Ctrl-C ends"))
    }

    /// The stream is there.
    fn ended(&mut self, next: u64) -> Option<String> {
        std::mem::take(&mut self.0).then(|| format!("it answers again: the log goes on from entry {next}"))
    }
}

pub(super) async fn tail<W: Write>(client: &Client, asked: Asked, out: &mut W) -> Result<(), CliError> {
    let kept = match asked.folder.as_deref().filter(|_| asked.verify) {
        Some(folder) => files::read_kept(folder, client.address()).map_err(CliError::Usage)?,
        None => None,
    };
    let log = &asked.log;
    let trust = Trust::new(client.address(), log.key.clone(), log.witnesses.clone(), log.quorum, kept);
    let tail = Tail::default();
    let mut run = Run {
        asked,
        client,
        out,
        tail,
        trust,
        waiting: VecDeque::new(),
        began: Instant::now(),
        done: false,
        told_late: false,
        told_what: !std::io::stderr().is_terminal(),
        opened: false,
        refilled: false,
        away: Away::default(),
    };
    if run.asked.verify && run.trust.alarm().is_some() {
        let what = run.trust.alarm().map(|alarm| alarm.what.clone()).unwrap_or_default();
        return Err(CliError::NotVerified(format!("an alarm was not acknowledged (open the console): {what}")));
    }
    let mut begun = false;
    while !run.done {
        let ended = run.session(&mut begun).await;
        let retry_after = match ended {
            Ok(()) => None,
            Err(CliError::Client(error)) => match run.after(error).await? {
                None => None,
                Some(error) if error.wants_sign_in() => {
                    if let Err(error) = run.client.refresh().await
                        && (is_final(&error) || error.wants_sign_in())
                    {
                        return Err(error.into());
                    }
                    None
                }
                Some(error) => {
                    if let Some(told) = run.away.began(&error) {
                        run.out.flush()?;
                        talk(&told);
                    }
                    if let ClientError::Problem { retry_after_seconds, .. } = &error {
                        *retry_after_seconds
                    } else {
                        None
                    }
                }
            },
            Err(other) => return Err(other),
        };
        if !run.done {
            let wait_ms = run.tail.ended(run.now(), retry_after);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
    run.keep(false)?;
    Ok(run.out.flush()?)
}

/// Whether asking again is answered in the same way: whom to trust does not change by it, nor do most refusals.
fn is_final(error: &ClientError) -> bool {
    match (error, error.answered()) {
        (ClientError::Address(_) | ClientError::Tls { .. }, _) => true,
        (_, Some(401 | 408 | 429)) => false,
        (_, status) => matches!(status, Some(400..500)),
    }
}

/// What is followed, from where, and how it ends.
fn following(origin: &str, from: u64, until: Option<u64>) -> String {
    let until = until.map_or(String::new(), |until| format!(" to entry {until}"));
    format!("following the log of {origin} from entry {from}{until}; Ctrl-C ends")
}

impl<W: Write> Run<'_, W> {
    #[expect(clippy::disallowed_methods, reason = "a command without a screen has no loop to tell it the time")]
    fn now(&self) -> Moment {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Moment {
            ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            wall_seconds: i64::try_from(wall.as_secs()).unwrap_or(i64::MAX),
        }
    }

    async fn ask(&self, call: LogCall) -> Result<LogAnswer, ClientError> {
        log::perform(self.client, call).await
    }

    /// What follows an error of the stream: nothing where it goes on at another place, or the error, which passes.
    ///
    /// # Errors
    /// What ends it: a refusal that stays, or what was found about the log.
    async fn after(&mut self, error: ClientError) -> Result<Option<ClientError>, CliError> {
        let is_hole = matches!(error.answered(), Some(409 | 410)) && self.tail.next > 0;
        if is_hole && !self.refilled {
            return match self.refill().await {
                Ok(()) => {
                    // Once: where it can't begin at the new place either, it can't be had.
                    self.refilled = true;
                    Ok(None)
                }
                Err(CliError::Client(error)) if !is_final(&error) => Ok(Some(error)),
                Err(other) => Err(other),
            };
        }
        if !is_final(&error) {
            return Ok(Some(error));
        }
        if error.problem_type() == Some(ProblemType::Invalid) {
            // The log has no such entry: what it has, its newest checkpoint says. One that was cut back is found out by it.
            if self.asked.verify {
                self.newest().await?;
            }
            if let Some(from) = self.asked.from.filter(|_| !self.opened) {
                return Err(CliError::Usage(format!("the log has no entry {from} yet: {error}")));
            }
        }
        Err(error.into())
    }

    /// Reads by pages what the stream can't bring, up to the newest checkpoint.
    async fn refill(&mut self) -> Result<(), CliError> {
        if let Some(size) = self.newest().await? {
            self.take(Input::Covered(size)).await?;
        }
        Ok(())
    }

    /// The size of the newest checkpoint, which is looked at where entries are to be verified.
    async fn newest(&mut self) -> Result<Option<u64>, CliError> {
        self.trust.asking();
        let LogAnswer::Checkpoint(note) = self.ask(LogCall::Checkpoint).await? else { return Ok(None) };
        if self.asked.verify {
            let mut wants = Vec::new();
            self.trust.offered(&note, self.now(), &mut wants).map_err(ClientError::Protocol)?;
            self.settle(wants).await?;
        }
        let text = String::from_utf8_lossy(&note);
        Ok(self.trust.size_of(&text).or_else(|| text.lines().nth(1)?.parse().ok()))
    }

    /// One stream, from its opening to its end.
    async fn session(&mut self, begun: &mut bool) -> Result<(), CliError> {
        if !*begun {
            self.begin().await?;
            *begun = true;
        }
        let after = match (self.tail.next, self.asked.from, self.asked.verify) {
            (0, None, false) => None,
            (next, _, _) => next.checked_sub(1),
        };
        if self.asked.from.is_some() || self.asked.verify {
            self.tell_what();
        }
        if self.tail.next == 0 && self.asked.from == Some(0) {
            // A stream begins behind an entry: there is none before the first.
            self.fetch(0..1).await?;
            if self.done {
                return Ok(());
            }
        }
        let after = if self.tail.next > 0 { self.tail.next.checked_sub(1) } else { after };
        let mut stream = self.client.audit_stream_as_it_comes(after).await?;
        self.opened = true;
        self.tail.opened(self.now());
        if after.is_none() {
            self.tail.begin(stream.log_index() + 1);
            self.tail.opened(self.now());
        }
        if let Some(told) = self.away.ended(self.tail.next) {
            talk(&told);
        }
        self.tell_what();
        loop {
            let Some(event) = self.event(&mut stream).await? else { return Ok(()) };
            self.refilled = false;
            match event {
                LogEvent::Entry { index, leaf } => self.take(Input::Entry { index, leaf }).await?,
                LogEvent::Malformed { id, data } => self.take(Input::Malformed { id, data }).await?,
                LogEvent::Checkpoint(note) => self.checkpoint(&note).await?,
                LogEvent::Bye(Bye::Expired) => {
                    self.client.refresh().await?;
                    return Ok(());
                }
                LogEvent::Bye(Bye::Revoked) => {
                    return Err(CliError::NotSignedIn("the session has ended".to_owned()));
                }
                _ => {}
            }
            if self.done {
                return Ok(());
            }
        }
    }

    /// Says once, to a person who would look at an empty screen until something happens, what is followed and from where.
    fn tell_what(&mut self) {
        if !std::mem::replace(&mut self.told_what, true) {
            let origin = self.trust.keys().first().map(|key| key.name().to_owned());
            let origin = origin.unwrap_or_else(|| self.client.address().to_owned());
            talk(&following(&origin, self.asked.from.unwrap_or(self.tail.next), self.asked.until));
        }
    }

    async fn event(&mut self, stream: &mut AuditStream) -> Result<Option<LogEvent>, CliError> {
        if let Some(event) = stream.next_of_those_here()? {
            return Ok(Some(event));
        }
        // Whoever reads along sees what there is before the wait.
        self.out.flush()?;
        // One wait, however often witnesses are looked for meanwhile: it is the stream that knows how long silence may be.
        let mut next = std::pin::pin!(stream.next());
        loop {
            self.witnesses().await?;
            if let Ok(event) = tokio::time::timeout(LOOK_AGAIN, &mut next).await {
                return Ok(event?);
            }
        }
    }

    /// Asks for what the profile's witnesses cosigned, when it is time; says once when they are late. That they are is no
    /// failure, as on the screen: what they cosigned being of another history is.
    async fn witnesses(&mut self) -> Result<(), CliError> {
        if !self.asked.verify {
            return Ok(());
        }
        let now = self.now();
        if let Some(size) = self.trust.wants_witnessed(now) {
            self.trust.asking_witnessed(now);
            match self.ask(LogCall::Witnessed(size)).await {
                Ok(LogAnswer::Witnessed { note, growth, .. }) => {
                    let mut wants = Vec::new();
                    let now = self.now();
                    self.trust.cosigned(&note, Some(&growth), now, &mut wants);
                    self.settle(wants).await?;
                }
                // It is asked again when it is time.
                Ok(_) | Err(_) => self.trust.unanswered(),
            }
        }
        let is_late = self.trust.badge(self.now()) == Badge::Late;
        if is_late && !self.told_late {
            let (_, quorum) = self.trust.witnesses();
            talk(&match self.trust.witnessed() {
                _ if quorum == 0 => "LATE: no checkpoint covers the newest entries".to_owned(),
                Some(size) => format!("LATE: fewer than {quorum} witnesses cosigned more than {size} entries"),
                None => format!("LATE: fewer than {quorum} witnesses cosigned anything"),
            });
        }
        self.told_late = is_late;
        Ok(())
    }

    /// The newest checkpoint, and where the tail begins.
    async fn begin(&mut self) -> Result<(), CliError> {
        if self.asked.verify {
            let mut wants = Vec::new();
            if self.trust.wants_key() {
                if let LogAnswer::Keys(keys) = self.ask(LogCall::Keys).await? {
                    self.trust.first_use(&keys, &mut wants);
                }
                let names: Vec<String> = self.trust.keys().iter().map(ToString::to_string).collect();
                talk(&format!("log key taken on first use, compare it: {}", names.join(", ")));
            }
            self.trust.asking();
            let LogAnswer::Checkpoint(note) = self.ask(LogCall::Checkpoint).await? else { return Ok(()) };
            self.trust.offered(&note, self.now(), &mut wants).map_err(ClientError::Protocol)?;
            self.settle(wants).await?;
        }
        let newest = self.trust.verified_size();
        let next = match self.asked.from {
            Some(from) => from,
            None => newest,
        };
        if let Some(from) = self.asked.from
            && self.asked.verify
            && from > newest
        {
            return Err(CliError::Usage(format!("the log has {newest} entries, none of index {from}")));
        }
        self.tail.begin(next);
        Ok(())
    }

    async fn checkpoint(&mut self, note: &str) -> Result<(), CliError> {
        if !self.asked.verify {
            return Ok(());
        }
        let size = self.trust.size_of(note);
        let mut wants = Vec::new();
        self.trust.streamed(note, self.now(), &mut wants);
        self.settle(wants).await?;
        if let Some(size) = size {
            self.take(Input::Covered(size)).await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, range: std::ops::Range<u64>) -> Result<(), CliError> {
        let input = match self.ask(LogCall::Entries(range.clone())).await {
            Ok(LogAnswer::Entries { leaves: Some(leaves), .. }) => Input::Filled { first: range.start, leaves },
            Ok(_) => Input::Refused { page: range, why: "the bundle cannot be cut".to_owned() },
            Err(error) if matches!(error.status(), Some(400 | 404 | 410 | 422)) => {
                Input::Refused { page: range, why: error.to_string() }
            }
            Err(error) => return Err(error.into()),
        };
        // The first entry of all opens no gap.
        if let (Input::Filled { first: 0, leaves }, 0) = (&input, self.tail.next) {
            for (index, leaf) in (0..).zip(leaves.clone()) {
                Box::pin(self.take(Input::Entry { index, leaf })).await?;
            }
            return Ok(());
        }
        Box::pin(self.take(input)).await
    }

    async fn take(&mut self, input: Input) -> Result<(), CliError> {
        let mut told = Vec::new();
        self.tail.take(input, &mut told);
        for told in told {
            match told {
                Told::Accept(held) => self.accept(held).await?,
                Told::Fetch(range) => Box::pin(self.fetch(range)).await?,
                Told::Close => {}
                Told::Again(held) => {
                    if self.asked.verify {
                        let mut wants = Vec::new();
                        let now = self.now();
                        self.trust.question(&held, now, &mut wants);
                        Box::pin(self.settle(wants)).await?;
                    }
                }
                Told::Doubled { now, .. } => {
                    let breach = Breach::new(BreachKind::Doubled, format!("entry {} has two contents", now.index));
                    self.broken(&breach)?;
                }
                Told::Malformed { index, why, octets } => {
                    let place = index.map_or_else(|| "an event".to_owned(), |index| format!("entry {index}"));
                    let mut breach = Breach::new(BreachKind::Malformed, format!("{place} is malformed: {why}"));
                    breach.evidence = serde_json::json!({ "octets": String::from_utf8_lossy(&octets) });
                    self.broken(&breach)?;
                }
                Told::Missing { range, why } => {
                    let what = format!("the entries {} to {} are withheld: {why}", range.start, range.end - 1);
                    self.broken(&Breach::new(BreachKind::Withheld, what))?;
                }
            }
        }
        Ok(())
    }

    async fn accept(&mut self, held: Held) -> Result<(), CliError> {
        if !self.asked.verify {
            return self.write(&held);
        }
        let first_live = self.trust.verified_size();
        if held.index < first_live && self.waiting.is_empty() {
            // Before the session's first checkpoint: verified tiles have the word.
            loop {
                match self.trust.judge(held.index, &held.hash) {
                    Judged::Verified => return self.write(&held),
                    Judged::Wrong(expected) => {
                        let mut wants = Vec::new();
                        let now = self.now();
                        self.trust.wrong_entry(held.index, &held.hash, &expected, &held.leaf, now, &mut wants);
                        return Box::pin(self.settle(wants)).await;
                    }
                    Judged::Needs(paths) => {
                        let LogAnswer::Tiles(tiles) = self.ask(LogCall::Tiles(paths)).await? else { return Ok(()) };
                        let mut wants = Vec::new();
                        let now = self.now();
                        self.trust.take_tiles(&tiles, now, &mut wants);
                        Box::pin(self.settle(wants)).await?;
                    }
                    Judged::Beyond(size) => {
                        let proof = self.ask(LogCall::Proof { size, from: None }).await?;
                        let mut wants = Vec::new();
                        self.proof(proof, &mut wants);
                        Box::pin(self.settle(wants)).await?;
                    }
                    Judged::Unknown => return Err(CliError::NotVerified("nothing is proved yet".to_owned())),
                }
            }
        }
        let mut wants = Vec::new();
        let now = self.now();
        self.trust.entry(&held, now, &mut wants);
        self.waiting.push_back(held);
        Box::pin(self.settle(wants)).await?;
        if self.waiting.len() > WAITING_MAX {
            self.trust.asking();
            let LogAnswer::Checkpoint(note) = self.ask(LogCall::Checkpoint).await? else { return Ok(()) };
            let mut wants = Vec::new();
            self.trust.offered(&note, self.now(), &mut wants).map_err(ClientError::Protocol)?;
            Box::pin(self.settle(wants)).await?;
        }
        Ok(())
    }

    fn proof(&mut self, proof: LogAnswer, wants: &mut Vec<Wants>) {
        if let LogAnswer::Proof { size, growth, tiles } = proof {
            let now = self.now();
            self.trust.proof(size, growth.as_deref(), &tiles, now, wants);
        }
    }

    async fn settle(&mut self, wants: Vec<Wants>) -> Result<(), CliError> {
        let mut wants: VecDeque<Wants> = wants.into();
        while let Some(want) = wants.pop_front() {
            let mut more = Vec::new();
            match want {
                Wants::Proof { size, from } => match self.ask(LogCall::Proof { size, from }).await {
                    Ok(proof) => self.proof(proof, &mut more),
                    Err(error) if matches!(error.status(), Some(400 | 404 | 410 | 422)) => {
                        let now = self.now();
                        self.trust.proof_refused(size, &error.to_string(), now, &mut more);
                    }
                    Err(error) => return Err(error.into()),
                },
                Wants::Tiles(paths) => {
                    if let LogAnswer::Tiles(tiles) = self.ask(LogCall::Tiles(paths)).await? {
                        let now = self.now();
                        self.trust.take_tiles(&tiles, now, &mut more);
                    }
                }
                Wants::Checkpoint | Wants::Save => {}
                Wants::Followed(told) => super::talk(&told),
                Wants::Rotations => match self.ask(LogCall::Rotations).await {
                    Ok(LogAnswer::Rotations(rotations)) => {
                        let now = self.now();
                        self.trust.rotated(&rotations, now, &mut more);
                    }
                    Ok(_) => {}
                    Err(error) if matches!(error.status(), Some(400..500)) => {
                        let now = self.now();
                        self.trust.rotations_refused(&error.to_string(), now, &mut more);
                    }
                    Err(error) => return Err(error.into()),
                },
                Wants::Verified(size) => {
                    while let Some(held) = self.waiting.pop_front_if(|held| held.index < size) {
                        self.write(&held)?;
                    }
                }
                Wants::Broken(breach) => {
                    // The tiles that say which entry it is, where they are asked for.
                    let tiles = wants.iter().position(|want| matches!(want, Wants::Tiles(_)));
                    if let Some(Wants::Tiles(paths)) = tiles.and_then(|at| wants.remove(at))
                        && let Ok(LogAnswer::Tiles(tiles)) = self.ask(LogCall::Tiles(paths)).await
                    {
                        let now = self.now();
                        let mut named = Vec::new();
                        self.trust.take_tiles(&tiles, now, &mut named);
                        if let Some(Wants::Broken(named)) =
                            named.into_iter().find(|want| matches!(want, Wants::Broken(_)))
                        {
                            return self.broken(&named);
                        }
                    }
                    return self.broken(&breach);
                }
            }
            wants.extend(more);
        }
        Ok(())
    }

    /// Keeps evidence, and ends.
    fn broken(&mut self, breach: &Breach) -> Result<(), CliError> {
        self.out.flush()?;
        let mut wants = Vec::new();
        let now = self.now();
        self.trust.raise(breach.clone(), now, &mut wants);
        let evidence = serde_json::json!({
            "kind": breach.kind, "what": breach.what, "entry": breach.index, "at": rfc3339(now.wall_seconds),
            "address": self.client.address(), "facts": breach.facts, "proof": breach.evidence,
            "leaves": self.tail.evidence_from(breach.index),
        });
        let text = serde_json::to_string_pretty(&evidence).unwrap_or_default();
        let stamp = rfc3339(now.wall_seconds).replace(['-', ':'], "");
        let kept = self
            .asked
            .folder
            .as_deref()
            .map(|folder| files::write_evidence(folder, self.client.address(), "evidence", &stamp, &text));
        let told = match kept {
            Some(Ok(path)) => {
                if let Some(alarm) = self.trust.alarm_mut() {
                    alarm.evidence = Some(path.clone());
                }
                format!("; the evidence is in {path}")
            }
            Some(Err(why)) => format!("; {why}"),
            None => String::new(),
        };
        if self.asked.verify {
            self.keep(false)?;
        }
        Err(CliError::NotVerified(format!("{}{told}", breach.what)))
    }

    fn keep(&self, force: bool) -> Result<(), CliError> {
        if self.asked.verify
            && let Some(folder) = &self.asked.folder
        {
            files::save_kept(folder, &self.trust.kept(), force)?;
        }
        Ok(())
    }

    fn write(&mut self, held: &Held) -> Result<(), CliError> {
        if self.done || self.asked.from.is_some_and(|from| held.index < from) {
            return Ok(());
        }
        self.done = self.asked.until.is_some_and(|until| held.index >= until);
        if self.asked.until.is_some_and(|until| held.index > until) {
            return Ok(());
        }
        let entry: Value = serde_json::from_slice(&held.leaf).unwrap_or(Value::Null);
        if !matches(&self.asked.filter, &entry) {
            return Ok(());
        }
        let row = AuditRow { index: held.index, entry, leaf_hash: held.hash.to_string() };
        let line = if self.asked.json { document(&row)? } else { entry_line(&row, output_columns()) };
        writeln!(self.out, "{line}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use common::client::ClientError;
    use common::problem::ProblemType;

    use super::{Away, following, is_final};

    /// What is refused for good ends it; what passes, or wants another token, does not.
    #[test]
    fn for_good() {
        let problem = |kind: ProblemType| ClientError::Problem {
            problem: Box::new(kind.problem("x", "y")),
            retry_after_seconds: None,
        };
        for kind in [ProblemType::Forbidden, ProblemType::NotFound, ProblemType::Invalid, ProblemType::Conflict] {
            assert!(is_final(&problem(kind)), "{kind:?}");
        }
        for kind in [ProblemType::Unauthenticated, ProblemType::Unavailable, ProblemType::TooManyRequests] {
            assert!(!is_final(&problem(kind)), "{kind:?}");
        }
        assert!(is_final(&ClientError::Protocol("status 404 to /log/checkpoint".to_owned())));
        assert!(!is_final(&ClientError::Protocol("status 408".to_owned())));
        assert!(!is_final(&ClientError::Offline { address: String::new(), cause: String::new() }));
    }

    /// That nobody answers is said once, and once that somebody does again.
    #[test]
    fn nobody_answers() {
        let why = ClientError::Offline { address: "h:1".into(), cause: "refused".into() };
        let mut away = Away::default();
        assert_eq!(away.ended(7), None, "it was never away");
        let told = away.began(&why);
        assert_eq!(told, Some(format!("{why}; it is tried again until it answers, Ctrl-C ends")));
        assert_eq!(away.began(&why), None);
        assert_eq!(away.ended(7).as_deref(), Some("it answers again: the log goes on from entry 7"));
        assert_eq!(away.ended(7), None);
        assert!(away.began(&why).is_some());
    }

    #[test]
    fn what_is_followed() {
        assert_eq!(
            following("registry.example/log", 7, None),
            "following the log of registry.example/log from entry 7; Ctrl-C ends"
        );
        assert!(following("h", 0, Some(2)).contains("from entry 0 to entry 2; "));
    }
}
