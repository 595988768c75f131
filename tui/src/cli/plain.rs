//! `mreg --plain`: the console a line at a time, for screen readers and for terminals that can do nothing else. No
//! alternate screen, no cursor that moves, no escape sequence: a prompt, numbered lists, questions and answers. The
//! terminal stays as it was found; only while a password is typed it does not echo. State and rules are the console's own.

mod commands;
mod tail;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::listing::{Listing, Row};
use super::{CliError, end};
use crate::clean::{clean, to_ascii};
use crate::config::{Arguments, Configuration, Opening, Profiles};
use crate::event::EventKind;
use crate::run::bare::{Bare, ENTER, ESC, GIVE_UP};
use crate::state::forms::{EnrolStage, NewPassword, grouped_secret};
use crate::state::{Level, State};
use crate::terminal::{Guard, input, is_interactive, signals, watchdog};
use crate::trust::Badge;

/// Status of a program that was ended by C-c.
const INTERRUPTED: u8 = 130;
/// Status of a program whose terminal is gone.
const LOST: u8 = 129;
/// Rows that numbers stand for.
const ROWS_MAX: usize = 500;

/// What was typed.
enum Typed {
    Line(Zeroizing<String>),
    /// C-c.
    Interrupted,
    /// C-d: nothing more will come.
    Ended,
}

/// The list that was shown last.
struct Shown {
    listing: Listing,
    /// The number of the first row that is still known.
    first: usize,
    rows: VecDeque<Row>,
}

struct Plain {
    guard: &'static Guard,
    profiles: Profiles,
    bare: Bare,
    shown: Option<Shown>,
    /// The last word on the log that was told.
    badge: Option<&'static str>,
    /// Where the evidence is that was last told of.
    evidence: Option<String>,
    /// Who was last told to be signed in.
    greeted: Option<String>,
    /// Leaving with work under way was asked about.
    leaving: bool,
    quit: Option<u8>,
}

/// Runs the plain console until it is left.
pub fn plain(arguments: Arguments) -> ExitCode {
    match try_plain(arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status),
        Err(error) => end(Err(error), false),
    }
}

fn try_plain(arguments: Arguments) -> Result<u8, CliError> {
    let no_terminal = || {
        CliError::Usage(
            "--plain talks with a person on a terminal; in scripts and pipes there are mreg get and mreg do".to_owned(),
        )
    };
    let guard = Guard::open().map_err(|_none| no_terminal())?;
    if !is_interactive() {
        return Err(no_terminal());
    }
    let configuration = Configuration::read();
    let complaint = configuration.complaint();
    if let (Some(why), true) = (&complaint, arguments.names_profile()) {
        return Err(CliError::Usage(why.clone()));
    }
    let profiles = Profiles::new(arguments, configuration.file.unwrap_or_default());
    let opening = profiles.chosen().map_err(CliError::Usage)?;
    let complaint = complaint.or_else(|| profiles.complaint());
    let settings = opening.as_ref().map_or_else(|| profiles.settings(), |opening| opening.settings.clone());
    let (bare, sender) = Bare::new(settings);
    signals::start_lines(sender.clone())?;
    watchdog::start(guard.tty())?;
    input::start_lines(guard.tty(), sender)?;
    let mut plain = Plain {
        guard,
        profiles,
        bare,
        shown: None,
        badge: None,
        evidence: None,
        greeted: None,
        leaving: false,
        quit: None,
    };
    if let Some(why) = complaint {
        plain.say(&why)?;
    }
    let result = plain.run(opening);
    guard.give_back();
    plain.bare.engine.leave();
    result
}

impl Plain {
    fn run(&mut self, opening: Option<Opening>) -> Result<u8, CliError> {
        match opening {
            Some(opening) => self.open(opening)?,
            None => self.choose()?,
        }
        loop {
            if let Some(status) = self.quit {
                return Ok(status);
            }
            if let Some(profile) = self.bare.switch_to.take() {
                self.switch(&profile)?;
            }
            self.wait_for_sign_in();
            if self.state().login.is_some() {
                self.sign_in()?;
                continue;
            }
            if self.state().new_password.is_some() {
                self.change_password()?;
                continue;
            }
            if self.state().enrol.is_some() {
                self.enrol()?;
                continue;
            }
            self.greet()?;
            self.tell_news()?;
            let prompt = format!("{}> ", self.place());
            match self.line(&prompt)? {
                Typed::Line(line) => self.obey(&line)?,
                Typed::Interrupted => self.quit = Some(INTERRUPTED),
                Typed::Ended => self.quit = Some(ended()),
            }
        }
    }

    fn state(&self) -> &State {
        &self.bare.engine.state
    }

