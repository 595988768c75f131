//! What lies over the screen and takes the keys: a question, a form, the palette, a secret that is shown once.

use std::collections::{BTreeMap, VecDeque};

use common::api::bulk::BulkTotal;
use common::client::{ModelQuery, Sweep};

use crate::action::RequestId;
use crate::edit::Line;
use crate::event::Key;
use crate::keymap::{Command, Context};
use crate::secret::Secret;
use crate::state::Screen;
use crate::state::deeds::{Change, Seen, Tier};
use crate::state::tokens::Tokens;

/// Lines that the palette remembers.
pub const HISTORY_MAX: usize = 100;

/// What lies over the screen.
#[derive(Debug, Clone)]
pub enum Dialog {
    /// A question before something is done.
    Confirm(Box<Confirm>),
    /// The palette.
    Palette(Box<Palette>),
    /// A form.
    Form(Box<Form>),
    /// A password or token that is shown once.
    Secret(Once),
    /// API tokens of a user.
    Tokens(Box<Tokens>),
}

/// Tags that are put on many models, and those that are taken from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagging {
    /// Put, whatever the key had before.
    pub put: BTreeMap<String, String>,
    /// Keys whose tags are taken away.
    pub take: Vec<String>,
}

impl Tagging {
    /// What makes these tags of those.
    pub fn between(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Self {
        let put = after.iter().filter(|(key, value)| before.get(*key) != Some(*value));
        let put = put.map(|(key, value)| (key.clone(), value.clone())).collect();
        Self { put, take: before.keys().filter(|key| !after.contains_key(*key)).cloned().collect() }
    }

    /// The tags of a model afterwards.
    pub fn of(&self, tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut tags = tags.clone();
        tags.retain(|key, _| !self.take.contains(key));
        tags.extend(self.put.clone());
        tags
    }

    /// `Put team=nlp. Take away draft.`
    pub fn words(&self) -> String {
        let put: Vec<String> = self.put.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let said = [("Put", put.join(", ")), ("Take away", self.take.join(", "))];
        let said = said.iter().filter(|(_, what)| !what.is_empty());
        said.map(|(word, what)| format!("{word} {what}.")).collect::<Vec<_>>().join(" ")
    }
}

/// One thing of a question.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What would be done to it.
    pub change: Change,
    /// What it is now, and the entity tag of that; none before it was read.
    pub base: Option<Seen>,
    /// Why it is left out.
    pub trouble: Option<String>,
    /// What is to be done to its tags, whichever those are by now.
    pub retag: Option<Tagging>,
    /// What became of it when it was tried before.
    pub before: Option<String>,
}

/// A question before something is done. What it is about was fixed when it was opened.
#[derive(Debug, Clone)]
pub struct Confirm {
    /// The things.
    pub subjects: Vec<Subject>,
    /// What it takes.
    pub tier: Tier,
    /// What must be typed, as the true text.
    pub word: String,
    /// What that is: `name`, `id`, `number`.
    pub word_is: &'static str,
    /// What is typed.
    pub typed: Line,
    /// The reason that goes with it.
    pub reason: Option<Line>,
    /// Whether the reason is being typed.
    pub at_reason: bool,
    /// What is done to the tags of each, whichever those are.
    pub tagging: Option<Tagging>,
    /// Which subjects are being read.
    pub reading: BTreeMap<RequestId, usize>,
    /// Keys count after a frame with a higher number than this was written.
    pub shown_after: u64,
    /// The deed counts after a frame with a higher number than this was written: what it says has changed since.
    pub said_after: u64,
    /// What was wrong with the last key.
    pub note: Option<String>,
    /// Its text is scrolled by so many lines, where not all have room.
    pub scroll: usize,
    /// The form it was typed in.
    pub form: Option<Box<Form>>,
    /// All that match a query, in place of things named one by one.
    pub sweep: Option<Sweeping>,
    /// The tokens it was asked from: whose, and which was selected.
    pub tokens: Option<(String, usize)>,
}

/// A question about all models that match.
#[derive(Debug, Clone)]
pub struct Sweeping {
    /// What would be done.
    pub sweep: Sweep,
    /// To which.
    pub query: Box<ModelQuery>,
    /// The filter, as it was typed.
    pub filter: String,
    /// The request for how many they are.
    pub asked: Option<RequestId>,
    /// Which they are, or why that isn't known.
    pub found: Option<Result<BulkTotal, String>>,
}

impl Sweeping {
    /// How many they are, where that is known.
    pub fn count(&self) -> Option<u64> {
        self.found.as_ref()?.as_ref().ok().map(|found| found.matched)
    }
}

