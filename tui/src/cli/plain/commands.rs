//! What can be typed at the prompt: lists and what to look at closer, changes with their questions, jobs, and what there is
//! to say about the log and the console itself.

use super::{CliError, Plain, Shown};
use crate::access::refusal;
use crate::action::{Action, Answer, Call};
use crate::acts::{ACTS, Act, Options, Wish, find};
use crate::cli::act::{Question, allowed, confirm, consequences, is_reason, listed, resolve};
use crate::cli::get::{call_for, closer, described, health_text};
use crate::cli::listing::Listing;
use crate::cli::plain::ROWS_MAX;
use crate::cli::{What, wrong_answer};
use crate::event::{Code, EventKind, Key};
use crate::export::{Format, Kind};
use crate::filter::{model_query, settled};
use crate::run::bare::GIVE_UP;
use crate::state::deeds::{Tier, grants_in_words};
use crate::state::{Overlay, Screen};
use crate::terminal::output_columns;
use crate::time::counted;
use crate::update::{
    acknowledge, begin_sweep, change_password, check, download, export, full_time, log_out, set, set_up_factor,
    shown_zone, sign_in_again, trust_key, under_way_words, undo, upload,
};
use crate::view::overlay_lines;
use common::client::Sweep;

/// Rows of a page.
const PAGE: u32 = 20;
/// What the number in the list of changes says.
const LEGEND: &str = "0: done at once; 1: y does it; 2: the name does it, and it can't be taken back, or reaches far";
/// Columns of a row's number and what parts it from the row.
const NUMBER_COLUMNS: usize = 6;

/// What there is besides the changes: words and what they do.
const HELP: &[(&str, &str)] = &[
    ("models [FILTER]", "models: words, alias: format: state: tag: uploader: sort:"),
    ("versions MODEL", "the versions of a model"),
    ("users", "users"),
    ("queue [FILTER]", "the drop folder: words of the path, state: sort:"),
    ("quarantine [FILTER]", "versions that are held; state:blocked those that are blocked for good"),
    ("audit [FILTER]", "entries, newest first: actor: action: outcome: target: ip: since: until:"),
    ("goto INDEX|TIME", "an entry; the first that is not before a time"),
    ("health", "what the daemon says of itself"),
    ("more", "the next page of the list"),
    ("again", "the list anew"),
    ("NUMBER", "the row of that number in the list printed last, closer; in other commands it is written #NUMBER"),
    ("open MODEL", "a model by name, name:3, name@alias or digest"),
    ("tail [FILTER]", "the log as it grows, until Enter"),
    ("check [FROM[-TO]]", "check all entries of the log, or some; jobs says how far it is"),
    ("verification", "how the log is verified, and what is pinned"),
    ("audit acknowledge REASON", "acknowledge that the log's verification failed"),
    ("audit trust", "trust the log's key, once it was compared by another way"),
    ("upload FILE MODEL", "a file as a new version"),
    ("download VERSION [FILE]", "a file of a version, to this folder"),
    (
        "export csv|jsonl FILE [--raw]",
        "all of the list, to a file; --raw leaves cells that look like formulas as they are",
    ),
    ("undo", "take the last change back, for 8 s"),
    ("do", "the changes that can be made, with their tier, and why not"),
    ("jobs, messages", "what runs, what was asked and answered"),
    ("whoami", "who is signed in, and what they may do"),
    ("set NAME VALUE", "how this console writes: time utc|local|age, ascii on|off"),
    ("profiles, profile NAME", "the daemons there are; another one"),
    ("remember on|off", "keep the session until logout, or no more"),
    ("login, logout", "sign in, or end the session"),
    ("change-password", "your own password: the old one, and twice the new one"),
    ("second-factor", "set up a second factor for your own sign-ins"),
    ("help, quit", "this list; the end"),
];