    /// The profile or the address.
    fn place(&self) -> String {
        let settings = &self.state().settings;
        let name = if settings.profile.is_empty() { &settings.address } else { &settings.profile };
        if settings.readonly { format!("{name} (read-only)") } else { name.clone() }
    }

    // ---- daemons and sessions ---------------------------------------------------------------------------------------

    fn open(&mut self, opening: Opening) -> Result<(), CliError> {
        self.shown = None;
        (self.badge, self.greeted) = (None, None);
        self.bare.forget_heard();
        self.bare.open(opening, true)?;
        self.say(&format!(
            "mreg {}, speaking to {}; help lists what there is",
            self.state().settings.version,
            self.place()
        ))
    }

    fn switch(&mut self, profile: &str) -> Result<(), CliError> {
        match self.profiles.open(profile) {
            Ok(opening) => self.open(opening),
            Err(why) => self.say(&why),
        }
    }

    /// Which of several daemons.
    fn choose(&mut self) -> Result<(), CliError> {
        let names: Vec<String> = self.profiles.rows().into_iter().map(|row| row.name).collect();
        while self.quit.is_none() {
            self.say("which daemon?")?;
            for (number, name) in (1..).zip(&names) {
                self.say(&format!("{number:>4}  {name}"))?;
            }
            match self.line("number or name: ")? {
                Typed::Line(line) => {
                    let at = line.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                    let name = at.and_then(|at| names.get(at)).cloned().unwrap_or_else(|| line.trim().to_owned());
                    match self.profiles.open(&name) {
                        Ok(opening) => return self.open(opening),
                        Err(why) => self.say(&why)?,
                    }
                }
                Typed::Interrupted => self.quit = Some(INTERRUPTED),
                Typed::Ended => self.quit = Some(ended()),
            }
        }
        Ok(())
    }

    /// Until it is known whether somebody is signed in.
    fn wait_for_sign_in(&mut self) {
        loop {
            let state = self.state();
            let is_asked = state.login.as_ref().is_some_and(|form| form.busy)
                || state.new_password.as_ref().is_some_and(|form| form.busy)
                || state.enrol.as_ref().is_some_and(|form| form.busy)
                || (state.who.is_none() && state.login.is_none() && !state.asked.is_empty());
            let gives_up = self.bare.typed.iter().any(|kind| matches!(kind, EventKind::Key(GIVE_UP)));
            if !is_asked || gives_up {
                return;
            }
            self.turn();
        }
    }

    fn sign_in(&mut self) -> Result<(), CliError> {
        let form = self.state().login.clone();
        let Some(form) = form else { return Ok(()) };
        self.greeted = None;
        if let Some(reason) = &form.reason {
            self.say(reason)?;
        }
        if form.code.is_some() {
            let code = self.answer("code: ", false)?;
            match code.filter(|code| !code.trim().is_empty()) {
                Some(code) => self.bare.answer(&code),
                // Another name, or another password.
                None => self.bare.feed(EventKind::Key(ESC)),
            }
            return Ok(());
        }
        let known = form.user.text().to_owned();
        let is_known = form.at_password && !known.is_empty();
        let Some((user, password)) = self.name_and_password(known, is_known)? else { return Ok(()) };
        if let Some(form) = &mut self.bare.engine.state.login {
            form.user.clear();
            form.user.insert(&user);
            form.password.clear();
            form.password.insert(&password);
            (form.at_password, form.at_box) = (true, false);
        }
        self.bare.feed(EventKind::Key(ENTER));
        Ok(())
    }

    /// Who signs in, and the proof; the name is asked for where it isn't known, or another one is wanted.
    fn name_and_password(
        &mut self,
        known: String,
        is_known: bool,
    ) -> Result<Option<(String, Zeroizing<String>)>, CliError> {
        if is_known {
            let ask = format!("password of {} (empty: of another user): ", clean(&known));
            let Some(password) = self.answer(&ask, false)? else { return Ok(None) };
            if !password.is_empty() {
                return Ok(Some((known, password)));
            }
        }
        let ask = if known.is_empty() { "user: ".to_owned() } else { format!("user ({}): ", clean(&known)) };
        let Some(user) = self.answer(&ask, true)? else { return Ok(None) };
        let user = if user.trim().is_empty() { known } else { user.trim().to_owned() };
        if user.is_empty() {
            return Ok(None);
        }
        Ok(self.answer("password: ", false)?.map(|password| (user, password)))
    }