/// The word for what a sweep does.
pub fn sweep_verb(sweep: Sweep) -> &'static str {
    match sweep {
        Sweep::Delete => "delete",
        Sweep::Restore => "restore",
    }
}

impl Confirm {
    /// Whether everything it is about has been read.
    pub fn is_read(&self) -> bool {
        let is_counted = self.sweep.as_ref().is_none_or(|sweeping| sweeping.found.is_some());
        is_counted
            && self
                .subjects
                .iter()
                .all(|subject| subject.base.is_some() || subject.trouble.is_some() || !subject.change.has_base())
    }

    /// Whether none of it can be done.
    pub fn does_nothing(&self) -> bool {
        self.is_read() && self.count() == 0
    }

    /// How many things would be changed.
    pub fn count(&self) -> u64 {
        match &self.sweep {
            Some(sweeping) => sweeping.count().unwrap_or(0),
            None => self.subjects.iter().filter(|subject| subject.trouble.is_none()).count() as u64,
        }
    }
}

/// A password or an API token that is shown once, and can be copied once.
#[derive(Debug, Clone)]
pub struct Once {
    /// Whose.
    pub user: String,
    /// The password or token; wiped when this goes.
    pub password: Secret,
    /// Whether it is an API token.
    pub is_token: bool,
    /// Whether it was copied.
    pub copied: bool,
    /// Keys count after a frame with a higher number than this was written.
    pub shown_after: u64,
}

/// What a form is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// Description and tags of a model.
    Edit {
        /// The model's id.
        id: String,
        /// Its name.
        name: String,
        /// What it was when the form was filled; none until it is read.
        base: Option<Seen>,
    },
    /// Tags of the marked models.
    Tags {
        /// Their ids and names.
        models: Vec<(String, String)>,
    },
    /// An alias of a model.
    Alias {
        /// The model's id.
        id: String,
        /// Its name.
        name: String,
    },
    /// A new user.
    AddUser,
    /// A new API token.
    AddToken {
        /// Whose.
        user: String,
    },
    /// The role of a user.
    Role {
        /// The user.
        name: String,
    },
    /// The grants of a user, one a line.
    Grants {
        /// The user.
        name: String,
    },
}

/// A field of a form.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its label.
    pub label: &'static str,
    /// What is typed.
    pub line: Line,
    /// What may be typed, where it is one of few; Up and Down go through them.
    pub choices: Vec<String>,
    /// Whether nothing else than one of them may be.
    pub is_closed: bool,
    /// What stands there is a proposal that nobody touched: the first character typed takes its place.
    pub is_proposed: bool,
}

/// A form.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// What it is for.
    pub purpose: Purpose,
    /// Its fields.
    pub fields: Vec<Field>,
    /// Which is being typed.
    pub at: usize,
    /// The request it waits for.
    pub waits: Option<RequestId>,
    /// The alias whose history was asked for last.
    pub asked_for: String,
    /// The key that asked for it, to be taken once it is there.
    pub then: Option<Key>,
    /// What helps to fill it in: one line each.
    pub notes: Vec<String>,
    /// Why it can't be taken.
    pub error: Option<String>,
    /// Whether anything was typed.
    pub dirty: bool,
    /// Whether leaving with something typed was asked about.
    pub leaving: bool,
    /// The run of changes it was sent as, until that is over.
    pub sent: Option<u64>,
}

/// What a candidate of the palette does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A command of the table.
    Command(Command, Context),
    /// The line as it stands is run.
    Run(String),
    /// The line is filled in and more is to be typed.
    Fill(String),
    /// A model is opened.
    Model(String),
    /// A screen is opened with this row selected.
    Row(Screen, String),
}

/// A candidate of the palette.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it is called.
    pub text: String,
    /// Its key, or what it is for.
    pub hint: String,
    /// What it does.
    pub act: Act,
    /// Why it can't be done.
    pub refused: Option<String>,
}

/// The palette.
#[derive(Debug, Clone)]
pub struct Palette {
    /// What is typed.
    pub line: Line,
    /// Those that fit it, the best first.
    pub matches: Vec<Candidate>,
    /// Of how many.
    pub of: usize,
    /// The selected one.
    pub selected: usize,
    /// Which line of the history is shown.
    pub recalled: Option<usize>,
    /// What was wrong with the line.
    pub error: Option<String>,
    /// The request for names that are not loaded.
    pub waits: Option<RequestId>,
    /// Names that the daemon gave for it.
    pub found: Vec<String>,
    /// Local files that were looked for, where the line takes one.
    pub local: Option<Local>,
}

/// Local files whose names begin as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// What was typed when they were last looked for.
    pub typed: String,
    /// Those that were found, perhaps for what was typed before.
    pub names: Vec<String>,
}

/// Lines that were run, the newest last.
pub type History = VecDeque<String>;