/// Of which lists the rows are that can stand for words behind a command, and for which word alone, where not for each.
fn rows_of(command: &str) -> (&'static [Kind], Option<usize>) {
    match command {
        "open" | "download" => (&[Kind::Models, Kind::Versions, Kind::Quarantine], Some(0)),
        "versions" => (&[Kind::Models], Some(0)),
        "tokens" => (&[Kind::Users], Some(0)),
        "goto" => (&[Kind::Entries], Some(0)),
        // As words of a filter.
        "models" | "quarantine" => (&[Kind::Models], None),
        "users" | "tail" => (&[Kind::Users], None),
        // Further words may be a reason.
        "audit" | "entries" => (&[Kind::Users], Some(0)),
        _ => find(command).map_or((&[], None), Act::rows),
    }
}

/// Words as one line, as they can be typed: a text with blanks is in quotes.
fn joined(words: &[String]) -> String {
    let quoted = |word: &String| {
        if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word.clone() }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

impl Plain {
    /// Does what was typed.
    pub(super) fn obey(&mut self, line: &str) -> Result<(), CliError> {
        let words = match self.numbered(line) {
            Ok(words) => words,
            Err(why) => return self.say(&why),
        };
        let Some((word, rest)) = words.split_first() else { return Ok(()) };
        if word != "quit" {
            self.leaving = false;
        }
        let joined = joined(rest);
        let result = match (word.trim_start_matches(':'), rest) {
            ("help" | "?", _) => self.help(),
            ("quit" | "exit" | "q", []) => self.quit_or_ask(),
            ("models", _) => self.list(Kind::Models, None, rest),
            ("versions", [model]) => self.list(Kind::Versions, Some(model), &[]),
            ("tokens", []) => self.list(Kind::Tokens, None, &[]),
            ("tokens", [user]) => self.list(Kind::Tokens, Some(user), &[]),
            ("users", _) => self.list(Kind::Users, None, rest),
            ("queue", _) => self.list(Kind::Queue, None, rest),
            ("quarantine", _) => self.list(Kind::Quarantine, None, rest),
            ("audit", [first, ..]) if first == "acknowledge" => self.acknowledge(rest),
            ("audit", [first]) if first == "trust" => self.trust(),
            ("audit" | "entries", _) => self.list(Kind::Entries, None, rest),
            ("more" | "m", []) => self.page(),
            ("again" | "refresh", []) => self.again(),
            ("goto", [index]) if index.parse::<u64>().is_ok() => self.closer(What::Entry, index),
            ("goto", [_, ..]) => self.at_time(&joined),
            ("check", _) => {
                let actions = check(&mut self.bare.engine.state, &joined).map_err(CliError::Refused);
                actions.map(|actions| self.bare.act(actions))
            }
            ("set", [name, value]) => {
                let actions = set(&mut self.bare.engine.state, name, value).map_err(CliError::Usage);
                actions.map(|actions| self.bare.act(actions))
            }
            ("open", [reference]) => self.closer(What::Model, reference),
            ("health", []) => self.health(),
            ("tail", _) => self.follow(&joined),
            ("verification", []) => self.overlay(Overlay::Verification(0)),
            ("messages", []) => self.overlay(Overlay::Messages(0)),
            ("jobs", []) => self.jobs(),
            ("download", [reference, file @ ..]) if file.len() < 2 => self.download(reference, file.first()),
            ("export", [format, path]) => self.export(format, path, false),
            ("export", [format, path, raw]) if raw == "--raw" => self.export(format, path, true),
            ("undo", []) => self.undo(),
            ("do", []) => {
                let lines = ACTS.iter().map(|act| listed(self.state(), act));
                lines.chain([LEGEND.to_owned()]).try_for_each(|line| self.say(&line))
            }
            ("do", [word, rest @ ..]) => self.change(word, rest),
            ("whoami", []) => self.whoami(),
            ("profiles" | "daemons", []) => self.profiles(),
            ("profile", [name]) => {
                self.bare.switch_to = Some(name.clone());
                Ok(())
            }
            ("remember", [on]) if on == "on" || on == "off" => self.remember(on == "on"),
            ("login", []) => {
                sign_in_again(&mut self.bare.engine.state, "sign in");
                Ok(())
            }
            ("change-password", []) => {
                let actions = change_password(&mut self.bare.engine.state);
                self.bare.act(actions);
                Ok(())
            }
            ("second-factor", []) => {
                let actions = set_up_factor(&mut self.bare.engine.state);
                self.bare.act(actions);
                Ok(())
            }
            ("logout", []) => {
                let actions = log_out(&mut self.bare.engine.state);
                self.bare.act(actions);
                self.greeted = None;
                Ok(())
            }
            (number, []) if number.parse::<usize>().is_ok() => self.row(number),
            (word, rest) => self.change(word, rest),
        };
        // A question that was not answered is none any more.
        self.bare.engine.state.dialog = None;
        // What was typed to end a command that took long ends nothing else.
        self.bare.typed.retain(|kind| !matches!(kind, EventKind::Key(GIVE_UP)));
        match result {
            Err(CliError::Io(error)) => Err(error.into()),
            Err(error) => self.failed(&error),
            Ok(()) => Ok(()),
        }
    }

    /// The first entry that is not before a time.
    fn at_time(&mut self, typed: &str) -> Result<(), CliError> {
        let full =
            full_time(self.state(), typed).map_err(|why| CliError::Usage(format!("an index, or a time: {why}")))?;
        let Answer::Position(reply) = self.bare.request(Call::Position(full.clone()))? else {
            return Err(wrong_answer());
        };
        let common::api::AuditPosition { index, size, .. } = reply.body;
        if index >= size {
            self.say(&format!("no entry is as new as {full}: this is the newest"))?;
        }
        self.closer(What::Entry, &index.min(size.saturating_sub(1)).to_string())
    }

    fn failed(&mut self, error: &CliError) -> Result<(), CliError> {
        if let CliError::Client(error) = error
            && error.wants_sign_in()
        {
            sign_in_again(&mut self.bare.engine.state, "the session has ended");
            return Ok(());
        }
        self.say(&format!("! {error}"))
    }

    /// The words of a line; `#3` is what row 3 stands for, where the command takes such a row. A text in quotation marks is one
    /// word.
    fn numbered(&self, line: &str) -> Result<Vec<String>, String> {
        let mut words = words(line)?;
        let number_of = |word: &str| word.strip_prefix('#').and_then(|number| number.parse::<usize>().ok());
        if let [word] = words.as_mut_slice()
            && let Some(number) = number_of(word)
        {
            // By itself it is what the number is.
            *word = number.to_string();
            return Ok(words);
        }
        let first = usize::from(words.first().is_some_and(|word| word == "do"));
        let Some((command, rest)) = words.get_mut(first..).and_then(<[String]>::split_first_mut) else {
            return Ok(words);
        };
        let command = command.trim_start_matches(':');
        let (kinds, only) = rows_of(command);
        for (place, word) in rest.iter_mut().enumerate() {
            // Where no row can stand, it is text.
            let is_row = !kinds.is_empty() && only.is_none_or(|only| only == place);
            if let Some(number) = number_of(word).filter(|_| is_row) {
                *word = self.reference(number, command, kinds)?;
            }
        }
        Ok(words)
    }

    /// What a row of the list printed last is called, for a command that takes rows of these lists.
    fn reference(&self, number: usize, command: &str, kinds: &[Kind]) -> Result<String, String> {
        let Some(shown) = &self.shown else {
            return Err(format!("#{number} is row {number} of the list printed last, and none was printed yet"));
        };
        let kind = shown.listing.kind();
        if !kinds.contains(&kind) {
            let takes: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
            return Err(format!(
                "#{number} is a row of {}, the list printed last; {command} takes one of {}: print that list, or type the name",
                kind.word(),
                takes.join(" or ")
            ));
        }
        self.at(number).map(|row| row.reference()).ok_or_else(|| self.no_row(number))
    }

    fn no_row(&self, number: usize) -> String {
        match &self.shown {
            None => format!("there is no row {number}: no list was printed yet"),
            Some(Shown { listing, first, rows }) => {
                let word = listing.kind().word();
                match rows.len() {
                    0 => format!("there is no row {number}: {word}, the list printed last, has none"),
                    count => format!(
                        "there is no row {number}: {word}, the list printed last, has {first} to {}",
                        first + count - 1
                    ),
                }
            }
        }
    }

    fn at(&self, number: usize) -> Option<&crate::cli::listing::Row> {
        let shown = self.shown.as_ref()?;
        shown.rows.get(number.checked_sub(shown.first)?)
    }

    fn help(&self) -> Result<(), CliError> {
        let row = |words: &str, help: &str| self.say(&format!("{words:26}  {help}"));
        HELP.iter().try_for_each(|(words, help)| row(words, help))?;
        self.say("Changes; do says which of them ask before they are done:")?;
        ACTS.iter().try_for_each(|act| row(format!("{} {}", act.word, act.words).trim_end(), act.help()))
    }

    fn quit_or_ask(&mut self) -> Result<(), CliError> {
        let under_way = self.state().changes.under_way();
        if under_way > 0 && !std::mem::replace(&mut self.leaving, true) {
            return self.say(&under_way_words(under_way, "quit again leaves"));
        }
        self.quit = Some(0);
        Ok(())
    }

    // ---- lists ------------------------------------------------------------------------------------------------------

    fn list(&mut self, kind: Kind, id: Option<&str>, words: &[String]) -> Result<(), CliError> {
        let screen = match kind {
            Kind::Models | Kind::Versions => Screen::Models,
            Kind::Users | Kind::Tokens => Screen::Users,
            Kind::Queue => Screen::Queue,
            Kind::Quarantine => Screen::Quarantine,
            Kind::Entries => Screen::Audit,
        };
        if let Some(why) = refusal(self.state().who.as_ref(), screen.permission()) {
            return self.say(&why);
        }
        let (orders, words): (Vec<String>, Vec<String>) =
            words.iter().cloned().partition(|word| word.starts_with("sort:") && !word.contains(char::is_whitespace));
        let sort = orders.last().and_then(|order| order.strip_prefix("sort:"));
        let listing = Listing::new(kind, id, &joined(&words), sort).map_err(CliError::Usage)?;
        self.begin(listing)
    }

    fn begin(&mut self, listing: Listing) -> Result<(), CliError> {
        self.shown = Some(Shown { listing, first: 1, rows: std::collections::VecDeque::new() });
        self.page()
    }

    fn again(&mut self) -> Result<(), CliError> {
        match &self.shown {
            Some(shown) => self.begin(shown.listing.anew()),
            None => self.say("no list was shown yet"),
        }
    }

    fn page(&mut self) -> Result<(), CliError> {
        let Some(Shown { listing, .. }) = &self.shown else { return self.say("no list was shown yet") };
        if listing.is_over {
            return self.say("that was all");
        }
        let answer = self.bare.request(listing.call(PAGE))?;
        let Some(shown) = &mut self.shown else { return Ok(()) };
        let is_first = shown.rows.is_empty();
        let mut lines = Vec::new();
        let rows = shown.listing.take(answer);
        let room = output_columns().map(|columns| columns.saturating_sub(NUMBER_COLUMNS));
        if is_first && !rows.is_empty() {
            lines.push(format!("      {}", shown.listing.head(room, true)));
        }
        for row in rows {
            lines.push(format!("{:>4}  {}", shown.first + shown.rows.len(), row.line(room, true)));
            shown.rows.push_back(row);
            if shown.rows.len() > ROWS_MAX {
                shown.rows.pop_front();
                shown.first += 1;
            }
        }
        let count = shown.first + shown.rows.len() - 1;
        let of = shown.listing.total.map(|total| format!(" of {total}")).unwrap_or_default();
        lines.push(match (count, shown.listing.is_over) {
            (0, true) => "nothing fits".to_owned(),
            (_, true) => format!("{count}{of}, that is all"),
            (_, false) => format!("{count}{of}; more goes on"),
        });
        lines.iter().try_for_each(|line| self.say(line))
    }

    fn row(&mut self, number: &str) -> Result<(), CliError> {
        let Ok(number) = number.parse() else { return Ok(()) };
        match self.at(number).map(closer) {
            Some((what, reference)) => self.closer(what, &reference),
            None => self.say(&self.no_row(number)),
        }
    }

    fn closer(&mut self, what: What, reference: &str) -> Result<(), CliError> {
        let call = call_for(what, reference).map_err(CliError::Usage)?;
        let answer = self.bare.request(call)?;
        let (text, _) = described(what, reference, answer)?;
        self.say_lines(&text)
    }

    fn health(&mut self) -> Result<(), CliError> {
        let Answer::Ready(ready) = self.bare.request(Call::Ready)? else { return Err(wrong_answer()) };
        let Answer::Status(status) = self.bare.request(Call::Status)? else { return Err(wrong_answer()) };
        self.say_lines(&health_text(&status.body, &ready, self.bare.skew_seconds()))
    }

    /// All models that match, once their number was typed.
    fn sweep(&mut self, sweep: Sweep, filter: &str) -> Result<(), CliError> {
        let state = self.state();
        let filter = settled(filter, state.now.wall_seconds, &shown_zone(state)).map_err(CliError::Usage)?;
        let query = Box::new(model_query(&filter).map_err(CliError::Usage)?);
        let Answer::Counted(expected) = self.bare.request(Call::Count { sweep, query: query.clone() })? else {
            return Err(wrong_answer());
        };
        let shown = if filter.is_empty() { "no filter" } else { &filter };
        self.say(&format!("{} match ({shown}); it is logged", counted(expected.matched, "model")))?;
        if expected.matched == 0 {
            return Ok(());
        }
        let Some(number) = self.answer("type their number to do it: ", true)? else { return Ok(()) };
        if number.trim() != expected.matched.to_string() {
            return self.say("nothing was done");
        }
        let actions = begin_sweep(&mut self.bare.engine.state, sweep, query, expected).map_err(CliError::Refused)?;
        self.bare.act(actions);
        Ok(())
    }

    // ---- changes ----------------------------------------------------------------------------------------------------

    fn change(&mut self, word: &str, rest: &[String]) -> Result<(), CliError> {
        let Ok(act) = find(word) else { return self.say(&format!("{word} is no command; help lists them")) };
        allowed(self.state(), act)?;
        let mut options = Options::default();
        let mut rest = rest.to_vec();
        rest.retain(|word| {
            let is_override = act.word == "release" && word == "--override";
            options.override_block |= is_override;
            !is_override
        });
        if let Some(place) = rest.iter().position(|word| word == "--filter") {
            let filter = rest.drain(place..).skip(1).collect::<Vec<_>>();
            options.filter = Some(joined(&filter));
        }
        if act.word == "edit" && rest.len() == 1 {
            let Some(description) = self.answer("description (empty: as it is): ", true)? else { return Ok(()) };
            let Some(tags) = self.answer("all tags, key=value, key=value (empty: as they are): ", true)? else {
                return Ok(());
            };
            options.description = Some(description.to_string()).filter(|text| !text.trim().is_empty());
            options.tags = Some(tags.to_string()).filter(|text| !text.trim().is_empty());
            if options.description.is_none() && options.tags.is_none() {
                return self.say("nothing was changed");
            }
        }
        let (deed, named) = match act.wish(&rest, &options).map_err(CliError::Usage)? {
            Wish::Upload { path, name } => {
                let actions = upload(&mut self.bare.engine.state, &path, &name).map_err(CliError::Refused)?;
                self.bare.act(actions);
                return Ok(());
            }
            Wish::Acknowledge => {
                let Some(reason) = self.answer("why may this be? ", true)? else { return Ok(()) };
                let actions = acknowledge(&mut self.bare.engine.state, &reason).map_err(CliError::Usage)?;
                self.bare.act(actions);
                return Ok(());
            }
            Wish::Sweep(sweep, filter) => return self.sweep(sweep, &filter),
            Wish::Change(deed, named) => (deed, named),
        };
        let objects = resolve(&mut self.bare, named)?;
        let changes =
            objects.into_iter().map(|object| crate::state::deeds::Change::new(object, deed.clone())).collect();
        let mut question = Question::open(&mut self.bare, changes)?;
        question.read(&mut self.bare)?;
        match self.consent()? {
            Some(reason) => {
                let reports = question.go(&mut self.bare, reason.as_deref())?;
                // The lines below say what the machine would say of it.
                self.bare.heard.clear();
                for report in &reports {
                    match (report.done(), report.failed()) {
                        (Some(done), _) => self.say(&done)?,
                        (None, failed) => self.say(&format!("! {}", failed.unwrap_or_default()))?,
                    }
                    if let Some(password) = report.password() {
                        let what = if report.change.makes_secret() { "API token" } else { "one-time password" };
                        self.say(&format!("{what}, shown this once: {password}"))?;
                    }
                }
                if self.state().changes.undo.is_some() {
                    self.say("undo takes it back, for 8 s")?;
                }
                Ok(())
            }
            None => {
                self.bare.shown();
                self.bare.feed(EventKind::Key(Key { code: Code::Esc, ctrl: false }));
                Ok(())
            }
        }
    }

    /// Says what would happen, and asks. None: it is not to be done; else the reason, where one goes with it.
    fn consent(&mut self) -> Result<Option<Option<String>>, CliError> {
        let Some(question) = confirm(&self.bare) else { return Ok(None) };
        let (tier, word, word_is, count) = (question.tier, question.word.clone(), question.word_is, question.count());
        let wants_reason = question.reason.is_some();
        let says = if tier == Tier::Free && count > 0 { Vec::new() } else { consequences(question) };
        says.iter().try_for_each(|line| self.say(line))?;
        if count == 0 {
            return Ok(None);
        }
        let reason = if wants_reason {
            let Some(reason) = self.answer("reason (the log keeps it): ", true)? else { return Ok(None) };
            if !is_reason(&reason) {
                self.say("a reason is needed, on one line")?;
                return Ok(None);
            }
            Some(reason.to_string())
        } else {
            None
        };
        let says_yes = match tier {
            Tier::Free => true,
            Tier::Asked => {
                let answer = self.answer("y does it, anything else does not: ", true)?;
                answer.is_some_and(|answer| ["y", "yes"].contains(&answer.trim()))
            }
            Tier::Named => {
                let ask = format!("type the {word_is} {word} to do it: ");
                self.answer(&ask, true)?.is_some_and(|answer| *answer == word)
            }
        };
        Ok(says_yes.then_some(reason))
    }

    fn undo(&mut self) -> Result<(), CliError> {
        let actions = undo(&mut self.bare.engine.state);
        self.bare.act(actions);
        while self.state().changes.runs.values().any(|run| !run.is_over()) && self.bare.typed.is_empty() {
            self.turn();
        }
        Ok(())
    }

    // ---- jobs -------------------------------------------------------------------------------------------------------

    fn download(&mut self, reference: &str, file: Option<&String>) -> Result<(), CliError> {
        let Answer::Model(reply) = self.bare.request(Call::Model(reference.to_owned()))? else {
            return Err(wrong_answer());
        };
        let Some(version) = reply.body.selected else { return self.say(&format!("{reference} has no version")) };
        let actions = download(&mut self.bare.engine.state, &version, file.map(String::as_str));
        self.bare.act(actions.map_err(CliError::Refused)?);
        Ok(())
    }

    fn export(&mut self, format: &str, path: &str, raw: bool) -> Result<(), CliError> {
        let format = match format {
            "csv" => Format::Csv { raw },
            "jsonl" => Format::JsonLines,
            other => return self.say(&format!("{other} is none of csv, jsonl")),
        };
        let Some(shown) = &self.shown else { return self.say("no list was shown yet") };
        let kind = shown.listing.kind();
        let Some(rows) = shown.listing.rows() else {
            return self.say(&format!("mreg get {} --all writes them; nothing is exported here", kind.word()));
        };
        let actions = export(&mut self.bare.engine.state, rows, kind, format, path).map_err(CliError::Refused)?;
        self.bare.act(actions);
        Ok(())
    }

    fn jobs(&mut self) -> Result<(), CliError> {
        let jobs = self.state().changes.jobs.values();
        let lines: Vec<String> = jobs
            .map(|job| match &job.outcome {
                Some(Ok(text)) => format!("{}: {text}", job.title),
                Some(Err(why)) => format!("{}: FAILED: {why}", job.title),
                None => {
                    format!("{}: {} of {}", job.title, job.done, job.total.map_or("?".to_owned(), |n| n.to_string()))
                }
            })
            .collect();
        if lines.is_empty() {
            return self.say("nothing runs, and nothing has run");
        }
        lines.iter().try_for_each(|line| self.say(line))
    }

    // ---- the log and the console itself -----------------------------------------------------------------------------

    fn overlay(&mut self, overlay: Overlay) -> Result<(), CliError> {
        self.bare.engine.state.overlay = Some(overlay);
        let lines = overlay_lines(self.state());
        self.bare.engine.state.overlay = None;
        lines.iter().try_for_each(|line| {
            let text: String = line.0.iter().map(|(text, _)| text.as_str()).collect();
            self.say(text.trim_end())
        })
    }

    fn acknowledge(&mut self, words: &[String]) -> Result<(), CliError> {
        let reason = words.get(1..).unwrap_or_default().join(" ");
        let actions = acknowledge(&mut self.bare.engine.state, &reason).map_err(CliError::Usage)?;
        self.bare.act(actions);
        Ok(())
    }

    fn trust(&mut self) -> Result<(), CliError> {
        let actions = trust_key(&mut self.bare.engine.state);
        self.bare.act(actions);
        Ok(())
    }

    fn whoami(&mut self) -> Result<(), CliError> {
        let Some(who) = &self.state().who else { return self.say("nobody is signed in") };
        let may: Vec<String> = who.permissions.iter().map(ToString::to_string).collect();
        let mut text = format!("{} ({}), may {}", who.username, who.role, may.join(", "));
        if !who.grants.is_empty() {
            text += &format!("; by models' names {}", grants_in_words(&who.grants));
        }
        self.say(&text)
    }

    fn profiles(&mut self) -> Result<(), CliError> {
        let here = self.state().settings.profile.clone();
        self.profiles.rows().iter().try_for_each(|row| {
            let mark = if row.name == here { "*" } else { " " };
            self.say(format!("{mark} {:20} {:36} {:14} {}", row.name, row.url, row.user, row.notes).trim_end())
        })
    }

    fn remember(&mut self, on: bool) -> Result<(), CliError> {
        if on && !self.state().settings.can_remember {
            return self.say("there is nowhere to keep a session");
        }
        self.bare.engine.state.remember = on;
        self.bare.act(vec![Action::Remember(on)]);
        self.say(if on { "the session is kept until logout" } else { "the session ends with the console" })
    }
}

/// Words parted by blanks; what stands in quotation marks is one, without them.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or("a quotation mark is not closed")?,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{rows_of, words};

    /// A command takes the rows of the same lists by each of its names.
    #[test]
    fn rows_by_any_name() {
        let of_entries = rows_of("entries");
        assert!(!of_entries.0.is_empty());
        assert_eq!(of_entries, rows_of("audit"));
    }

    #[test]
    fn lines() {
        let all = |line| words(line).unwrap_or_default();
        assert_eq!(all("  delete  team/x "), ["delete", "team/x"]);
        assert_eq!(all("upload \"my file\" team/x"), ["upload", "my file", "team/x"]);
        assert!(all("").is_empty() && words("\"x").is_err());
    }
}