    fn enrol(&mut self) -> Result<(), CliError> {
        let Some(form) = self.state().enrol.clone() else { return Ok(()) };
        if let Some(reason) = &form.reason {
            self.say(reason)?;
        }
        let answer = match &form.stage {
            EnrolStage::Password => {
                if form.is_demanded && form.reason.is_none() {
                    self.say("this registry demands a second factor of you before anything else")?;
                }
                self.answer("password again: ", false)?
            }
            EnrolStage::Code { secret, uri } => {
                if form.reason.is_none() {
                    self.say("give this secret to your authenticator; it is shown this once:")?;
                    self.say(&grouped_secret(secret.expose()))?;
                    self.say(uri.expose())?;
                }
                self.answer("code: ", false)?
            }
            EnrolStage::Done(codes) => {
                self.say("it is on. Keep these recovery codes, they are shown this once:")?;
                for code in codes {
                    self.say(code.expose())?;
                }
                self.bare.feed(EventKind::Key(ENTER));
                return Ok(());
            }
        };
        match answer.filter(|answer| !answer.trim().is_empty()) {
            Some(answer) => self.bare.answer(&answer),
            None => self.bare.feed(EventKind::Key(ESC)),
        }
        Ok(())
    }

    fn change_password(&mut self) -> Result<(), CliError> {
        let Some(form) = self.state().new_password.clone() else { return Ok(()) };
        if form.is_demanded {
            self.say("the password must be changed before anything else")?;
        }
        if let Some(reason) = &form.reason {
            self.say(reason)?;
        }
        let Some([old, new, again]) = self.passwords(&form)? else {
            // One that was asked for by hand is left as it is.
            if !form.is_demanded {
                self.bare.feed(EventKind::Key(ESC));
            }
            return Ok(());
        };
        if let Some(form) = &mut self.bare.engine.state.new_password {
            form.old.clear();
            form.old.insert(&old);
            for (line, text) in form.new.iter_mut().zip([&new, &again]) {
                line.clear();
                line.insert(text);
            }
            form.field = 2;
        }
        self.bare.feed(EventKind::Key(ENTER));
        Ok(())
    }

    /// The old password, and twice the new one; none where that is given up.
    fn passwords(&mut self, form: &NewPassword) -> Result<Option<[Zeroizing<String>; 3]>, CliError> {
        // The old one is known where it was typed here, until the daemon refused something.
        let old = if form.old.text().is_empty() || form.reason.is_some() {
            self.answer("password so far: ", false)?
        } else {
            Some(Zeroizing::new(form.old.text().to_owned()))
        };
        let Some(old) = old.filter(|old| form.is_demanded || !old.is_empty()) else { return Ok(None) };
        let Some(new) = self.answer("new password: ", false)? else { return Ok(None) };
        let Some(again) = self.answer("new password again: ", false)? else { return Ok(None) };
        Ok(Some([old, new, again]))
    }

    /// Says once who is signed in.
    fn greet(&mut self) -> Result<(), CliError> {
        let who = self.state().who.as_ref().map(|who| format!("{} ({})", who.username, who.role));
        if who == self.greeted {
            return Ok(());
        }
        self.greeted.clone_from(&who);
        match who {
            Some(who) => self.say(&format!("signed in as {who}")),
            None => self.say("not signed in: login tries again"),
        }
    }

    // ---- what is typed ----------------------------------------------------------------------------------------------

    /// Asks for a line; the machine goes on meanwhile.
    fn line(&mut self, prompt: &str) -> Result<Typed, CliError> {
        let prompt = self.shown_text(prompt);
        let mut out = io::stdout().lock();
        out.write_all(prompt.as_bytes())?;
        out.flush()?;
        drop(out);
        loop {
            match self.bare.typed.pop_front() {
                Some(EventKind::Paste(line)) => {
                    // Somebody is there: the console does not lock itself.
                    self.bare.feed(EventKind::Paste(String::new()));
                    return Ok(Typed::Line(Zeroizing::new(line)));
                }
                Some(EventKind::Key(GIVE_UP)) => {
                    self.say("")?;
                    return Ok(Typed::Interrupted);
                }
                Some(EventKind::Key(_)) => {
                    if ended() == 0 {
                        self.say("")?;
                    }
                    return Ok(Typed::Ended);
                }
                Some(_) => {}
                None => {
                    self.turn();
                    self.tell_at_once()?;
                }
            }
        }
    }

    /// The answer to a question; none where it is given up: C-c leaves the question, and at signing in the console.
    fn answer(&mut self, question: &str, echo: bool) -> Result<Option<Zeroizing<String>>, CliError> {
        if !echo {
            self.guard.take_silent()?;
        }
        let typed = self.line(question);
        if !echo {
            self.guard.give_back();
            // The end of the line was not echoed either.
            self.say("")?;
        }
        let state = self.state();
        let is_demanded = state.new_password.as_ref().is_some_and(|form| form.is_demanded);
        let is_signing_in = state.login.is_some() || is_demanded || state.enrol.is_some();
        match typed? {
            Typed::Line(line) => Ok(Some(line)),
            Typed::Interrupted => {
                if is_signing_in {
                    self.quit = Some(INTERRUPTED);
                }
                Ok(None)
            }
            Typed::Ended => {
                self.quit = Some(ended());
                Ok(None)
            }
        }
    }

    /// One turn of the machine; what it has to say is kept.
    fn turn(&mut self) {
        self.bare.turn(None);
    }

    // ---- what is said -----------------------------------------------------------------------------------------------

    /// Text as this terminal takes it.
    fn shown_text(&self, text: &str) -> String {
        let text = clean(text);
        if self.state().settings.ascii { to_ascii(&text) } else { text }
    }

    fn say(&self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(io::stdout().lock(), "{}", self.shown_text(text))?)
    }

    /// Lines of text, each said by itself.
    fn say_lines(&self, text: &str) -> Result<(), CliError> {
        text.lines().try_for_each(|line| self.say(line))
    }

    /// What came up while something else was done.
    fn tell_news(&mut self) -> Result<(), CliError> {
        while let Some(note) = self.bare.heard.pop_front() {
            let sign = match note.level {
                Level::Info => "",
                Level::Warning => "* ",
                Level::Error => "! ",
            };
            self.say(&format!("{sign}{}", note.text))?;
        }
        self.tell_badge()
    }

    /// What can't wait for the next prompt: a log that is not what it was, a session that is over.
    fn tell_at_once(&mut self) -> Result<(), CliError> {
        let is_broken = self.state().log.trust.badge(self.state().now) == Badge::Broken;
        if is_broken && self.badge != Some(BROKEN) {
            self.say("")?;
            return self.tell_badge();
        }
        self.tell_evidence()?;
        let is_over = self.state().login.is_some() && self.greeted.is_some();
        if is_over {
            self.greeted = None;
            self.say("")?;
            self.say("! the session is over: press Enter to sign in")?;
        }
        Ok(())
    }

    /// Where the evidence of a failure is, once it is written.
    fn tell_evidence(&mut self) -> Result<(), CliError> {
        let evidence = self.state().log.trust.alarm().and_then(|alarm| alarm.evidence.clone());
        if evidence == self.evidence {
            return Ok(());
        }
        self.evidence.clone_from(&evidence);
        evidence.iter().try_for_each(|path| self.say(&format!("***** the evidence is in {path}")))
    }

    /// The word on the log, where it has changed.
    fn tell_badge(&mut self) -> Result<(), CliError> {
        let state = self.state();
        if !state.log.begun && state.log.trust.alarm().is_none() {
            return Ok(());
        }
        let (word, sentence) = badge_words(state);
        if self.badge == Some(word) {
            return Ok(());
        }
        self.badge = Some(word);
        sentence.iter().try_for_each(|line| self.say(line))?;
        self.tell_evidence()
    }
}

const BROKEN: &str = "broken";

/// The status where nothing more is typed: a line that is lost ends what is typed, too, and that may be heard of before its
/// signal.
fn ended() -> u8 {
    if rustix::termios::tcgetattr(io::stdin()).is_err() { LOST } else { 0 }
}

/// What is believed of the log: a word that changes only with what it means, and the sentences to be said then.
fn badge_words(state: &State) -> (&'static str, Vec<String>) {
    let trust = &state.log.trust;
    match trust.badge(state.now) {
        Badge::Verified(index) => ("verified", vec![format!("the log is verified up to entry {index}")]),
        // Entries come, and are verified a moment later: nothing to be told.
        Badge::Waiting(_) => {
            ("verified", vec!["the log is verified; newer entries wait for their checkpoint".to_owned()])
        }
        Badge::Late => {
            ("late", vec!["* the log is LATE: no checkpoint, or too few witnesses, for what came last".to_owned()])
        }
        Badge::Key => (
            "key",
            vec!["* the log's key was taken on first use: compare it (verification), then: audit trust".to_owned()],
        ),
        Badge::Off => ("off", vec!["the log is not followed".to_owned()]),
        Badge::Broken => {
            let mut lines = vec!["***** VERIFICATION OF THE AUDIT LOG FAILED *****".to_owned()];
            if let Some(alarm) = trust.alarm() {
                lines.push(format!("***** {}", alarm.what));
            }
            lines
                .push("***** verification says more; audit acknowledge REASON when it has been looked into".to_owned());
            (BROKEN, lines)
        }
    }
}
